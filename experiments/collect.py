"""Collects demonstrations, or re-executes collected ones.

python -m experiments.collect --env=grasp/train --output=data/grasp --episodes=10000
python -m experiments.collect --verify --output=data/grasp
python -m experiments.collect --checkpoint=runs/parrot/none/seed0 --method=sac --output=data/expert

The last one lets the policy of a finished run demonstrate, in the task that it was trained on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, Episodes, Seed
from behavior_priors.data.collect import ROUND, collect, verify
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.programs import entry, termination
from behavior_priors.programs.progress import format_seconds
from behavior_priors.types import Env
from experiments.restore import as_demonstrator, restore_run


@dataclass(frozen=True)
class CollectConfig:
    """The program's flags.

    Attributes:
      output: folder of the dataset.
      env: where to collect; must have a demonstrator. None for the task of the checkpoint.
      engine: physics engine; auto takes the fastest one of this machine.
      checkpoint: workdir of a run whose policy demonstrates; none for the environment's own
        demonstrator.
      method: which of the run's methods; none for its only one.
      explore: draw that policy's actions, instead of taking the most likely ones.
      episodes: episodes to keep, successful ones where the environment measures success.
      keep_failures: also keep episodes that do not end in success.
      side_by_side: episodes tried at once.
      seed: of everything random.
      trust: modules, options of environments and folders that the checkpoint's flags.txt or the
        dataset's metadata.json names and that may be imported, passed on and read; see
        docs/trust.md.
      resume: complete a dataset whose collection was killed.
      verify: execute the stored actions again instead, and count the episodes that repeat.
    """

    output: str
    env: str | None = None
    engine: str = "auto"
    checkpoint: str | None = None
    method: str | None = None
    explore: bool = True
    episodes: Count = 10_000
    keep_failures: bool = False
    side_by_side: Episodes = ROUND
    seed: Seed = 0
    trust: tuple[str, ...] = ()
    resume: bool = False
    verify: bool = False


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(CollectConfig)
    if config.verify:
        execute_again(config)
        return
    env, policy = _demonstrated(config)
    say = _progress()

    def say_kept(kept: int, usable: int, tried: int) -> None:
        share = f"{usable / tried:.0%} of {tried} usable"
        say(f"kept {kept} of {config.episodes} episodes  {share}")

    with termination.deferred():
        reader = collect(
            env,
            Path(config.output),
            config.episodes,
            config.seed,
            resume=config.resume,
            round_size=config.side_by_side,
            policy=policy,
            keep_failures=config.keep_failures,
            on_round=say_kept,
        )
    print(f"{reader.num_episodes} episodes, {reader.num_steps} steps in {config.output}")


def execute_again(config: CollectConfig) -> None:
    """Executes the stored actions again, and says how many episodes repeat.

    Raises:
      UserError: the dataset cannot be read, or is not of the environment that it names; or it names
        one that the user has not allowed.
    """
    reader = EpisodeReader(Path(config.output), trust=config.trust)
    if "source" in reader.metadata.extra:
        raise UserError(
            f"{config.output}: was converted from a file and has no states to execute its actions "
            "from; --verify is for data that this program collected"
        )
    env = make_env(reader.metadata.environment, engine=config.engine)
    if [list(scene) for scene in env.info.get("scenes", ())] != list(reader.metadata.scenes):
        raise UserError(f"{config.output}: its scenes are not those of {env.name} any more")
    say = _progress()
    same, total = verify(env, reader, lambda n, of: say(f"repeated {n} of {of} episodes"))
    print(f"{same} of {total} episodes repeat bit for bit")


def _progress() -> Callable[[str], None]:
    began = time.perf_counter()

    def say(words: str) -> None:
        print(f"{words}  {format_seconds(time.perf_counter() - began)}", flush=True)
        termination.check()

    return say


def _demonstrated(config: CollectConfig) -> tuple[Env, str]:
    """Where to collect, with a demonstrator, and who that is."""
    if config.checkpoint is None:
        if config.env is None:
            raise UserError("--env is missing; give one with a demonstrator, or --checkpoint")
        env = make_env(config.env, engine=config.engine)
        if env.demonstrate is None:
            raise UserError(
                f"--env={config.env} has no demonstrator; give --checkpoint=WORKDIR instead, a run "
                "whose policy demonstrates"
            )
        return env, "scripted"
    if config.env is not None or config.engine != "auto":
        raise UserError("--checkpoint brings its own task; leave out --env and --engine")
    chosen = () if config.method is None else (config.method,)
    run = restore_run(Path(config.checkpoint), chosen, flag="method", trust=config.trust)
    if len(run.methods) > 1:
        raise UserError(f"--method is missing; {config.checkpoint} has {', '.join(run.methods)}")
    (method,) = run.methods
    act = as_demonstrator(run, method, explore=config.explore)
    return run.env._replace(demonstrate=act), method


if __name__ == "__main__":
    flags.define(CollectConfig)
    entry.run(main)
