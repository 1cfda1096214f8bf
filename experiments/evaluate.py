"""Restores a run and evaluates its policies.

python -m experiments.evaluate --checkpoint=runs/parrot/quick/seed0 --episodes=400 --video
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax

from behavior_priors.training import flags
from behavior_priors.training.checkpoint import Checkpointer
from behavior_priors.training.evaluate import make_evaluate
from behavior_priors.training.workdir import FLAGS_FILE, read_owner, write_json_atomic
from behavior_priors.types import UserError
from experiments import pictures
from experiments.parrot import ParrotConfig, make_method, make_prior, needs_prior, task_env
from experiments.stages import restore_prior, stage_keys


@dataclass(frozen=True)
class EvaluateConfig:
    """The program's flags.

    Attributes:
      checkpoint: workdir of a run.
      episodes: episodes of the evaluation.
      methods: which of the run's methods; empty for all of them.
      seed: of the episodes; none for those of the run's own final evaluation.
      video: write videos into the workdir.
      video_episodes: episodes in a video.
    """

    checkpoint: str
    episodes: int = 400
    methods: tuple[str, ...] = ()
    seed: int | None = None
    video: bool = False
    video_episodes: int = 4


def main() -> None:
    """Evaluates what the command line names."""
    config = flags.read(EvaluateConfig)
    if config.episodes < 1 or config.video_episodes < 1:
        raise UserError("--episodes and --video_episodes should be at least 1")
    workdir = Path(config.checkpoint)
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(f"--checkpoint={workdir} has no {FLAGS_FILE}; give the workdir of a run")
    owner = read_owner(workdir)
    if owner != "parrot":
        raise UserError(f"--checkpoint={workdir} is not a run of parrot but of {owner}; give one")
    run = flags.read_file(ParrotConfig, workdir / FLAGS_FILE)
    for method in config.methods:
        if method not in run.methods:
            raise UserError(
                f"--methods={method} is not in {workdir}; use some of: {', '.join(run.methods)}"
            )
    env = task_env(run)
    methods = config.methods or run.methods
    prior = None
    if needs_prior(methods):
        prior = restore_prior(make_prior(run, env), workdir / "prior")
    key = stage_keys(run.seed)["evaluate"] if config.seed is None else jax.random.key(config.seed)
    results, trained = {}, {}
    for method in methods:
        acted_env, learner = make_method(method, run, env, prior)
        target = jax.eval_shape(lambda k, init=learner.init: init(k).policy, jax.random.key(0))
        restored = Checkpointer(workdir / method / "checkpoints").restore_part(
            "learner.policy", target
        )
        evaluate = make_evaluate(acted_env, learner, config.episodes, stochastic=True)
        for name, value in evaluate(restored.state, key).items():
            results[f"{method}/{name}"] = float(value)
            print(f"{method}/{name} {float(value):.4f}")
        results[f"{method}/steps"] = restored.step
        trained[method] = (acted_env, learner, restored.state)
    write_json_atomic(workdir / "evaluation.json", results)
    if config.video:
        pictures.videos(workdir / "videos", trained, key, config.video_episodes)
        print(f"videos in {workdir / 'videos'}")


if __name__ == "__main__":
    flags.define(EvaluateConfig)
    flags.run(main)
