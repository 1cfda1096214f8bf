"""Learning curves of several runs in one figure, with a band over the seeds.

    python -m experiments.curves --workdirs=runs/parrot/quick/seed0,runs/parrot/quick/seed1

The figure is `learning_curves.png` in the folder `--output`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from behavior_priors.training import flags
from behavior_priors.training.workdir import FLAGS_FILE
from behavior_priors.types import UserError
from experiments import pictures
from experiments.parrot import ParrotConfig


@dataclass(frozen=True)
class CurvesConfig:
    """The program's flags.

    Attributes:
      workdirs: runs of the same task, one a seed.
      output: folder of learning_curves.png.
    """

    workdirs: tuple[str, ...]
    output: str = "."


def main() -> None:
    """Draws the figure."""
    config = flags.read(CurvesConfig)
    workdirs = [Path(name) for name in config.workdirs]
    if not workdirs:
        raise UserError("--workdirs is empty; give workdirs of runs")
    for workdir in workdirs:
        if not (workdir / FLAGS_FILE).is_file():
            raise UserError(f"--workdirs: {workdir} has no {FLAGS_FILE}; give workdirs of runs")
    runs = [flags.read_file(ParrotConfig, workdir / FLAGS_FILE) for workdir in workdirs]
    tasks = sorted({run.env for run in runs})
    if len(tasks) > 1:
        raise UserError(
            f"--workdirs: runs of different tasks ({', '.join(tasks)}); give one task's"
        )
    pictures.learning_curves(workdirs, Path(config.output), runs[0].methods, tasks[0])
    print(f"see {Path(config.output) / 'learning_curves.png'}")


if __name__ == "__main__":
    flags.define(CurvesConfig)
    flags.run(main)
