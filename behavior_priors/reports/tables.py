"""Runs as a table: read from their folders, grouped by their flags, estimated over their seeds."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.config.flag_file import read_flag_file
from behavior_priors.data.names import shown
from behavior_priors.errors import UserError
from behavior_priors.evaluation.statistics import Estimate, summarize
from behavior_priors.runs.metrics import LARGEST
from behavior_priors.runs.workdir import FLAGS_FILE, SUMMARY_FILE, WORKDIR_DEPTH
from behavior_priors.system.foreign_files import check_folder, read_json
from behavior_priors.system.texts import printable

SAME_RUN = ("seed", "workdir", "figures", "video_episodes", "models", "only_models")
"""Flags in which the runs of one row may differ."""

_ABSENT = "absent"


class Run(NamedTuple):
    """A run as its folder describes it; `summary` is None while it is not complete."""

    workdir: Path
    experiment: str
    flags: Mapping[str, str]
    summary: Mapping[str, Any] | None


class Row(NamedTuple):
    """Runs that differ in their seed alone.

    Attributes:
      settings: the experiment, and the flags in which the rows differ.
      runs: complete ones.
      estimates: by key, of the runs that have a number there.
      counts: by key, how many those are.
    """

    settings: Mapping[str, str]
    runs: Sequence[Run]
    estimates: Mapping[str, Estimate]
    counts: Mapping[str, int]


class Table(NamedTuple):
    """Rows, their columns, and the runs that are in none."""

    keys: Sequence[str]
    rows: Sequence[Row]
    incomplete: Sequence[Path]


def read_run(workdir: Path) -> Run:
    """Reads a run's flags and, if there is one, its summary.

    Raises:
      UserError: one of them is not what it should be, or the folder has links.
    """
    try:
        check_folder(workdir, depth=WORKDIR_DEPTH)
        owner, _, values = read_flag_file(workdir / FLAGS_FILE)
        summary, path = None, workdir / SUMMARY_FILE
        if path.exists():
            summary = read_json(path, dict[str, float | bool | str | None])
            _check_summary(path, summary)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    except UserError as error:
        raise UserError(f"{error}; run the experiment again, or leave {workdir} out") from None
    return Run(workdir, owner, values, summary)


def make_table(runs: Sequence[Run], keys: Sequence[str], ignore: Sequence[str] = ()) -> Table:
    """Groups complete runs and estimates each key over a group's seeds.

    Args:
      runs: in the order in which their rows are to come.
      keys: patterns of keys of summaries.
      ignore: patterns of flags in which the runs of one row may differ, besides seed and workdir.

    Raises:
      UserError: no run is complete, none has such a key, or a run is given twice.
    """
    complete = [run for run in runs if run.summary is not None]
    if not complete:
        raise UserError(
            f"--workdirs: none of the {len(runs)} runs has a {SUMMARY_FILE}; the command that "
            "began a run also completes it"
        )
    # numbers, not what a summary says of versions and the like
    numbers = {
        key: None
        for run in complete
        for key, value in (run.summary or {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    chosen = [key for key in numbers if any(_matches(key, pattern) for pattern in keys)]
    if not chosen:
        some = ", ".join(list(numbers)[:6])
        raise UserError(f"--keys={','.join(keys)} are in no summary; there are {some}, ...")
    settings = _settings(complete, {*SAME_RUN, *ignore})
    groups: dict[tuple[str, ...], list[Run]] = {}
    of_group: dict[tuple[str, ...], dict[str, str]] = {}
    for run, values in zip(complete, settings, strict=True):
        name = tuple(values.values())
        of_group[name] = values
        group = groups.setdefault(name, [])
        for other in group:
            if run.flags.get("seed") == other.flags.get("seed"):
                raise UserError(
                    f"--workdirs: {other.workdir} and {run.workdir} have the same flags and the "
                    "same seed, so they are no two samples; give one of them"
                )
        group.append(run)
    rows = []
    for name, group in groups.items():
        scores = {key: _scores(group, key) for key in chosen}
        rows.append(
            Row(
                settings=of_group[name],
                runs=group,
                estimates={key: summarize(np.array(x)) for key, x in scores.items() if x},
                counts={key: len(x) for key, x in scores.items()},
            )
        )
    return Table(chosen, rows, [run.workdir for run in runs if run.summary is None])


def to_markdown(table: Table) -> str:
    """The table, what its numbers are, and which runs are missing in it.

    A key is `METHOD/MEASURE`: methods, and after them models and chance, are rows, and measures are
    columns.
    """
    # JAX's libraries, which a sweep does not want before its runs have ended
    from behavior_priors.methods.method import LABELS

    whose = list(dict.fromkeys(key.partition("/")[0] if "/" in key else "" for key in table.keys))
    whose.sort(key=lambda who: who not in LABELS)
    measures = dict.fromkeys(_measure(key) for key in table.keys)
    names = [*table.rows[0].settings, "method", "runs", *measures]
    lines = [[_as_markdown(name) for name in names], ["---"] * len(names)]
    for row in table.rows:
        settings = [_as_markdown(value) for value in row.settings.values()]
        for who in whose:
            keys = [f"{who}/{measure}" if who else measure for measure in measures]
            if any(key in row.estimates for key in keys):
                label = _as_markdown(LABELS.get(who, who)) or "-"
                cells = [_cell(row, key) for key in keys]
                lines.append([*settings, label, str(len(row.runs)), *cells])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    estimates = [estimate for row in table.rows for estimate in row.estimates.values()]
    meanings = dict.fromkeys(estimate.meaning for estimate in estimates)
    text += f"\nNumbers: {'; '.join(meanings)}.\n"
    if table.incomplete:
        text += "\nNot complete, and not in the table:\n\n"
        text += "".join(f"- {_as_markdown(str(path))}\n" for path in table.incomplete)
    return text


def to_csv(table: Table) -> str:
    """One line for each row and key."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.rows[0].settings, "key", "runs", "value", "low", "high", "meaning"])
    for row in table.rows:
        for key, estimate in row.estimates.items():
            writer.writerow([*row.settings.values(), key, row.counts[key], *estimate])
    return text.getvalue()


