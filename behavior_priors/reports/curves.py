"""Learning curves of many runs: gathered, kept beside a report, and read again to be drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.methods.method import LABELS
from behavior_priors.reports.figures import Run
from behavior_priors.reports.tables import Table
from behavior_priors.reports.titles import short_name
from behavior_priors.runs.metrics import LARGEST, read_jsonl
from behavior_priors.system.foreign_files import read_text
from behavior_priors.system.texts import printable

COLUMNS = ("method", "seed", "step", "value")
"""Of a file of curves, after those of the runs' settings."""


class Curve(NamedTuple):
    """A method of a run, and how good it was after so many steps.

    Attributes:
      settings: the experiment, and the flags in which runs differ.
      method: the stage that has logged it.
      seed: of the run.
      run: steps `[n]` and values `[n]`.
    """

    settings: Mapping[str, str]
    method: str
    seed: str
    run: Run


def find_curves(table: Table, metric: str) -> list[Curve]:
    """Curves of every stage of the runs that has logged the metric.

    Raises:
      UserError: a stage's metrics are damaged.
    """
    curves = []
    for row in table.rows:
        for run in row.runs:
            for path in sorted(run.workdir.glob("*/metrics.jsonl")):
                points = [r for r in read_jsonl(path) if r.get(metric) is not None]
                if points:
                    steps, values = (
                        np.array([r[name] for r in points], float) for name in ("step", metric)
                    )
                    seed = run.flags.get("seed", "")
                    # where all are of one environment, no row says so
                    settings = {"env": run.flags.get("env", ""), **row.settings}
                    curves.append(Curve(settings, path.parent.name, seed, (steps, values)))
    return curves


def in_panels(curves: Sequence[Curve], flag: str | None) -> dict[str, dict[str, list[Run]]]:
    """Curves by the value of a flag and by what they are called in a figure.

    Args:
      curves: at least one.
      flag: in which runs differ; None for all in one panel without a name.

    Raises:
      UserError: the runs do not differ in it.
    """
    names = [name for name in curves[0].settings if name != "experiment" and _varies(curves, name)]
    if flag is not None and flag not in names:
        known = f"in {', '.join(names)}" if names else "in nothing but their seeds"
        raise UserError(f"--panels={flag}: the runs differ {known}")
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.settings[flag] if flag else "", []).append(curve)
    drawn: dict[str, dict[str, list[Run]]] = {}
    for title, members in panels.items():
        others = list({tuple(x.settings.items()): x.settings for x in members}.values())
        for curve in members:
            label = label_of(curve.method, curve.settings, others, without=flag)
            drawn.setdefault(title, {}).setdefault(label, []).append(curve.run)
    return drawn


def _varies(curves: Sequence[Curve], name: str) -> bool:
    return len({curve.settings[name] for curve in curves}) > 1


def title_of(curves: Sequence[Curve]) -> str:
    """The task of all curves; nothing where they have several."""
    envs = {curve.settings.get("env", "") for curve in curves}
    return f"Learning {short_name(envs.pop())}" if len(envs) == 1 and "" not in envs else ""


def _in_words(name: str, value: str) -> str:
    """A flag and its value as one would say them."""
    if name == "env":
        return value
    if value in ("true", "false"):
        return f"{'' if value == 'true' else 'no '}{name.replace('_', ' ')}"
    return f"{name.replace('_', ' ')} {value}"


def label_of(
    method: str,
    settings: Mapping[str, str],
    others: Sequence[Mapping[str, str]],
    without: str | None = None,
) -> str:
    """A line's name: the method, and what its runs have that most of the others have not.

    Names are without the groups of their flags, where that says which flag is meant.

    Args:
      method: that learned.
      settings: of its runs.
      others: settings of all runs, its own among them, each once.
      without: a flag that is said elsewhere.
    """
    varied = [name for name in settings if len({other[name] for other in others}) > 1]
    names = [name for name in varied if name not in ("experiment", without)]
    short = [name.rpartition(".")[2] for name in names]
    differing = []
    for name, last in zip(names, short, strict=True):
        alike = sum(other[name] == settings[name] for other in others)
        if 2 * alike <= len(others):
            differing.append(_in_words(last if short.count(last) == 1 else name, settings[name]))
    if names and not differing:
        differing = ["as most others"]
    return printable(", ".join([LABELS.get(method, method), *differing]))


def to_csv(curves: Sequence[Curve]) -> str:
    """One line for each point of a curve."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*curves[0].settings, *COLUMNS])
    for curve in curves:
        for step, value in zip(*curve.run, strict=True):
            point = (f"{step:.0f}", f"{value:.6g}")
            # a folder's name may be no text, and a setting was read as one
            method = printable(curve.method)
            writer.writerow([*curve.settings.values(), method, curve.seed, *point])
    return text.getvalue()


def read_csv(path: Path) -> list[Curve]:
    """The curves of a file that `to_csv` wrote.

    Raises:
      UserError: it cannot be read, or is no such file.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_text(path))))
    except csv.Error as error:
        raise UserError(f"{path} has no curves: {error}") from None
    head = rows[0] if rows else []
    if tuple(head[-len(COLUMNS) :]) != COLUMNS or len(rows) < 2:
        raise UserError(f"{path} has no curves; give a curves.csv of experiments.report")
    points: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            step, value = (float(x) for x in row[-2:])
            if len(row) != len(head) or not 0 <= step <= LARGEST:
                raise ValueError
        except ValueError:
            raise UserError(f"{path}: line {number} is no point of a curve") from None
        points.setdefault(tuple(row[:-2]), []).append((step, value))
    curves = []
    for (*settings, method, seed), run in points.items():
        steps, values = np.array(sorted(run)).T
        named = dict(zip(head, settings, strict=False))
        curves.append(Curve(named, method, seed, (steps, values)))
    return curves
