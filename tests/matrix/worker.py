"""The process that runs cells: `python -m tests.matrix.worker FOLDER CELL...`, a line a result."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from behavior_priors.methods.method import NONE
from behavior_priors.runs.checkpoint import Checkpointer
from tests.inside.memory import remembered
from tests.inside.programs import Ended, one_environment, run_program
from tests.inside.stops import Stop, counted, stopped
from tests.matrix.axes import EPOCHS, Cell, Column, Place, cells, sizes
from tests.net.outcomes import differences, outcome

MARK = "cell "
"""Goes before a result, so that nothing else on standard output is taken for one."""

RUN = "experiments.run"

METHOD = "own"

KEPT = 2
"""Epochs of a stage that a checkpoint has at the moment of a stop, one epoch after it."""

DEMONSTRATIONS = 8


class Workplace:
    """Cells, one after another, and what they share.

    Demonstrations are of a whole environment. The first cell of a row that runs learns its model
    from them, the others are given the folder of its run.
    """

    def __init__(self, folder: Path, forget: Callable[[], None]) -> None:
        """Begins with nothing.

        Args:
          folder: for all that runs write.
          forget: makes the next command make its environment anew.
        """
        self._folder = folder
        self._forget = forget
        self._data: dict[Place, Ended] = {}
        self._models: dict[tuple[Place, str], Column] = {}

    def result(self, cell: Cell) -> str:
        """What becomes of a cell: `runs`, `refused: LINE`, or `fails: ...`."""
        if cell.model == NONE:
            return self._run(cell)
        ended = self._collect(cell.place)
        if ended.status:
            return f"fails: no demonstrations: {_last(ended)}"
        known = self._models.get((cell.place, cell.model))
        if known is not None:
            result = self._run(cell, through=f"../../{known.name}/whole/run")
            if not result.startswith("refused: "):
                return result
            # the line is to speak of the name, and what is refused of both
            named = self._run(cell)
            return named if named.startswith("refused: ") else f"fails: {result}"
        result = self._run(cell)
        if result == "runs":
            self._models[cell.place, cell.model] = cell.column
        return result

    def _run(self, cell: Cell, through: str | None = None) -> str:
        """Runs a cell's command, and again from where it would have been stopped.

        Args:
          cell: which.
          through: the folder of a run that has the model; None to learn it from demonstrations.
        """
        place = self._of(cell)
        shutil.rmtree(place, ignore_errors=True)
        data = () if through or cell.model == NONE else ("--data=../../../data",)
        choice = (*cell.choice(through), *sizes(cell, through))
        arguments = (*choice, *data, "--workdir=run")
        stages = (cell.model, METHOD)
        with remembered():
            with stopped(
                place / "whole" / "run", {x: Stop(KEPT + 1, place / x / "run") for x in stages}
            ):
                ended = run_program(RUN, arguments, place / "whole")
            if ended.status:
                return _why(ended, is_begun=(place / "whole" / "run").exists())
            stopped_in = [stage for stage in stages if (place / stage).exists()]
            if METHOD not in stopped_in:
                return f"fails: {METHOD}/ has fewer than {KEPT + 1} epochs"
            for stage in stopped_in:
                if (wrong := self._resume(cell, arguments, stage)) is not None:
                    return f"fails: stopped in {stage}/: {wrong}"
        return "runs"

    def _resume(self, cell: Cell, arguments: tuple[str, ...], stage: str) -> str | None:
        """Goes on from a stop in a stage: what is wrong then, or None."""
        place = self._of(cell)
        if not Checkpointer(place / stage / "run" / stage / "checkpoints").steps():
            return "nothing was saved before"
        if cell.place.on_host:
            self._forget()
        with counted(place / stage / "run") as rows:
            ended = run_program(RUN, arguments, place / stage)
        if ended.status:
            return f"it ended with {ended.status}: {_last(ended)}"
        if rows[stage] != EPOCHS - KEPT:
            return f"{rows[stage]} epochs were run, not the {EPOCHS - KEPT} that were left"
        # what was learned before the first new episode is the same there, too
        compared = f"run/{cell.model}/" if cell.place.on_host else ""
        ours, theirs = (
            {n: x for n, x in outcome(place / name).items() if n.startswith(compared)}
            for name in (stage, "whole")
        )
        if lines := differences(theirs, ours):
            return f"{len(lines)} differences, the first: {lines[0]}"
        return None

    def _collect(self, place: Place) -> Ended:
        """The demonstrations of an environment, if they are not there yet."""
        if place not in self._data:
            self._data[place] = self._collected(place)
        return self._data[place]

    def _collected(self, place: Place) -> Ended:
        folder = self._folder / place.name
        source: tuple[str, ...] = (f"--env={place.data_env}", "--side_by_side=8")
        if place.data_env is None:
            expert = Cell(place, NONE, Column("sac"))
            if not (self._of(expert) / "whole" / "run" / "summary.json").exists():
                ended = run_program(
                    RUN, (*expert.choice(), *sizes(expert), "--workdir=run"), folder / "expert"
                )
                if ended.status:
                    return ended
                checkpoint = "expert/run"
            else:
                checkpoint = str(self._of(expert).relative_to(folder) / "whole" / "run")
            source = (f"--checkpoint={checkpoint}", "--keep_failures", "--side_by_side=2")
        arguments = (*source, f"--episodes={DEMONSTRATIONS}", "--output=data")
        return run_program("experiments.collect", arguments, folder)

    def _of(self, cell: Cell) -> Path:
        return self._folder / cell.place.name / cell.model / cell.column.name


def _why(ended: Ended, *, is_begun: bool) -> str:
    """What an exit status that is not 0 means."""
    errors = [x for x in ended.stderr.splitlines() if x.startswith("error: ")]
    is_refusal = ended.status == 2 and "Traceback" not in ended.stderr and len(errors) == 1
    if is_refusal and not is_begun:
        return f"refused: {errors[0].removeprefix('error: ')}"
    return f"fails: it ended with {ended.status}: {_last(ended)}"


def _last(ended: Ended) -> str:
    lines = ended.stderr.strip().splitlines()
    return lines[-1] if lines else "without a word"


def main() -> None:
    """Runs the cells that the command line names."""
    folder, names = Path(sys.argv[1]), set(sys.argv[2:])
    # programs are given another standard output
    out = sys.stdout
    with one_environment() as forget:
        workplace = Workplace(folder.resolve(), forget)
        for cell in cells():
            if cell.name not in names:
                continue
            began = time.process_time()
            result = workplace.result(cell)
            seconds = time.process_time() - began
            line = json.dumps({"cell": cell.name, "result": result, "seconds": seconds})
            print(f"{MARK}{line}", file=out, flush=True)


if __name__ == "__main__":
    main()
