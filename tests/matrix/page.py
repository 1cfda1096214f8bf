"""The page that shows the matrix: written from results, and read back for those to keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.matrix.axes import PLACES, Cell, cells, columns, rows

OUTPUT = "docs/matrix.md"

RUNS, REFUSED, FAILS = "runs", "refused: ", "fails: "

_INTRODUCTION = """\
# Any prior, any learner, any environment

    python -m tests.matrix --output={output}

wrote this page. Each cell of a table is one command, at a tiny size:

    python -m experiments.run --methods=own --through=MODEL --learner=LEARNER \\
        --infer=ENCODER --env=ENVIRONMENT

- **yes**: it runs to its end. A copy that was stopped in the middle goes on from its last
  checkpoint and comes to the same bits: parameters, replay, metrics, results, pictures. In the
  first cell of a row, which learns the model for the others, so does a copy that was stopped there.
- **a number**: it is refused before anything is written, with the [line](#lines) of that number.
- **fails**: a defect.

In `gym/`, on the host, a run that goes on begins new episodes
([environments](environments.md#gymnasium)): it has to come to its end, and its model to the same
bits. Demonstrations are the environment's own; in `brax/` and `gym/` they are those of a policy
that was trained there.

`--cells='maze/real_nvp/.*'` runs some cells, and keeps what the page says of the others.
"""

_VERSIONS = "Versions: "

_MISSING = "–"


class Page(NamedTuple):
    """What the page says.

    Attributes:
      results: by the names of cells: `runs`, `refused: LINE` or `fails: ...`.
      versions: of what the cells were run with.
    """

    results: Mapping[str, str]
    versions: str


def write(page: Page) -> str:
    """The page as Markdown."""
    notes: dict[str, int] = {}

    def shown(cell: Cell) -> str:
        result = page.results.get(cell.name)
        if result is None or result == RUNS:
            return _MISSING if result is None else "yes"
        number = notes.setdefault(result, len(notes) + 1)
        return f"fails {number}" if result.startswith(FAILS) else f"{number}"

    lines = [_INTRODUCTION.format(output=OUTPUT)]
    for place in PLACES:
        heads = [f"`{' '.join(column.flags)}`" for column in columns()]
        lines += [f"## `{place.title}`", ""]
        lines += [_row("", *heads), _row(*["---"] * (len(heads) + 1))]
        for model in rows():
            found = [shown(Cell(place, model, column)) for column in columns()]
            lines.append(_row(f"`--through={model}`", *found))
        lines.append("")
    lines += ["## Lines", ""]
    # a line may have any letters in it
    lines += [f"{number}. `{result.replace('`', chr(39))}`" for result, number in notes.items()]
    return "\n".join([*lines, "", f"{_VERSIONS}{page.versions}.", ""])


def read(text: str) -> Page:
    """What a page says of the cells that there are now."""
    lines = text.splitlines()
    matches = (re.fullmatch(r"(\d+)\. `(.*)`", line) for line in lines)
    notes = {match[1]: match[2] for match in matches if match is not None}
    found: dict[tuple[str, ...], str] = {}
    title, heads = "", list[str]()
    for line in lines:
        if line.startswith("## "):
            title, heads = line.removeprefix("## "), []
        elif line.startswith("| "):
            first, *rest = (part.strip() for part in line.strip("|").split(" | "))
            if not heads:
                heads = rest
            for head, said in zip(heads, rest, strict=True):
                found[title, first, head] = said
    results = {}
    for cell in cells():
        flags = f"`{' '.join(cell.column.flags)}`"
        said = found.get((f"`{cell.place.title}`", f"`--through={cell.model}`", flags), _MISSING)
        result = RUNS if said == "yes" else notes.get(said.removeprefix("fails "))
        if result is not None:
            results[cell.name] = result
    versions = next((x for x in lines if x.startswith(_VERSIONS)), "")
    return Page(results, versions.removeprefix(_VERSIONS).removesuffix("."))


def _row(*parts: str) -> str:
    return f"| {' | '.join(parts)} |"
