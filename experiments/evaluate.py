"""Restores a run and evaluates its policies.

    python -m experiments.evaluate --checkpoint=runs/parrot/quick/seed0 --episodes=400 --video
    python -m experiments.evaluate --checkpoint=runs/parrot/quick/seed0 --env=grasp/cap

Results are printed, and written into the run's folder where that can be written to: those of its
own task into `evaluation.json`, those of another into `evaluation/NAME.json`. The run may be under
way.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Episodes, Few, Seed
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.methods.learning import evaluation_key
from behavior_priors.programs import entry
from behavior_priors.programs.heartbeat import heartbeat
from behavior_priors.runs.workdir import write_json_atomic
from behavior_priors.system.files import READ_ONLY
from experiments.restore import restore_run

LONGEST_NAME = 100
"""Letters of a file's name that are an environment's."""


@dataclass(frozen=True)
class EvaluateConfig:
    """The program's flags.

    Attributes:
      checkpoint: workdir of a run.
      env: another environment, whose observations and actions are like those of the run's; none for
        the run's own. Where methods infer tasks, new ones are drawn.
      episodes: episodes of the evaluation; in a run of many tasks at least so many in all, each
        test task being met the same number of times.
      methods: which of the run's methods; empty for all of them.
      trust: modules, options of environments and folders that the run's flags.txt names and that
        may be imported, passed on and read; see docs/trust.md.
      seed: of the episodes; none for those of the run's own final evaluation.
      video: write videos into the workdir.
      video_episodes: episodes in a video; in a run of many tasks, test tasks.
    """

    checkpoint: str
    env: str | None = None
    episodes: Episodes = 400
    methods: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    seed: Seed | None = None
    video: bool = False
    video_episodes: Few = 4


def main() -> None:
    """Evaluates what the command line names."""
    config = flags.read(EvaluateConfig)
    workdir = Path(config.checkpoint)
    run = restore_run(workdir, config.methods, trust=config.trust, env_name=config.env)
    # gymnasium's are made again to be drawn
    if config.video and run.env.render is None and run.env.step_then_reset is None:
        raise UserError(f"--video: {run.env.name} cannot be drawn; leave it out")
    if config.video and not os.access(workdir, os.W_OK):
        raise UserError(f"--video: {workdir} cannot be written to; leave it out, or copy the run")
    seed = run.config.seed if config.seed is None else config.seed
    results = {}
    for method, learned in run.methods.items():
        evaluate = run.evaluation(learned, config.episodes)
        with heartbeat(method, f"{config.episodes} episodes of each policy"):
            scores = {
                n: float(x) for n, x in evaluate(learned.policy, evaluation_key(seed)).items()
            }
        for name, value in scores.items():
            results[f"{method}/{name}"] = value
            print(f"{method}/{name} {value:.4f}")
        results[f"{method}/steps"] = learned.step
    try:
        write_json_atomic(results_file(workdir, config.env), results)
    except UserError as error:
        # whoever may only read a run has read above what there is to know
        if getattr(error.__cause__, "errno", None) not in READ_ONLY:
            raise
        print(f"note: {error}", file=sys.stderr)
    if config.video:
        video_key = named_key(seed, "video")
        videos = workdir / "videos" / ("" if config.env is None else file_name(config.env))
        if run.film(videos, video_key, config.video_episodes):
            print(f"videos in {videos}")


def results_file(workdir: Path, env: str | None) -> Path:
    """Where results are written, of the run's own environment or of another."""
    if env is None:
        return workdir / "evaluation.json"
    return workdir / "evaluation" / f"{file_name(env)}.json"


def file_name(env: str) -> str:
    """An environment's name as that of a file."""
    return re.sub(r"[^\w.=-]+", "_", env)[:LONGEST_NAME]


if __name__ == "__main__":
    flags.define(EvaluateConfig)
    entry.run(main)
