"""The matrix: does every prior run with every learner in every environment?

    python -m tests.matrix --output=docs/matrix.md
    python -m tests.matrix --cells='maze/real_nvp/.*'

A cell is called ENVIRONMENT/MODEL/LEARNER, or ENVIRONMENT/MODEL/LEARNER+ENCODER.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from behavior_priors.runs import workdir
from tests.experiments import runs
from tests.matrix import page
from tests.matrix.axes import Cell, cells
from tests.matrix.worker import MARK

DEADLINE = 1200.0
"""Seconds after which a cell counts as stuck."""


class Outcome(NamedTuple):
    """What became of a cell.

    Attributes:
      cell: its name.
      result: as `Page` has it.
      seconds: of the processor.
    """

    cell: str
    result: str
    seconds: float


def run_cells(names: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Runs cells, in a process of their own; in another one after what ends the first.

    Args:
      names: of the cells, in their order.
      folder: for all that they write.
    """
    rest, number = list(names), 0
    while rest:
        number += 1
        place = folder / f"{number}"
        place.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.matrix.worker", str(place), *rest]
        with (place / "stderr").open("wb") as err:
            process = subprocess.Popen(
                command, cwd=runs.ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=err
            )
        for outcome in _said(process):
            rest.remove(outcome.cell)
            yield outcome
        if rest:
            words = (place / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
            said = f"the process ended with {process.returncode}: {' '.join(words)}"
            yield Outcome(rest.pop(0), f"{page.FAILS}{said}", 0.0)


def _said(process: subprocess.Popen[bytes]) -> Iterator[Outcome]:
    """What a process says of its cells, until it ends; one that is stuck is killed."""
    assert process.stdout is not None
    try:
        while True:
            timer = threading.Timer(DEADLINE, process.kill)
            timer.start()
            line = process.stdout.readline().decode()
            timer.cancel()
            if line.startswith(MARK):
                yield Outcome(**json.loads(line.removeprefix(MARK)))
            elif not line:
                break
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    variables = runs.environment()
    # what compiles once in a process is of no use to another
    for name in [name for name in variables if "CACHE" in name]:
        del variables[name]
    return variables


def versions() -> str:
    """Versions of whatever can change what runs."""
    others = {name: version(name) for name in ("flax", "brax", "gymnasium")}
    named = {"python": "", **workdir.versions(), **others}
    del named["behavior_priors"]
    return ", ".join(f"{name} {number}" for name, number in named.items())


def main() -> int:
    """Runs the cells that the command line names; 1 if any of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default=".*", metavar="PATTERN", help="of their whole names")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page to write")
    options = parser.parse_args()
    chosen = [cell for cell in cells() if re.fullmatch(options.cells, cell.name)]
    if not chosen:
        parser.error(f"--cells={options.cells}: choose from {', '.join(c.name for c in cells())}")
    known = _known(parser, options.output, chosen)
    found = []
    with tempfile.TemporaryDirectory() as name:
        for outcome in run_cells([cell.name for cell in chosen], Path(name)):
            print(f"{outcome.cell}: {outcome.result} ({outcome.seconds:.0f} s)", flush=True)
            found.append(outcome)
    if options.output is not None:
        results = {**known, **{x.cell: x.result for x in found}}
        options.output.write_text(page.write(page.Page(results, versions())), encoding="utf-8")
    failed = sum(x.result.startswith(page.FAILS) for x in found)
    refused = sum(x.result.startswith(page.REFUSED) for x in found)
    seconds = sum(x.seconds for x in found)
    running = len(found) - failed - refused
    print(f"{running} cells run, {refused} are refused, {failed} fail; {seconds:.0f} s of a core")
    return int(failed > 0)


def _known(
    parser: argparse.ArgumentParser, output: Path | None, chosen: Sequence[Cell]
) -> dict[str, str]:
    """What a page says of cells that are not run."""
    if output is None or len(chosen) == len(cells()) or not output.exists():
        return {}
    old = page.read(output.read_text(encoding="utf-8"))
    if old.versions != versions():
        parser.error(f"--cells: {output} is of other versions, {old.versions}; run all cells")
    return dict(old.results)


if __name__ == "__main__":
    sys.exit(main())
