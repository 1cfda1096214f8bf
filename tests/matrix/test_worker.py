"""The worker tells what runs from what is refused, and from what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import pytest

from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.metrics import JsonlWriter
from tests.inside.programs import Ended
from tests.matrix import worker
from tests.matrix.axes import EPOCHS, Cell, cells
from tests.matrix.worker import Workplace

NONE, MODEL = (
    next(cell for cell in cells() if cell.name == name)
    for name in ("point/none/sac", "point/real_nvp/sac")
)


class Program:
    """Stands for all programs: stages of four epochs, whose one parameter counts them."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, module: str, arguments: Sequence[str], folder: Path) -> Ended:
        self.commands.append((module, *arguments))
        if module != "experiments.run":
            return Ended(0, "")
        folder.mkdir(parents=True, exist_ok=True)
        before = Path.cwd()
        os.chdir(folder)
        try:
            return self._run([x for x in arguments if x.startswith("--through=")])
        finally:
            os.chdir(before)

    def _run(self, through: list[str]) -> Ended:
        if self.defect == "refuses" or (self.defect == "refuses folders" and "/" in str(through)):
            return Ended(2, "note: of JAX\nerror: --x=1 is no good\n")
        if self.defect == "refuses with a traceback":
            return Ended(2, "Traceback (most recent call last):\nerror: --x=1 is no good\n")
        for stage in [x.removeprefix("--through=") for x in through if "/" not in x] + ["own"]:
            self._learn(Path("run", stage))
            if self.defect == "refuses too late":
                return Ended(2, "error: --x=1 is no good\n")
            if self.defect == "stops":
                return Ended(1, "Traceback (most recent call last):\nValueError: no\n")
        return Ended(0, "")

    def _learn(self, stage: Path) -> None:
        stage.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpointer(stage / "checkpoints")
        steps = [] if self.defect == "starts over" else checkpoints.steps()
        epoch = steps[-1] if steps else 0
        value = float(epoch) + (1.0 if steps and self.defect == "forgets" else 0.0)
        writer = JsonlWriter(stage / "metrics.jsonl", last_step=epoch if steps else None)
        while epoch < EPOCHS:
            epoch, value = epoch + 1, value + 1.0
            writer.write(epoch, {"value": value})
            if self.defect != "saves nothing" and epoch % 2 == 0:
                checkpoints.save(epoch, {"value": jnp.float32(value)})
        writer.close()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program()
    monkeypatch.setattr(worker, "run_program", program)
    return program


def result(cell: Cell, folder: Path) -> str:
    return Workplace(folder, lambda: None).result(cell)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("", "runs"),
        ("refuses", "refused: --x=1 is no good"),
        ("refuses with a traceback", "fails: it ended with 2: error: --x=1 is no good"),
        ("refuses too late", "fails: it ended with 2: error: --x=1 is no good"),
        ("stops", "fails: it ended with 1: ValueError: no"),
        ("saves nothing", "fails: stopped in own/: nothing was saved before"),
        ("starts over", "fails: stopped in own/: 4 epochs were run, not the 2 that were left"),
    ],
)
def test_what_becomes_of_a_cell(
    defect: str, expected: str, program: Program, tmp_path: Path
) -> None:
    program.defect = defect
    assert result(NONE, tmp_path) == expected


def test_what_goes_on_otherwise_is_found(program: Program, tmp_path: Path) -> None:
    program.defect = "forgets"
    said = result(NONE, tmp_path)
    assert said.startswith("fails: stopped in own/: 3 differences, the first: run/own/checkpoints")
    said = result(MODEL, tmp_path)
    assert said.startswith("fails: stopped in real_nvp/: 3 differences, the first: run/real_nvp/")


def test_a_row_learns_its_model_once(program: Program, tmp_path: Path) -> None:
    row = [cell for cell in cells() if cell.name.startswith("point/real_nvp/")]
    workplace = Workplace(tmp_path, lambda: None)
    assert [workplace.result(cell) for cell in row] == ["runs"] * len(row)
    ways = [
        [x for x in command if x.startswith(("--through", "--data"))][-1:]
        for command in program.commands
        if command[0] == "experiments.run"
    ]
    # whole, stopped twice; whole, stopped once, each
    folder = "--through=../../sac/whole/run"
    assert ways == [["--data=../../../data"]] * 3 + [[folder]] * 2 * (len(row) - 1)
    assert [x[0] for x in program.commands].count("experiments.collect") == 1


def test_a_refusal_speaks_of_the_name(program: Program, tmp_path: Path) -> None:
    row = [cell for cell in cells() if cell.name.startswith("point/real_nvp/")]
    workplace = Workplace(tmp_path, lambda: None)
    assert workplace.result(row[0]) == "runs"
    program.defect = "refuses folders"
    assert workplace.result(row[1]) == "fails: refused: --x=1 is no good"
    program.defect = "refuses"
    assert workplace.result(row[1]) == "refused: --x=1 is no good"
    assert "/" not in next(x for x in program.commands[-1] if x.startswith("--through="))
