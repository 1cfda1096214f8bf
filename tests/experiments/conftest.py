"""What the tests of programs share: cheap starts, and how an error must look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.experiments.forks import Forks
from tests.experiments.runs import Result, files
from tests.inside.memory import remembered
from tests.inside.programs import one_environment

Refused = Callable[..., str]

REFUSAL = 60.0
"""Seconds in which a program must have refused; one that has not is at work."""


@pytest.fixture(scope="session")
def refused(forks: Forks) -> Refused:
    """Runs a program that must end with one line of error, and returns that line.

    Whatever is in its folder, by contents, is there afterwards and nothing else.
    """

    def run(folder: Path, program: str, *arguments: str, names: tuple[str, ...]) -> str:
        before, paths = files(folder), set(folder.rglob("*"))
        result: Result = forks.run(program, *arguments, folder=folder, seconds=REFUSAL)
        one_line(result, names)
        assert files(folder) == before
        assert set(folder.rglob("*")) == paths  # empty folders too
        return result.stderr

    return run


def one_line(result: Result, names: tuple[str, ...]) -> None:
    """The error is one line that names what is wrong and what would be right."""
    assert result.status == 2, result
    assert result.stderr.startswith("error: "), result
    assert result.stderr.endswith("\n"), result
    assert result.stderr.count("\n") == 1, result
    assert [name for name in names if name not in result.stderr] == [], result.stderr


@pytest.fixture(scope="module")
def inside() -> Iterator[None]:
    """Programs of a module that run in this process make and compile the same once."""
    with one_environment(), remembered():
        yield
