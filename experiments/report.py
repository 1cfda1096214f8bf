"""Any set of runs as one table and one figure.

    python -m experiments.report runs/parrot/quick/seed* --output=report

Runs that differ in their seed alone make one row; the flags in which the rows differ are its first
columns. Written are `report.md`, `report.csv` (one line a row and key), `runs.csv` (one line a run,
with its seed and the versions that it ran with), `curves.csv` (one line a point of a curve),
`learning_curves.png` and, of runs that adapt to new tasks, `adaptation.png`. Curves that were kept
can be drawn again without the runs:

    python -m experiments.report --curves=report/curves.csv --panels=env --output=report
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
from behavior_priors.programs import entry
from behavior_priors.reports import adaptation_figures, curves, figures
from behavior_priors.reports.tables import (
    Table,
    make_table,
    read_run,
    to_csv,
    to_csv_of_runs,
    to_markdown,
)
from behavior_priors.runs.metrics import LARGEST
from behavior_priors.runs.workdir import ADAPTATION_FILE, FLAGS_FILE, ORACLE_FILE
from behavior_priors.system.files import write_atomically

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
      panels: the flag for each of whose values learning_curves.png has a panel; none for one panel.
      curves: a curves.csv that is drawn again, in place of workdirs; none for workdirs.
      ignore: flags in which the runs of one row may differ, besides seed and workdir; a star stands
        for anything.
    """

    workdirs: tuple[str, ...] = ()
    output: str = "."
    keys: tuple[str, ...] = ("*/success_rate", "*/return_mean")
    curve: str | None = "eval/success_rate"
    panels: str | None = None
    curves: str | None = None
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
    settings = [row.settings for row in table.rows]
    for row in table.rows:
        for run in row.runs:
            paths = sorted(run.workdir.glob(f"*/{ADAPTATION_FILE}"))
            if not paths:
                continue
            for path in paths:
                kept = _read_returns(path, "test_returns", 3).mean(axis=1)
                label = curves.label_of(path.parent.name, row.settings, settings)
                tables = returns.setdefault(label, [])
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


def write_report(
    table: Table, folder: Path, curve: str | None, by: str | None = None
) -> list[Path]:
    """Writes the report's files.

    Args:
      table: of the runs.
      folder: made where it is missing.
      curve: the metric in the figure of learning; None for no such figure.
      by: the flag for whose values it has panels; None for one panel.

    Returns:
      What was written; no figure of what no run has kept.

    Raises:
      UserError: a run's curves or returns are damaged, and nothing is written; or the folder cannot
        be written.
    """
    found = [] if curve is None else curves.find_curves(table, curve)
    panels = curves.in_panels(found, by) if found else {}
    adaptations = find_adaptations(table)
    texts = {
        "report.md": to_markdown(table),
        "report.csv": to_csv(table),
        "runs.csv": to_csv_of_runs(table),
        **({"curves.csv": curves.to_csv(found)} if found else {}),
    }
    written = [folder / name for name in texts]
    for path, text in zip(written, texts.values(), strict=True):
        write_atomically(path, text, advice="give another --output, or free some space")
    if curve is not None and found:
        written.append(folder / "learning_curves.png")
        draw_curves(written[-1], panels, curve, curves.title_of(found))
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


def draw_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Sequence[figures.Run]]],
    curve: str,
    title: str = "",
) -> None:
    """Draws a metric's curves, which `curves.in_panels` has sorted."""
    ylabel = curve.removeprefix("eval/").replace("_", " ")
    ylim = (-0.02, 1.02) if curve.endswith("_rate") else None
    if list(panels) == [""]:
        figures.learning_curves(path, panels[""], ylabel=ylabel, ylim=ylim, title=title)
    else:
        figures.curve_panels(path, panels, ylabel=ylabel, ylim=ylim, title=title)


def main() -> None:
    """Writes the report, and shows the table."""
    config = flags.read(ReportConfig)
    if config.curves is not None:
        if config.workdirs or config.curve is None:
            raise UserError("--curves draws what a file has; leave --workdirs and --curve=none out")
        found = curves.read_csv(Path(config.curves))
        path = Path(config.output) / "learning_curves.png"
        draw_curves(
            path, curves.in_panels(found, config.panels), config.curve, curves.title_of(found)
        )
        print(f"see {path}")
        return
    runs = [read_run(workdir) for workdir in find_workdirs(config.workdirs)]
    table = make_table(runs, config.keys, config.ignore)
    written = write_report(table, Path(config.output), config.curve, config.panels)
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
