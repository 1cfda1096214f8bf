"""Locks that keep two processes from writing into one folder.

A lock is one of the operating system's, on an open file: it is held exactly as long as its process
lives, however that ends, so that nobody waits for a dead one. Readers take none.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
import weakref
from pathlib import Path

from behavior_priors.errors import UserError

LOCK_FILE = ".lock"
"""Name of a folder's lock in it."""

PATIENCE = 1.0
"""Seconds in which a process that was killed has gone."""

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_MOST_BYTES = 200
_POLL = 0.05
_SIGNED = b"process "

_held: weakref.WeakValueDictionary[tuple[int, int], Lock] = weakref.WeakValueDictionary()
"""Locks of this process by device and inode; a second one would wait for the first."""


class Lock:
    """A lock that is held until `release`, or until nobody in this process refers to it.

    The process that holds it may take it again, and releases it as often as it has taken it.
    """

    def __init__(self, path: Path, file: int) -> None:
        """Only for `hold`."""
        self._file = file
        self._times = 1
        self._let_go = weakref.finalize(self, _let_go, path, file, os.getpid())

    def again(self) -> Lock:
        """The same lock, taken once more."""
        self._times += 1
        return self

    def release(self) -> None:
        """Lets others have it, and removes its file."""
        self._times -= 1
        if self._times == 0:
            self._let_go()

    def outlive_exec(self) -> None:
        """Keeps the lock also when this process becomes another program."""
        os.set_inheritable(self._file, True)


def hold(path: Path, patience: float = PATIENCE) -> Lock | None:
    """Takes a lock, or returns None if another process keeps it.

    Where the file system knows no locks, it is as if it were free, with a warning.

    Args:
      path: its file, which is made.
      patience: seconds to wait for the other process.

    Raises:
      OSError: the file cannot be made.
      UserError: there is a file that is no lock.
    """
    end = time.monotonic() + patience
    while True:
        if ours := _held_here(path):
            return ours.again()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            if time.monotonic() >= end:
                return None
            time.sleep(_POLL)
            continue
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(file)
                raise
            logging.warning("%s: this file system has no locks; start nothing twice", path)
        if _is_at(path, file):
            if os.pread(file, len(_SIGNED), 0) not in (b"", _SIGNED):
                os.close(file)
                raise UserError(f"{path}: is in the way, and no lock; rename it")
            _sign(file)
            return _held.setdefault(_identity(os.fstat(file)), Lock(path, file))
        os.close(file)  # whoever held it has just removed it


def holder(path: Path) -> str:
    """Who holds a lock, in words: process, host and time."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        text = file.read(_MOST_BYTES).decode(errors="replace")
        if text.startswith("process "):
            return "".join(x for x in text.strip() if x.isprintable())
    return "another process"


def _held_here(path: Path) -> Lock | None:
    try:
        return _held.get(_identity(path.stat()))
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_at(path: Path, file: int) -> bool:
    try:
        return _identity(path.stat()) == _identity(os.fstat(file))
    except FileNotFoundError:
        return False


def _sign(file: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"{_SIGNED.decode()}{os.getpid()} on {socket.gethostname()} since {since}\n"
    with contextlib.suppress(OSError):  # a full disk has room for the lock, if not for the name
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)


def _let_go(path: Path, file: int, process: int) -> None:
    if os.getpid() == process:  # a fork has it too, and it is not the fork's to remove
        with contextlib.suppress(OSError):
            if _is_at(path, file):
                path.unlink()
    os.close(file)
