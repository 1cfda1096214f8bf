"""The page of results, from the data of all runs that are kept in the repository.

    python -m benchmarks.results_page > docs/results.md

A row of `docs/results/*.csv` is a run; `experiments.report` writes such files (`runs.csv`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from behavior_priors.reports.tables import Run, make_table, to_markdown

FOLDER = Path(__file__).parents[1] / "docs" / "results"

_VERSIONS = "versions/"


class Source(NamedTuple):
    """A file of runs, and what the page says of it.

    Attributes:
      file: its name in `docs/results`.
      title: what was measured.
      command: that made one of the runs.
      keys: what the table shows, patterns of columns.
      page: where it is discussed.
      ignore: flags in which runs of one row may differ, beside their seed.
    """

    file: str
    title: str
    command: str
    keys: Sequence[str]
    page: str
    ignore: Sequence[str] = ()


_FLAGS = "experiments/flags"

SUCCESS = ("*/success_rate",)
RETURNS = ("*/return_mean",)

SOURCES = (
    Source(
        "parrot_quick.csv",
        "Grasping a mug that no demonstration has shown",
        "python -m experiments.parrot --flagfile=experiments/flags/parrot/quick.flags --seed=N",
        (*SUCCESS, "*/grasp_rate"),
        "parrot.md",
    ),
    Source(
        "parrot_test_objects.csv",
        "Grasping each of the test objects",
        "python -m launch.sweep --flagfile=experiments/flags/sweeps/test_objects.flags",
        SUCCESS,
        "parrot.md",
    ),
    Source(
        "parrot_place_quick.csv",
        "Placing a can in a pan",
        f"python -m experiments.parrot --flagfile={_FLAGS}/parrot/place_quick.flags --seed=N",
        (*SUCCESS, "*/place_rate"),
        "parrot.md",
    ),
    Source(
        "figure3.csv",
        "PARROT and its competitors, eight tasks",
        f"python -m launch.sweep --flagfile={_FLAGS}/sweeps/figure3.flags",
        SUCCESS,
        "parrot.md",
    ),
    Source(
        "hirl_placing.csv",
        "PARROT and HIRL on a validation task of placing, with one thing changed",
        'docs/parrot.md, "Competitors"',
        (*SUCCESS, "*place_rate"),
        "parrot.md",
    ),
    Source(
        "densities.csv",
        "Six densities to act through",
        f"python -m launch.sweep --flagfile={_FLAGS}/sweeps/density.flags",
        (*SUCCESS, "*/grasp_rate"),
        "parrot.md",
    ),
    Source(
        "data_size.csv",
        "How many demonstrations PARROT needs",
        f"python -m launch.sweep --flagfile={_FLAGS}/sweeps/data_size.flags",
        (*SUCCESS, "prior/*_rate", "*/validation_loss"),
        "parrot.md",
        ("*observation*",),
    ),
    Source(
        "mismatch.csv",
        "PARROT with demonstrations of another kind of task",
        f"python -m launch.sweep --flagfile={_FLAGS}/sweeps/mismatch.flags",
        (*SUCCESS, "prior/*_rate"),
        "parrot.md",
    ),
    Source(
        "few_demonstrations.csv",
        "PARROT with few demonstrations, by which epoch of the prior is kept",
        'docs/parrot.md, "Few demonstrations"',
        SUCCESS,
        "parrot.md",
    ),
    Source(
        "spirl_maze.csv",
        "SPiRL in a maze that no demonstration has shown",
        "python -m launch.sweep --flagfile=experiments/flags/sweeps/maze.flags",
        SUCCESS,
        "spirl.md",
    ),
    Source(
        "spirl_ablations.csv",
        "What SPiRL owes to each of its parts, in the maze",
        f"python -m launch.sweep --flagfile={_FLAGS}/sweeps/spirl_ablations.flags",
        (*SUCCESS, "prior/cells_mean"),
        "spirl.md",
    ),
    Source(
        "spirl_blocks.csv",
        "SPiRL stacking blocks, height of the tower in blocks",
        "python -m experiments.spirl --flagfile=experiments/flags/spirl/blocks.flags --seed=N",
        ("*/height_mean",),
        "spirl.md",
    ),
    Source(
        "pearl_quick_dense.csv",
        "PEARL on points whose goals are not shown, a reward everywhere",
        "python -m experiments.pearl --flagfile=experiments/flags/pearl/quick_dense.flags --seed=N",
        (*RETURNS, "*/first_return_mean"),
        "pearl.md",
    ),
    Source(
        "pearl_quick_sparse.csv",
        "PEARL on points whose goals are not shown, a reward near them only",
        "python -m launch.sweep --flagfile=experiments/flags/sweeps/points.flags",
        RETURNS,
        "pearl.md",
    ),
    Source(
        "pearl_ablations.csv",
        "What PEARL sees as a context, and in which order",
        'docs/pearl.md, "Ablations"',
        RETURNS,
        "pearl.md",
    ),
    Source(
        "pearl_cheetah_velocity.csv",
        "PEARL on a half-cheetah that has to run at a speed",
        f"python -m experiments.pearl --flagfile={_FLAGS}/pearl/quick_cheetah_velocity.flags",
        (*RETURNS, "*/first_return_mean"),
        "pearl.md",
    ),
)


_BEGINNING = """# Results

<!-- python -m benchmarks.results_page > docs/results.md -->

Every number of this page is made from runs that are kept beside it, one row of a file each, with
its seed and the versions that it ran with. `prior`, `latents` and `random` have learned nothing:
they act by chance, through a model or without one; `encoded` are the demonstrator's own skills.
"""


def read_runs(path: Path) -> list[Run]:
    """The runs of a file that `tables.to_csv_of_runs` has written."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0])
    last = names.index("seed")
    runs = []
    for number, row in enumerate(rows):
        flags = {name: row[name] for name in names[1 : last + 1]}
        numbers = {
            name: float(row[name])
            for name in names[last + 1 :]
            if row[name] and name != "engine" and not name.startswith(_VERSIONS)
        }
        runs.append(Run(path / str(number), row["experiment"], flags, numbers))
    return runs


def make_page() -> str:
    """The page, in Markdown."""
    parts = [_BEGINNING]
    for source in SOURCES:
        table = make_table(read_runs(FOLDER / source.file), source.keys, source.ignore)
        parts.append(
            f"## {source.title}\n\n{to_markdown(table)}\n"
            f"`{source.command}`; each run in [`{source.file}`](results/{source.file}); more in "
            f"[{source.page}]({source.page}).\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    print(make_page(), end="")
