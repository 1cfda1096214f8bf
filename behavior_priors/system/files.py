"""Files that are whole or not there: each is written beside its place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.system import interrupts

PARTIAL = ".partial-"
"""Files so named are what an interrupted write leaves; nobody reads them."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the operating-system errors that mean a full disk, a quota or a limit."""

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Numbers of those that mean that a place is not to be written to."""


@contextlib.contextmanager
def replacing(path: Path, *, advice: str = "", sync: bool = False) -> Iterator[Path]:
    """Gives a place beside a file, which becomes the file when the block ends well.

    So a reader, or a kill at any time, finds the old file, or none, or the whole new one. Two
    processes that write the same file do so one after the other.

    Args:
      path: the file; folders on the way to it are made.
      advice: what to do where it cannot be written, for the error.
      sync: wait until a power cut cannot undo it.

    Raises:
      UserError: the file cannot be written, or something else is there; it is as it was.
    """
    partial = path.with_name(PARTIAL + path.name)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no regular file; give another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _claim(partial)
        try:
            try:
                yield partial
                if sync:
                    os.fsync(file)
                interrupts.check()
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            if sync:
                _sync_directory(path.parent)
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(
            f"{path} could not be written: {reason(error)}; {advice or _kept(path)}"
        ) from error


def write_atomically(
    path: Path, data: bytes | memoryview | str, *, advice: str = "", sync: bool = False
) -> None:
    """Writes a file as `replacing` does.

    Raises:
      UserError: the file cannot be written; it is as it was.
    """
    with replacing(path, advice=advice, sync=sync) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as `replacing` does.

    Raises:
      UserError: the file cannot be written; it is as it was.
    """
    # NumPy on its own does not say why it could not write to a file
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))  # type: ignore[arg-type]
    write_atomically(path, buffer.getbuffer())


def append(file: io.FileIO, data: bytes) -> None:
    """Adds to the end of a file, opened for that without a buffer: all of the data, or nothing.

    Raises:
      OSError: there is no room for it; the file is as it was.
    """
    size, written = file.tell(), 0
    try:
        while written < len(data):
            written += file.write(data[written:])
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(size)
        raise


def reason(error: OSError) -> str:
    """The operating system's words for an error."""
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def _claim(partial: Path) -> int:
    """An empty file at that place, which no other process writes to."""
    while True:
        try:
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            partial.unlink()  # a link that would lead the write elsewhere
            continue
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            status = partial.lstat()
            if not stat.S_ISREG(status.st_mode):
                partial.unlink()
            elif os.path.samestat(status, os.fstat(file)):
                os.ftruncate(file, 0)
                return file
        os.close(file)  # another process has just renamed it


def _kept(path: Path) -> str:
    with contextlib.suppress(OSError):
        if path.exists():
            return "the file is as it was"
    return "free some space, or give another place"


def _sync_directory(directory: Path) -> None:
    """Makes a rename survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
