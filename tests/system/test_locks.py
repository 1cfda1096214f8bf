"""One process writes into a folder at a time; the dead hold nothing, and readers ask nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from behavior_priors.errors import UserError
from behavior_priors.system import locks

HOLDER = """
import pathlib, signal, sys
from behavior_priors.system import locks
from behavior_priors.errors import UserError
lock = locks.hold(pathlib.Path(sys.argv[1]))
print(lock is not None, flush=True)
signal.pause()
"""


def start(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(locks.__file__).parents[2])},
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "True\n"
    return program


def test_a_lock_is_its_processes(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK_FILE
    program = start(path)
    assert locks.hold(path, patience=0.0) is None
    words = locks.holder(path).split()
    assert words[:5] == ["process", str(program.pid), "on", socket.gethostname(), "since"]
    program.send_signal(signal.SIGSTOP)  # one that is stopped still lives
    assert locks.hold(path, patience=0.2) is None
    program.kill()
    program.communicate()
    assert path.exists()
    lock = locks.hold(path)
    assert lock is not None
    assert locks.holder(path).startswith(f"process {os.getpid()} on ")
    lock.release()
    assert not path.exists()


def test_whoever_holds_a_lock_may_take_it_again(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK_FILE
    first, second = locks.hold(path), locks.hold(path)
    assert first is not None
    assert second is not None
    first.release()
    assert path.exists()
    second.release()
    assert not path.exists()
    third = locks.hold(path)
    assert third is not None
    del first, second, third  # nobody refers to it any more
    assert not path.exists()


def test_a_fork_does_not_take_the_lock_away(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK_FILE
    program = f"""
import os, pathlib, sys
from behavior_priors.system import locks
from behavior_priors.errors import UserError
path = pathlib.Path({str(path)!r})
lock = locks.hold(path)
if (child := os.fork()) == 0:
    sys.exit()  # and what is to be done at exit
os.waitpid(child, 0)
print(path.exists())
"""
    environment = {"PYTHONPATH": str(Path(locks.__file__).parents[2])}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("True\n", "")
    assert not path.exists()


def test_who_is_said_only_by_a_lock(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK_FILE
    assert locks.holder(path) == "another process"
    path.write_text("process 1 on \x1b[2Jhost\n" + "x" * 9999)
    assert locks.holder(path) == "process 1 on [2Jhost" + "x" * (200 - 22)
    path.write_text("what a stranger wrote")
    assert locks.holder(path) == "another process"


def test_a_file_that_is_no_lock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK_FILE
    for content in ("precious", "process"):
        path.write_text(content)
        with pytest.raises(UserError, match="is in the way, and no lock; rename it"):
            locks.hold(path)
        assert path.read_text() == content
    path.write_text("")  # as one is that was just made
    assert locks.hold(path) is not None
