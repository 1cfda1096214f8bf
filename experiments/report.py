"""Any set of runs as one table and one figure.

    python -m experiments.report runs/parrot/quick/seed* --output=report

Runs that differ in their seed alone make one row; the flags in which the rows differ are its first
columns. Written are `report.md`, `report.csv` (one line a row and key), `runs.csv` (one line a run,
with its seed and the versions that it ran with), `learning_curves.png` and, of runs that adapt to
new tasks, `adaptation.png`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.flag_kinds import Kind
from behavior_priors.data.shards import Shard
from behavior_priors.errors import UserError
from behavior_priors.methods.method import LABELS
from behavior_priors.programs import entry
from behavior_priors.reports import adaptation_figures, figures
from behavior_priors.reports.tables import (
    Row,
    Table,
    make_table,
    read_run,
    to_csv,
    to_csv_of_runs,
    to_markdown,
)
from behavior_priors.runs.metrics import LARGEST, read_jsonl
from behavior_priors.runs.workdir import ADAPTATION_FILE, FLAGS_FILE, ORACLE_FILE
from behavior_priors.system.files import write_atomically
from behavior_priors.system.texts import printable

_MOST_TASKS = 10_000
"""Of a run that adapts: intervals are drawn from ten thousand times as many numbers."""


@dataclass(frozen=True)
class ReportConfig:
    """The program's flags.

    Attributes:
      workdirs: workdirs of runs, or patterns of them such as runs/parrot/quick/seed*.
      output: folder of report.md, report.csv, runs.csv and the figures.
      keys: results to report, as in summary.json; a star stands for anything but a slash.
      curve: what learning_curves.png shows, of the metrics of each stage; none for no such figure.
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
      UserError: a name is not that of a run, or a pattern matches none or is none.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists() and set(name) & set("*?["):
            pattern = path.relative_to(path.anchor)
            try:
                matches = sorted(Path(path.anchor).glob(str(pattern)))
            except ValueError as error:
                raise UserError(f"--workdirs: {name} is no pattern: {error}") from None
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
    """Curves of every stage that has logged the metric, by stage and by what a row differs in.

    Raises:
      UserError: a stage's metrics are damaged.
    """
    curves: dict[str, list[figures.Run]] = {}
    for row in table.rows:
        for run in row.runs:
            for path in sorted(run.workdir.glob("*/metrics.jsonl")):
                points = [r for r in read_jsonl(path) if r.get(metric) is not None]
                if points:
                    label = _label(path.parent.name, row, table)
                    steps, values = ([r[n] for r in points] for n in ("step", metric))
                    curves.setdefault(label, []).append(
                        (np.array(steps, float), np.array(values, float))
                    )
    return curves


def _label(method: str, row: Row, table: Table) -> str:
    """Of a line in a figure: the method, and what the row has that most of the others have not.

    Names are without the groups of their flags, where that says which flag is meant.
    """
    names = [name for name in row.settings if name != "experiment"]
    short = [name.rpartition(".")[2] for name in names]
    differing = []
    for name, last in zip(names, short, strict=True):
        alike = sum(other.settings[name] == row.settings[name] for other in table.rows)
        if 2 * alike <= len(table.rows):
            differing.append(f"{last if short.count(last) == 1 else name}={row.settings[name]}")
    if names and not differing:
        differing = ["as most others"]
    return printable(", ".join([LABELS.get(method, method), *differing]))


class Adaptations(NamedTuple):
    """How the runs of each row went about new tasks.

    Attributes:
      returns: by label `[runs * tasks, trajectories]`, means over the times that a task was met.
      exploration: trajectories that explored, in all of them; 0 where runs differ.
      oracle: mean return of whoever knows the task; None where nobody does, or where runs are not
        of one environment.
    """

    returns: Mapping[str, np.ndarray]
    exploration: int
    oracle: float | None


