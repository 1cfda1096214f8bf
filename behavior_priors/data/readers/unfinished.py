"""A dataset that appears when all of it has been written, and leaves no trace when it fails.

Until then it is a folder beside its place, which bears a mark: only what has the mark is ever
removed, because a folder of that name may be the user's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from behavior_priors.data.paths import kind_of, system_said
from behavior_priors.data.shards import TEMPORARY_PREFIX
from behavior_priors.errors import UserError
from behavior_priors.system import locks

MARK = f"{TEMPORARY_PREFIX}conversion"
"""A file in a folder that a conversion has made, and may remove."""

_MARK_TEXT = "made by behavior_priors' experiments.convert for {!r}, which removes this folder\n"


@contextlib.contextmanager
def whole_or_nothing(output: Path) -> Iterator[Path]:
    """A folder beside `output` that takes its place at the end; no trace of it after an error.

    One that a killed conversion has left is overwritten; another of that name is left alone.

    Raises:
      UserError: the place is taken, or no folder can be made there.
    """
    _check_free(output)
    made = [parent for parent in output.absolute().parents if not parent.exists()]
    try:
        output.absolute().parent.mkdir(parents=True, exist_ok=True)
        lock = _hold(output)
        try:
            folder = _begin(output)
        except BaseException:
            lock.release()
            raise
    except (OSError, ValueError) as error:  # a ValueError of a name with a NUL
        _remove_empty(made)
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{output}: cannot be made a folder ({system_said(error)}); give another place"
        ) from error
    try:
        yield folder
        (folder / MARK).unlink()
        _take_place(folder, output)
        lock.release()
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        _remove_empty(made)
        if isinstance(error, UserError) and str(folder) in str(error):
            raise UserError(_about_output(output, folder, error)) from error
        raise


def _hold(output: Path) -> locks.Lock:
    """The lock of a place, a file beside it that bears its name."""
    path = output.with_name(f".{output.absolute().name}{locks.LOCK_FILE}")
    lock = locks.hold(path)
    if lock is None:
        raise UserError(
            f"{output}: is being written by {locks.holder(path)}; wait for it or stop it, or give "
            "another folder"
        )
    return lock


def _check_free(output: Path) -> None:
    if output.name in ("", ".."):
        raise UserError(f"{str(output)!r}: is no name for a new folder; give another place")
    try:
        if not os.path.lexists(output):
            return
        if output.is_dir() and not output.is_symlink() and not any(output.iterdir()):
            return
    except (OSError, ValueError) as error:
        raise UserError(
            f"{output}: cannot be made a folder ({system_said(error)}); give another place"
        ) from error
    if output.is_symlink():
        raise UserError(f"{output}: is a link; give another folder, or remove this one")
    if output.is_file() or output.is_dir():
        raise UserError(
            f"{output}: exists and is not empty; give another folder, or remove this one"
        )
    raise UserError(f"{output}: is {kind_of(output)}; give another place")


def _begin(output: Path) -> Path:
    """Makes a folder beside the place, marked; one that was made for it before goes first."""
    mark = _MARK_TEXT.format(output.absolute().name)
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        folder = output.with_name(f"{TEMPORARY_PREFIX}{output.absolute().name}{suffix}")
        if _bears(folder, mark):
            shutil.rmtree(folder)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        try:
            (folder / MARK).write_text(mark, encoding="utf-8")
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder
    raise AssertionError("numbers do not end")


def _bears(folder: Path, text: str) -> bool:
    """Whether a folder has the mark of a conversion to the same place, whose lock is ours."""
    mark = folder / MARK
    if folder.is_symlink() or mark.is_symlink() or not mark.is_file():
        return False
    with mark.open("rb") as file:
        return file.read(len(text.encode()) + 1) == text.encode()


def _take_place(folder: Path, output: Path) -> None:
    try:
        folder.replace(output)
    except OSError as error:
        raise UserError(
            f"{output}: cannot be made a folder ({system_said(error)}); give another place"
        ) from error


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _about_output(output: Path, folder: Path, error: UserError) -> str:
    """The writer advises to go on from the shards before; here is nothing to go on from."""
    if isinstance(error.__cause__, OSError):
        reason = system_said(error.__cause__)
        return f"{output}: cannot be written ({reason}); free some space and convert again"
    return str(error).replace(folder.name, output.name)
