"""Commands in the documentation: each is one that its program understands, and none is missed.

Running all of them takes hours; the short ones are run by `test_examples`, `test_planar` and
`test_notebook`. Here their flags and flagfiles are read, as `--help` does after everything else of
the command line, so that a flag that is renamed is renamed in the documentation too.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.forks import Forks

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"]
FLAGFILES = sorted(
    [*(ROOT / "experiments" / "flags").rglob("*.flags"), *ROOT.glob("examples/*/*.flags")]
)

PROGRAMS = ("run", "parrot", "spirl", "pearl", "collect", "convert", "evaluate", "export", "fit")
OTHERS = (
    "report",
    "demonstrator",
    "compare_engines",
    "launch.sweep",
    "benchmarks.density",
    "benchmarks.latents",
)

HELP = 1
"""Exit status of a program that was asked for help, as absl has it."""

_START = re.compile(r"(?:python -m (?P<module>[\w.]+)|behavior-priors (?P<word>\w+))\s")


def commands_in(text: str) -> list[tuple[str, list[str]]]:
    """Programs of ours in a page's code or a flagfile's comments, and their arguments."""
    text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = []
    for line in map(str.strip, lines):
        if (start := _START.match(f"{line} ")) is None:
            continue
        words = shlex.split(line, comments=True)[2 if start["word"] else 3 :]
        module = start["module"] or start["word"]
        program = module.removeprefix("experiments.")
        # some stand for what the reader has
        is_pattern = any(re.search(r"=[A-Z_]+$|\.\.\.|…", word) for word in words)
        if program in (*PROGRAMS, *OTHERS) and not is_pattern:
            found.append((program, words))
    return found


def every_command() -> list[tuple[str, list[str]]]:
    found: dict[tuple[str, ...], None] = {}
    for path in (*PAGES, *FLAGFILES):
        for program, words in commands_in(path.read_text(encoding="utf-8")):
            found[(program, *words)] = None
    return [(words[0], list(words[1:])) for words in found]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    folder = tmp_path_factory.mktemp("commands")
    with contextlib.closing(Forks(folder, (*PROGRAMS, *OTHERS))) as server:
        yield server


def test_commands_are_found() -> None:
    text = "Text\n\n    python -m experiments.run --a=1 \\\n        --b='x y'   # why\n"
    text += "```\nbehavior-priors parrot --flagfile=parrot/quick\npython -m tests.net --c\n```\n"
    text += "# python -m launch.sweep --flagfile=FILE\n#   python -m launch.sweep --d\n"
    assert commands_in(text) == [
        ("run", ["--a=1", "--b=x y"]),
        ("parrot", ["--flagfile=parrot/quick"]),
        ("launch.sweep", ["--d"]),
    ]
    assert len(every_command()) > 60


@pytest.mark.parametrize(("program", "words"), every_command(), ids=lambda x: str(x)[:80])
def test_a_command_is_one_that_its_program_understands(
    program: str, words: list[str], programs: Forks
) -> None:
    result = programs.run(program, *words, "--help", folder=ROOT)
    assert result.status == HELP, result.stderr
    assert "error" not in result.stderr.lower(), result.stderr
