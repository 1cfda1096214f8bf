"""Many short programs for the price of one: a process that has imported everything forks each.

Importing takes seconds, and what is wrong with a command line is said within a fraction of one. A
child is the program as `python -m` starts it, with its own arguments, output and exit status; only
its imports have happened before. Nothing but imports may: JAX's threads do not survive a fork.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from tests.experiments.runs import DEADLINE, ROOT, Result, environment

PROGRAMS = (
    "run",
    "parrot",
    "spirl",
    "collect",
    "compare_engines",
    "convert",
    "demonstrator",
    "evaluate",
    "export",
    "fit",
    "pearl",
    "report",
    "launch.sweep",
)
"""Those without a dot are in `experiments`."""


REFUSED = 2
"""Exit status of a program that what it was given was not good for."""


class Forks:
    """Starts programs, one at a time."""

    def __init__(
        self,
        folder: Path,
        programs: Sequence[str] = PROGRAMS,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Imports, in a process of its own.

        Args:
          folder: for the programs' outputs.
          programs: that it can start, modules of `experiments` or by their whole names.
          settings: variables of their environment, besides those of `runs.environment`.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.experiments.forks", *programs],
            cwd=ROOT,
            env=environment() | dict(settings or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        program: str,
        *arguments: str,
        folder: Path,
        file_bytes: int | None = None,
        seconds: float = DEADLINE,
        signals: Sequence[tuple[float, int]] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Result:
        """Runs a program to its end.

        Args:
          program: one of those that it can start.
          *arguments: of its command line.
          folder: working directory.
          file_bytes: size beyond which no file can grow, as on a disk that is full.
          seconds: after which it counts as stuck and is ended by a signal.
          signals: to send to it, with seconds since its start.
          config: settings of JAX.
        """
        began = time.perf_counter()
        out, err = (self._folder / name for name in ("stdout", "stderr"))
        job = {
            "module": _module(program),
            "arguments": arguments,
            "folder": str(folder),
            "stdout": str(out),
            "stderr": str(err),
            "file_bytes": file_bytes,
            "seconds": seconds,
            "signals": list(signals),
            "config": dict(config or {}),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        texts = (path.read_text(encoding="utf-8", errors="replace") for path in (out, err))
        return Result(status, *texts, seconds=time.perf_counter() - began)

    def succeed(self, program: str, *arguments: str, folder: Path) -> Result:
        """Runs a program to an end that must be a good one; its folder is made where it is not."""
        folder.mkdir(parents=True, exist_ok=True)
        result = self.run(program, *arguments, folder=folder)
        assert result.status == 0, f"{program} {' '.join(arguments)}: {result}"
        return result

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(DEADLINE)


def _module(program: str) -> str:
    return program if "." in program else f"experiments.{program}"


def _serve(programs: Sequence[str]) -> dict[str, Any] | None:
    """Forks a child a job; returns the job in the child, and None in the parent at the end."""
    for program in programs:
        __import__(_module(program))
    gc.freeze()  # so that a child's collections copy none of this
    while line := sys.stdin.readline():
        job = json.loads(line)
        with warnings.catch_warnings():
            # Newer Pythons warn of threads, which NumPy's have: they know how to survive a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            return job
        print(_send(child, job["signals"]), flush=True)
    return None


def _send(child: int, signals: Sequence[tuple[float, int]]) -> int:
    """Sends a child its signals in time, and waits for its end; returns its exit status."""
    began = time.monotonic()
    for seconds, number in signals:
        while time.monotonic() < began + seconds:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(job: dict[str, Any]) -> None:
    """Turns this process into the program that a job describes."""
    signal.alarm(round(job["seconds"]))  # whose default action ends the process
    for number, name in ((0, os.devnull), (1, job["stdout"]), (2, job["stderr"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        file = os.open(name, flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["folder"])
    if job["file_bytes"] is not None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], most))
    for name, value in job["config"].items():
        jax.config.update(name, value)
    sys.argv = [job["module"], *job["arguments"]]
    # the program itself runs as `__main__`, as if nobody had imported it
    sys.modules.pop(job["module"])
    try:
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code != REFUSED:
            raise
        # taking Python down takes five times as long as refusing, and nothing is under way
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(REFUSED)


if __name__ == "__main__":
    if (wanted := _serve(sys.argv[1:])) is not None:
        _become(wanted)
