"""How a program that reads flags ends: statuses, one line for errors, a quiet end of a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from behavior_priors.config import flags

PROGRAM = """
import dataclasses, errno, os, signal
from behavior_priors.config.ranges import Seed
from behavior_priors.config import flags
from behavior_priors.programs import entry
from behavior_priors.errors import UserError

@dataclasses.dataclass(frozen=True)
class Config:
    '''Config.

    Attributes:
      act: what to do.
      seed: a number.
    '''
    act: str = ""
    seed: Seed = 0

flags.define(Config)

def main():
    config = flags.read(Config)
    if config.act == "user":
        raise UserError("--task=flying is unknown;\\n choose grasp")
    if config.act == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "runs/metrics.jsonl")
    if config.act == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    if config.act == "memory":
        raise MemoryError("unable to allocate 8 EB")
    if config.act.startswith("long"):
        open(config.act)
    if config.act == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    if config.act == "interrupt a call from the device":
        class JaxRuntimeError(RuntimeError): pass
        raise JaxRuntimeError("INTERNAL: Traceback\\n  File\\nKeyboardInterrupt: ")
    if config.act == "interrupt a program in the main thread":
        raise ValueError("INTERNAL: Traceback\\n  File\\nKeyboardInterrupt: ")
    if config.act == "defect":
        raise ZeroDivisionError
    print("seed", config.seed)

entry.run(main)
"""

LONG = "a" * 300


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))
    (folder / "quick.flags").write_text("--seed=7\n")
    return folder


def start(
    folder: Path, *arguments: str, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    root = Path(flags.__file__).parents[2]
    command = [sys.executable, *python, str(folder / "program.py"), *arguments]
    environment = {"PYTHONPATH": str(root), "PATH": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--sed=1"], 2, "Unknown command line flag 'sed'. Did you mean: seed"),
        (["--seed=x"], 2, "flag --seed=x: expected an integer"),
        (["--flagfile=slow.flags"], 2, "--flagfile=slow.flags is not a file; . has quick.flags"),
        (["stray"], 2, "argument 'stray' belongs to no flag"),
        (["--act=user"], 2, "--task=flying is unknown; choose grasp"),
        (["--act=full"], 2, "no space left on device while writing runs/metrics.jsonl"),
        (["--act=memory"], 2, "out of memory (unable to allocate 8 EB); fewer environments, "),
        ([f"--act=long{LONG}"], 2, f"--act=long{LONG}: File name too long"),
        (["--seed=4294967296"], 2, "flag --seed=4294967296: should be at most 4294967295"),
        (["--act=interrupt"], 130, "interrupted"),
        (["--act=interrupt a call from the device"], 130, "interrupted"),
        (["--act=interrupt a program in the main thread"], 130, "interrupted"),
        (["--act=terminate"], 143, "terminated by SIGTERM"),
    ],
)
def test_what_the_user_gets_wrong_costs_one_line(
    program: Path, arguments: list[str], status: int, message: str
) -> None:
    result = start(program, *arguments)
    assert result.returncode == status
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {message}")


def test_a_good_command_line_runs_main(program: Path) -> None:
    result = start(program, "--flagfile=quick.flags")
    assert (result.returncode, result.stdout, result.stderr) == (0, "seed 7\n", "")


def test_programs_run_without_docstrings(program: Path) -> None:
    result = start(program, "--seed=7", python=("-OO",))
    assert (result.returncode, result.stdout, result.stderr) == (0, "seed 7\n", "")
    assert "--seed: seed" in start(program, "--help", python=("-OO",)).stdout


def test_defects_keep_their_traceback(program: Path) -> None:
    result = start(program, "--act=defect")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_help_lists_the_flags(program: Path) -> None:
    result = start(program, "--help")
    assert "--act: what to do." in result.stdout
    assert "--seed: a number." in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--seed=1"]])
def test_a_reader_that_has_enough_costs_nothing(program: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    root = Path(flags.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, str(program / "program.py"), *arguments],
        cwd=program,
        env={"PYTHONPATH": str(root), "PATH": ""},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")
