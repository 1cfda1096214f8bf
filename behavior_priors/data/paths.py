"""Files that somebody else may have written: what they are, where they lead, why they fail.

Nothing that a stranger's file or folder names is opened in its stead: what leads out of it is
refused by name, before anything of it is read.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from behavior_priors.errors import UserError


def check_regular(path: Path) -> None:
    """Checks that a path is a file with an end, so that opening it does not wait for ever.

    Raises:
      UserError: it is absent, a folder, a pipe, a socket or a device, or cannot be looked at.
    """
    kind = kind_of(path)
    if kind == "a folder":
        raise UserError(f"{path}: is a folder; give a file")
    if kind != "a file":
        raise UserError(f"{path}: is {kind}, which has no end; give a file")


def kind_of(path: Path) -> str:
    """What a path leads to, with its article, such as `a file`, `a folder` or `a pipe`.

    Raises:
      UserError: there is nothing, or the system does not say.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file; give one that holds episodes") from error
    except (OSError, ValueError) as error:  # a loop of links; a name with a NUL
        raise UserError(f"{path}: cannot be opened ({system_said(error)})") from error
    return _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_inside(folder: Path, path: Path) -> None:
    """Checks that a file of a folder lies in it, and is no link to somewhere else.

    The folder may itself be a link, because the user gave it.

    Raises:
      UserError: it leads out of the folder, or cannot be followed.
    """
    try:
        target = path.resolve(strict=True)
        is_inside = target.is_relative_to(folder.resolve(strict=True))
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file, or it is a link to nothing") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: cannot be followed ({system_said(error)})") from error
    if not is_inside:
        raise UserError(
            f"{path}: is a link to {target}, outside of its folder, and is not followed; put the "
            "file itself there"
        )


def check_member(folder: Path, name: str) -> None:
    """Checks that what a folder has by a name is a file in it; if it has nothing, that is fine.

    Raises:
      UserError: it is a link out of the folder, or no regular file.
    """
    path = folder / name
    if path.is_symlink():
        check_inside(folder, path)
    if exists(path):
        check_regular(path)


def exists(path: Path) -> bool:
    """Whether there is something, also where no such name can be."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def system_said(error: BaseException) -> str:
    """What went wrong, in the system's words, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def remedy(error: BaseException) -> str | None:
    """What helps against an error of the system's; None where the file itself is at fault."""
    number = getattr(error, "errno", None)
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return "ask for permission to read it"
    if isinstance(error, BlockingIOError) or number in (errno.EAGAIN, errno.EWOULDBLOCK):
        return "another process is writing it; wait until that has closed it"
    if number in _ELSEWHERE:
        return "the file may be fine; try again when the system can read it"
    return None


_ELSEWHERE = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.ESTALE,
    errno.EINTR,
    errno.EBUSY,
    errno.ENXIO,
    errno.ENODEV,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
)
"""What no new copy of the file would cure."""