def to_csv_of_runs(table: Table) -> str:
    """One line for each run: its settings, its seed, its results, and what it ran with.

    It is what the table was made of, and can be kept beside it.
    """
    runs = [run for row in table.rows for run in row.runs]
    names = {name: None for run in runs for name in run.summary or {}}
    versions = [name for name in names if name == "engine" or name.startswith("versions/")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.rows[0].settings, "seed", *table.keys, *versions])
    for row in table.rows:
        for run in row.runs:
            summary = run.summary or {}
            values = [summary.get(name, "") for name in (*table.keys, *versions)]
            writer.writerow([*row.settings.values(), run.flags.get("seed", ""), *values])
    return text.getvalue()


def _check_summary(path: Path, summary: Mapping[str, float | bool | str | None]) -> None:
    """Raises UserError where a summary has what no table can show."""
    for name, value in summary.items():
        if not name.isprintable():
            raise UserError(f"{path}: the key {shown(name)} is no text")
        if isinstance(value, str) and not value.isprintable():
            raise UserError(f"{path}: {name} is {shown(value)}, which is no text")
        if isinstance(value, int | float) and abs(value) > LARGEST:
            raise UserError(f"{path}: {name} is {value:.4g}, which single precision does not hold")


def _as_markdown(text: str) -> str:
    """A text of anybody's on one line, in which no character means anything to Markdown."""
    # an underscore between letters means nothing, and is in many names
    return re.sub(r"([\\`*|<>\[\]&~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", printable(text))


def _measure(key: str) -> str:
    """What a key measures: `stochastic/success_rate` of `sac/stochastic/success_rate`."""
    return key.partition("/")[2] or key


def _matches(key: str, pattern: str) -> bool:
    parts, wanted = key.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _settings(runs: Sequence[Run], ignore: set[str]) -> list[dict[str, str]]:
    """The experiment of each run, and its values of the flags in which they differ."""
    names = sorted(
        name
        for name in {name for run in runs for name in run.flags}
        if not any(fnmatchcase(name, pattern) for pattern in ignore)
    )
    differing = [n for n in names if len({run.flags.get(n, _ABSENT) for run in runs}) > 1]
    # a flag that some runs alone have comes with a part that they chose, whose name is enough
    told = [n for n in differing if len({run.flags[n] for run in runs if n in run.flags}) > 1]
    chosen = told if _groups(runs, told) == _groups(runs, differing) else differing
    return [
        {"experiment": run.experiment} | {n: run.flags.get(n, _ABSENT) for n in chosen}
        for run in runs
    ]


def _groups(runs: Sequence[Run], names: Sequence[str]) -> int:
    """How many groups runs make that differ in some of these flags."""
    return len({tuple(run.flags.get(n, _ABSENT) for n in names) for run in runs})


def _scores(runs: Sequence[Run], key: str) -> list[float]:
    values = [(run.summary or {}).get(key) for run in runs]
    return [float(x) for x in values if isinstance(x, int | float) and not isinstance(x, bool)]


def _cell(row: Row, key: str) -> str:
    if key not in row.estimates:
        return "-"
    value, low, high, _ = row.estimates[key]
    text = [_number(x) for x in (value, low, high)]
    if row.counts[key] == 1:
        cell = text[0]
    else:
        cell = f"{text[0]} [{text[1]}, {text[2]}]"
    missing = len(row.runs) - row.counts[key]
    return f"{cell} ({missing} without)" if missing else cell


def _number(x: float) -> str:
    if abs(x) < 10:
        return f"{x:.3f}"
    return f"{x:.1f}" if abs(x) < 1e9 else f"{x:.4g}"
