"""Any set of runs as one table and one figure.

    python -m experiments.report runs/parrot/quick/seed* --output=report

Runs that differ in their seed alone make one row; the flags in which the rows differ are its first
columns. Written are `report.md`, `report.csv` (one line a row and key) and `learning_curves.png`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from behavior_priors.training import figures, flags
from behavior_priors.training.metrics import read_jsonl
from behavior_priors.training.workdir import (
    FLAGS_FILE,
    disk_full_is_user_error,
    write_text_atomic,
)
from behavior_priors.types import UserError
from experiments.pictures import LABELS
from experiments.tables import Table, make_table, read_run, to_csv, to_markdown


@dataclass(frozen=True)
class ReportConfig:
    """The program's flags.

    Attributes:
      workdirs: workdirs of runs, or patterns of them such as runs/parrot/quick/seed*.
      output: folder of report.md, report.csv and learning_curves.png.
      keys: results to report, as in summary.json; a star stands for anything but a slash.
      curve: what the figure shows, of the metrics of each stage; none for no figure.
      ignore: flags in which the runs of one row may differ, besides seed and workdir; a star stands
        for anything.
    """

    workdirs: tuple[str, ...]
    output: str = "."
    keys: tuple[str, ...] = ("*/success_rate", "*/return_mean")
    curve: str | None = "eval/success_rate"
    ignore: tuple[str, ...] = ()


def find_workdirs(names: Sequence[str]) -> list[Path]:
    """Folders by name or pattern, each once.

    Raises:
      UserError: a name is not that of a run, or a pattern matches none.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists() and set(name) & set("*?["):
            pattern = path.relative_to(path.anchor)
            matches = sorted(Path(path.anchor).glob(str(pattern)))
            workdirs = [match for match in matches if (match / FLAGS_FILE).is_file()]
            if not workdirs:
                raise UserError(f"--workdirs: {name} matches no folder with {FLAGS_FILE} in it")
            found += workdirs
        elif (path / FLAGS_FILE).is_file():
            found.append(path)
        else:
            raise UserError(f"--workdirs: {name} has no {FLAGS_FILE}; give workdirs of runs")
    if not found:
        raise UserError("--workdirs is empty; give workdirs of runs")
    return list({path.resolve(): path for path in found}.values())


def find_curves(table: Table, metric: str) -> dict[str, list[figures.Run]]:
    """Curves of every stage that has logged the metric, by stage and by what a row differs in."""
    curves: dict[str, list[figures.Run]] = {}
    for row in table.rows:
        differing = [f"{n}={x}" for n, x in row.settings.items() if n != "experiment"]
        for run in row.runs:
            for path in sorted(run.workdir.glob("*/metrics.jsonl")):
                points = [r for r in read_jsonl(path) if r.get(metric) is not None]
                if points:
                    method = path.parent.name
                    label = " ".join([LABELS.get(method, method), *differing])
                    steps, values = ([r[n] for r in points] for n in ("step", metric))
                    curves.setdefault(label, []).append(
                        (np.array(steps, float), np.array(values, float))
                    )
    return curves


def write_report(table: Table, folder: Path, curve: str | None) -> list[Path]:
    """Writes the report's files.

    Args:
      table: of the runs.
      folder: made where it is missing.
      curve: the metric in the figure; None for no figure.

    Returns:
      What was written; no figure if no stage of any run has logged the metric.

    Raises:
      UserError: the folder cannot be written.
    """
    written = [folder / "report.md", folder / "report.csv"]
    try:
        with disk_full_is_user_error(folder, kept="older reports are as they were"):
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in zip(written, (to_markdown(table), to_csv(table)), strict=True):
                write_text_atomic(path, text)
    except OSError as error:
        raise UserError(f"--output={folder} cannot be written: {error.strerror}") from error
    if curve is not None and (curves := find_curves(table, curve)):
        written.append(folder / "learning_curves.png")
        is_rate = curve.endswith("_rate")
        figures.learning_curves(
            written[-1],
            curves,
            ylabel=curve.removeprefix("eval/").replace("_", " "),
            ylim=(-0.02, 1.02) if is_rate else None,
        )
    return written


def main() -> None:
    """Writes the report, and shows the table."""
    config = flags.read(ReportConfig)
    runs = [read_run(workdir) for workdir in find_workdirs(config.workdirs)]
    table = make_table(runs, config.keys, config.ignore)
    written = write_report(table, Path(config.output), config.curve)
    print(to_markdown(table))
    print(f"see {', '.join(map(str, written))}")


def with_workdirs(argv: Sequence[str]) -> list[str]:
    """A command line whose first arguments are folders, as one whose `--workdirs` they are."""
    program, *arguments = argv
    first_flag = next((i for i, x in enumerate(arguments) if x.startswith("-")), len(arguments))
    workdirs, rest = arguments[:first_flag], arguments[first_flag:]
    return [program, *([f"--workdirs={','.join(workdirs)}"] if workdirs else []), *rest]


if __name__ == "__main__":
    sys.argv = with_workdirs(sys.argv)
    flags.define(ReportConfig)
    flags.run(main)
