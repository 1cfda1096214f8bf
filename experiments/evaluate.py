"""Restores a run and evaluates its policies.

    python -m experiments.evaluate --checkpoint=runs/parrot/quick/seed0 --episodes=400 --video

Results are printed, and written into the run's folder where that can be written to. The run may be
under way.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from behavior_priors.config import flags
from behavior_priors.config.ranges import Episodes, Few, Seed
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.methods.learning import evaluation_key
from behavior_priors.programs import entry
from behavior_priors.runs.workdir import write_json_atomic
from behavior_priors.system.files import READ_ONLY
from experiments.restore import restore_run


@dataclass(frozen=True)
class EvaluateConfig:
    """The program's flags.

    Attributes:
      checkpoint: workdir of a run.
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
    run = restore_run(workdir, config.methods, trust=config.trust)
    if config.video and run.env.render is None:
        raise UserError(f"--video: {run.env.name} cannot be drawn; leave it out")
    if config.video and not os.access(workdir, os.W_OK):
        raise UserError(f"--video: {workdir} cannot be written to; leave it out, or copy the run")
    seed = run.config.seed if config.seed is None else config.seed
    results = {}
    for method, learned in run.methods.items():
        evaluate = run.evaluation(learned, config.episodes)
        for name, value in evaluate(learned.policy, evaluation_key(seed)).items():
            results[f"{method}/{name}"] = float(value)
            print(f"{method}/{name} {float(value):.4f}")
        results[f"{method}/steps"] = learned.step
    try:
        write_json_atomic(workdir / "evaluation.json", results)
    except UserError as error:
        # whoever may only read a run has read above what there is to know
        if getattr(error.__cause__, "errno", None) not in READ_ONLY:
            raise
        print(f"note: {error}", file=sys.stderr)
    if config.video:
        video_key = named_key(seed, "video")
        run.film(workdir / "videos", video_key, config.video_episodes)
        print(f"videos in {workdir / 'videos'}")


if __name__ == "__main__":
    flags.define(EvaluateConfig)
    entry.run(main)
