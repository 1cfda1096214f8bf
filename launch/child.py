"""What a job is started through: it becomes the job, within its cores and with its lock.

    python -m launch.child PARENT LOCK CORES MODULE ARGUMENTS...

The lock is one of the operating system's, on an open file that the job inherits: it is held exactly
as long as the job lives, however it ends. So two processes never work in one folder, even when a
sweep is killed and started again at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from behavior_priors.errors import UserError
from behavior_priors.system import locks

PATIENCE = 20.0
"""Seconds in which an earlier process that was killed must have gone."""

PR_SET_PDEATHSIG = 1
STATUS_UNUSABLE = 2
STATUS_LOCKED = 75
"""Exit status where somebody else holds the lock: `EX_TEMPFAIL` of sysexits.h."""


def die_with(parent: int) -> None:
    """Lets the kernel kill this process when its parent dies, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died before that
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Becomes the job."""
    parent, lock, cores, *command = arguments
    die_with(int(parent))
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    try:
        held = locks.hold(Path(lock), PATIENCE)
    except (OSError, UserError) as error:
        _exit_with(f"{lock} cannot be used: {error}", STATUS_UNUSABLE)
    if held is None:
        _exit_with(f"{lock} is held by {locks.holder(Path(lock))}", STATUS_LOCKED)
    held.outlive_exec()
    # by way of the package, whose programs no folder called `experiments` hides
    os.execv(sys.executable, [sys.executable, "-m", "behavior_priors", *command])


def _exit_with(message: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # the log may be on a full disk
        print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