def find_adaptations(table: Table) -> Adaptations:
    """Of all runs that have kept one.

    Raises:
      UserError: a file cannot be read, or runs of one row differ in their trajectories.
    """
    returns: dict[str, list[np.ndarray]] = {}
    oracles: list[np.ndarray] = []
    explored: set[str] = set()
    envs: set[str | None] = set()
    for row in table.rows:
        for run in row.runs:
            paths = sorted(run.workdir.glob(f"*/{ADAPTATION_FILE}"))
            if not paths:
                continue
            for path in paths:
                kept = _read_returns(path, "test_returns", 3).mean(axis=1)
                tables = returns.setdefault(_label(path.parent.name, row, table), [])
                if tables and tables[0].shape[1] != kept.shape[1]:
                    raise UserError(
                        f"{path} has {kept.shape[1]} trajectories, other runs of its row have "
                        f"{tables[0].shape[1]}; do not --ignore adapt.trajectories"
                    )
                tables.append(kept)
            if (path := run.workdir / ORACLE_FILE).exists():
                oracles.append(_read_returns(path, "returns", 1))
            explored.add(run.flags.get("adapt.exploration", "0"))
            envs.add(run.flags.get("env"))
    return Adaptations(
        {label: np.concatenate(tables) for label, tables in returns.items()},
        _as_count(explored.pop()) if len(explored) == 1 else 0,
        float(np.mean(oracles)) if oracles and len(envs) == 1 else None,
    )


def _as_count(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0


def _read_returns(path: Path, name: str, axes: int) -> np.ndarray:
    try:
        file = Shard(path)
    except UserError as error:
        raise UserError(f"{path} cannot be read; run the experiment again") from error
    stored = file.arrays.get(name)
    if stored is None or len(stored.shape) != axes or stored.dtype.kind != "f":
        raise UserError(f"{file.path} cannot be read, it has no returns; run the experiment again")
    if stored.shape[0] > _MOST_TASKS:
        raise UserError(
            f"{file.path} has {name} of {stored.shape[0]} tasks; at most {_MOST_TASKS} are read"
        )
    # their mean may be beyond what half precision holds
    returns = file.read(name).astype(float)
    if not returns.size:
        raise UserError(f"{file.path} has no {name}; run the experiment again")
    wrong = returns[~(np.abs(returns) <= LARGEST)]
    if wrong.size:
        raise UserError(
            f"{file.path} has {wrong[0]:.4g} in {name}, which is not finite in single precision; "
            "run the experiment again"
        )
    return returns


def write_report(table: Table, folder: Path, curve: str | None) -> list[Path]:
    """Writes the report's files.

    Args:
      table: of the runs.
      folder: made where it is missing.
      curve: the metric in the figure of learning; None for no such figure.

    Returns:
      What was written; no figure of what no run has kept.

    Raises:
      UserError: a run's curves or returns are damaged, and nothing is written; or the folder cannot
        be written.
    """
    curves = {} if curve is None else find_curves(table, curve)
    adaptations = find_adaptations(table)
    texts = {
        "report.md": to_markdown(table),
        "report.csv": to_csv(table),
        "runs.csv": to_csv_of_runs(table),
    }
    written = [folder / name for name in texts]
    for path, text in zip(written, texts.values(), strict=True):
        write_atomically(path, text, advice="give another --output, or free some space")
    if curve is not None and curves:
        written.append(folder / "learning_curves.png")
        is_rate = curve.endswith("_rate")
        figures.learning_curves(
            written[-1],
            curves,
            ylabel=curve.removeprefix("eval/").replace("_", " "),
            ylim=(-0.02, 1.02) if is_rate else None,
        )
    if adaptations.returns:
        written.append(folder / "adaptation.png")
        adaptation_figures.adaptation_curves(
            written[-1],
            adaptations.returns,
            exploration=adaptations.exploration,
            oracle=adaptations.oracle,
            title="Adapting to new tasks",
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
    listed = Kind(str, is_tuple=True).format([_unstrippable(name) for name in workdirs])
    return [program, *([f"--workdirs={listed}"] if workdirs else []), *rest]


def _unstrippable(name: str) -> str:
    """The same folder by a name of which a list of flags takes nothing away.

    A list strips its parts, and takes a comma after a backslash for one of the name.
    """
    begin = "./" if name[:1].isspace() else ""
    end = "/" if name[-1:].isspace() or name.endswith("\\") else ""
    return f"{begin}{name}{end}"


if __name__ == "__main__":
    sys.argv = with_workdirs(sys.argv)
    flags.define(ReportConfig)
    entry.run(main)
