"""SIGTERM: what is under way is saved before the end, unless that takes too long."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from behavior_priors.programs import termination

PATIENCE = 0.8

PROGRAM = f"""
import ctypes, dataclasses, os, signal, sys, time, weakref
from behavior_priors.config import flags
from behavior_priors.programs import entry, termination
from behavior_priors.system.files import write_atomically
from pathlib import Path

termination.PATIENCE = {PATIENCE}

@dataclasses.dataclass(frozen=True)
class Config:
    '''Config.

    Attributes:
      act: what to do.
    '''
    act: str = "wait"

flags.define(Config)

def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

def main():
    act = flags.read(Config).act
    print("ready", flush=True)
    if act == "wait":
        time.sleep(30)
    if act == "blocked":  # as a program on the device: no Python runs in this thread
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        with termination.deferred():
            ctypes.CDLL(None).sleep(30)
    if act == "epochs":
        with termination.deferred():
            for _ in range(30):
                work(0.3)
                print("saved", flush=True)
                termination.check()
    if act == "unsaved":
        with termination.deferred():
            termination.must_save(True)
            work(2.5 * termination.PATIENCE)
            print("saved", flush=True)
            termination.must_save(False)
            termination.check()
    if act == "callback":  # what it raises comes out of the device as another exception
        try:
            time.sleep(30)
        except BaseException:
            raise ZeroDivisionError
    if act == "swallowed":  # no exception comes out of what is called when an object goes
        gone = Config()
        reference = weakref.ref(gone, lambda _: time.sleep(30))
        del gone
        time.sleep(30)
    if act in ("interrupted", "spoiled"):  # in the same place, and the program goes on
        gone = Config()
        reference = weakref.ref(gone, lambda _: time.sleep(0.5))
        del gone
        if act == "spoiled":
            place = Path(__file__).with_name("spoiled")
            place.write_text("as before")
            write_atomically(place, "what was made meanwhile")
        time.sleep(30)
    if act == "fork":
        if (child := os.fork()) == 0:
            time.sleep(30)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        time.sleep(1.5 * termination.PATIENCE)
        print("alive", flush=True)

entry.run(main)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


class Started:
    """The program, ready to be ended."""

    def __init__(self, program: Path, act: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(program), f"--act={act}"],
            env={"PYTHONPATH": str(Path(termination.__file__).parents[2]), "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self, *signals: int) -> tuple[int, str, str, float]:
        """How it ends: status, output, error and seconds."""
        began = time.monotonic()
        time.sleep(0.05)
        for number in signals:
            self._process.send_signal(number)
            time.sleep(0.1)
        return self.finish(began)

    def finish(self, began: float) -> tuple[int, str, str, float]:
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err, time.monotonic() - began


@pytest.mark.parametrize(
    ("act", "twice", "saved", "least", "most"),
    [
        ("wait", False, 0, 0.0, PATIENCE),
        ("callback", False, 0, 0.0, PATIENCE),
        ("swallowed", False, 0, 0.0, PATIENCE / 2),
        # at the end of the epoch under way
        ("epochs", False, 1, 0.2, PATIENCE),
        # nothing would be lost
        ("blocked", False, 0, PATIENCE, 2 * PATIENCE),
        # something would
        ("unsaved", False, 1, 2.4 * PATIENCE, 4 * PATIENCE),
        ("unsaved", True, 0, 0.0, PATIENCE),
        ("blocked", True, 0, 0.0, PATIENCE),
    ],
)
def test_how_a_program_ends(
    program: Path, act: str, twice: bool, saved: int, least: float, most: float
) -> None:
    signals = [signal.SIGTERM] * (1 + twice)
    status, out, err, seconds = Started(program, act).end(*signals)
    assert (status, out) == (143, "saved\n" * saved)
    assert err == "error: terminated by SIGTERM\n"
    assert least <= seconds <= most + 0.3  # the interpreter's own end


def test_an_interruption_that_is_swallowed_comes_again(program: Path) -> None:
    status, out, err, seconds = Started(program, "interrupted").end(signal.SIGINT)
    assert (status, out, err) == (130, "", "error: interrupted\n")
    assert seconds < 5.0


def test_nothing_is_written_between_an_interruption_and_its_return(program: Path) -> None:
    status, out, err, _ = Started(program, "spoiled").end(signal.SIGINT)
    assert (status, out, err) == (130, "", "error: interrupted\n")
    assert (program.parent / "spoiled").read_text() == "as before"


def test_the_end_of_a_fork_is_not_its_parents(program: Path) -> None:
    began = time.monotonic()
    assert Started(program, "fork").finish(began)[:3] == (0, "-15\nalive\n", "")


def test_a_program_that_is_to_ignore_the_signal_ignores_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        termination.install()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
