"""Collects demonstrations, or re-executes collected ones.

python -m experiments.collect --env=grasp/train --output=data/grasp --episodes=10000
python -m experiments.collect --verify --output=data/grasp
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.data.collect import collect, verify
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.training import flags
from behavior_priors.training.metrics import format_seconds
from behavior_priors.types import UserError


@dataclass(frozen=True)
class CollectConfig:
    """The program's flags.

    Attributes:
      output: folder of the dataset.
      env: where to collect; must have a demonstrator.
      engine: physics engine; auto takes the fastest one of this machine.
      episodes: successful episodes to keep.
      seed: of everything random.
      resume: complete a dataset whose collection was killed.
      verify: execute the stored actions again instead, and count the episodes that repeat.
    """

    output: str
    env: str = "grasp/train"
    engine: str = "auto"
    episodes: int = 10_000
    seed: int = 0
    resume: bool = False
    verify: bool = False


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(CollectConfig)
    if config.episodes < 1:
        raise UserError(f"--episodes={config.episodes} should be at least 1")
    began = time.perf_counter()

    def say(word: str, number: int, of: int) -> None:
        seconds = format_seconds(time.perf_counter() - began)
        print(f"{word} {number} of {of} episodes  {seconds}", flush=True)

    if config.verify:
        reader = EpisodeReader(config.output)
        env = make_env(reader.metadata.environment, engine=config.engine)
        if [list(s) for s in reader.metadata.scenes] != env.info["scenes"]:
            raise UserError(f"{config.output}: its scenes are not those of {env.name} any more")
        same, total = verify(env, reader, lambda n, of: say("repeated", n, of))
        print(f"{same} of {total} episodes repeat bit for bit")
        return
    reader = collect(
        make_env(config.env, engine=config.engine),
        Path(config.output),
        config.episodes,
        config.seed,
        resume=config.resume,
        on_round=lambda n, of: say("kept", n, of),
    )
    print(f"{reader.num_episodes} episodes, {reader.num_steps} steps in {config.output}")


if __name__ == "__main__":
    flags.define(CollectConfig)
    flags.run(main)
