"""Files that somebody else may have written: read within limits, checked, never through links.

A dataset, a run's folder or a checkpoint may come from a stranger. What is read of them goes
through here: a file has to be a regular one and no larger than such files are, and JSON has to be
of a schema. Whatever is wrong is a `UserError` that names the file.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import stat
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from behavior_priors.errors import UserError

MEGABYTE = 1 << 20

MAX_DEPTH = 32
"""Lists and objects within each other in JSON; files of this library have less than ten."""

_MAX_INTEGER = 1 << 63
_FOREIGN_FOLDERS = ("wandb",)
"""Folders in a run's folder that another program keeps, links and all; nothing here reads them."""

_BLOCK_BYTES = 1 << 16


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file for reading; the last part of its path may not be a link.

    Raises:
      UserError: it is a link, or something else that is no file, such as a pipe or a device.
      OSError: it is missing or cannot be opened.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link; put the file itself there")
    # a pipe would keep whoever opens it waiting
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is not a regular file; put one there")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, *, limit: int = MEGABYTE) -> str:
    """The text of a file.

    Args:
      path: the file.
      limit: bytes that it may have.

    Raises:
      UserError: it is no regular file, larger than the limit, or not text.
      OSError: it is missing or cannot be opened.
    """
    with open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"{path} is too large, more than {limit} bytes; give another file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text ({error.reason} in byte {error.start})") from None


def read_lines(path: Path, *, limit: int = MEGABYTE) -> Iterator[str]:
    """The lines of a file of any length, each with its end, so that a torn one can be told.

    Args:
      path: the file.
      limit: bytes that a line may have.

    Raises:
      UserError: it is no regular file, a line is longer than the limit, or not text.
      OSError: it is missing or cannot be opened.
    """
    with open_file(path) as file:
        number = 0
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit:
                raise UserError(f"{path}: line {number} is longer than {limit} bytes")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{path}: line {number} is not text") from None


def read_json(path: Path, schema: Any, *, limit: int = MEGABYTE) -> Any:
    """The value that a JSON file holds.

    Args:
      path: the file.
      schema: a type for it: of `int`, `float`, `bool`, `str`, `None`, unions, `list[T]`,
        `dict[str, T]`, a `TypedDict`, whose further keys are left alone, or `Any`.
      limit: bytes that the file may have.

    Raises:
      UserError: it cannot be read, or its value is none of the schema.
      OSError: it is missing or cannot be opened.
    """
    return parse_json(read_text(path, limit=limit), schema, str(path))


def parse_json(text: str, schema: Any, where: str) -> Any:
    """The value of a JSON text; see `read_json`.

    Args:
      text: JSON, in which numbers are finite, integers have 64 bits, and keys stand once.
      schema: a type for it.
      where: what the text is, for messages.

    Raises:
      UserError: it is no such text, or its value is none of the schema.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_read_integer,
            parse_float=_read_number,
        )
    except RecursionError:
        raise UserError(f"{where} cannot be read: it is nested too deep") from None
    except ValueError as error:
        raise UserError(f"{where} cannot be read: {error}") from None
    if _depth(value) > MAX_DEPTH:
        raise UserError(f"{where} cannot be read: it is nested too deep")
    if (complaint := find_complaint(value, schema)) is not None:
        raise UserError(f"{where} cannot be read: {complaint}")
    return value


def check_folder(folder: Path, *, depth: int | None = None) -> list[Path]:
    """Looks at what a folder holds, which may be files and folders only.

    Links are refused, because whatever is read or written there would be somewhere else. The folder
    itself may be one: the user has named it.

    Args:
      folder: of a run, or a checkpoint.
      depth: levels of folders to look into; None for all.

    Returns:
      The files.

    Raises:
      UserError: there is a link, a pipe, or a device.
    """
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_symlink():
                raise UserError(f"{path} is a link; put what it leads to there, or remove it")
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _FOREIGN_FOLDERS and depth != 1:
                    files += check_folder(path, depth=None if depth is None else depth - 1)
            elif entry.is_file(follow_symlinks=False):
                files.append(path)
            else:
                raise UserError(f"{path} is neither a file nor a folder; remove it")
    return files


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {reprlib.repr(twice)} twice")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"it has {text}, which is no number of JSON")


def _read_integer(text: str) -> int:
    # Python refuses to convert thousands of digits, with advice about Python
    if len(text) > 20 or abs(number := int(text)) >= _MAX_INTEGER:
        raise ValueError(f"it has the integer {reprlib.repr(text)}, which does not fit 64 bits")
    return number


def _read_number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"it has the number {reprlib.repr(text)}, which is too large")
    return number


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [x for x in level if isinstance(x, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [y for x in level for y in (x.values() if isinstance(x, dict) else x)]
    return depth


def find_complaint(value: Any, schema: Any, place: str = "") -> str | None:
    """What is wrong with a value of JSON, or None.

    Args:
      value: of less depth than `MAX_DEPTH`.
      schema: a type for it, see `read_json`.
      place: of the value in the file.
    """
    origin, arguments = typing.get_origin(schema), typing.get_args(schema)
    if schema is Any:
        return None
    if origin in (types.UnionType, typing.Union):
        complaints = [find_complaint(value, kind, place) for kind in arguments]
        if None in complaints:
            return None
        return _wrong(value, place, " or ".join(map(_name, arguments)))
    if typing.is_typeddict(schema):
        return _object_complaint(value, schema, place)
    if origin is dict and isinstance(value, dict):
        parts: Iterator[tuple[Any, str]] = ((x, f"{place}.{n}") for n, x in value.items())
    elif origin is list and isinstance(value, list):
        parts = ((x, f"{place}[{n}]") for n, x in enumerate(value))
    else:
        fits = origin is None and isinstance(value, _CLASSES.get(schema, schema))
        # to Python true and false are integers
        if fits and (schema is bool or not isinstance(value, bool)):
            return None
        return _wrong(value, place, _name(schema))
    found = (find_complaint(x, arguments[-1], inner) for x, inner in parts)
    return next((complaint for complaint in found if complaint is not None), None)


def _object_complaint(value: Any, schema: Any, place: str) -> str | None:
    if not isinstance(value, dict):
        return _wrong(value, place, "an object")
    for name, kind in typing.get_type_hints(schema, include_extras=True).items():
        inner, is_optional = f"{place}.{name}", typing.get_origin(kind) is typing.NotRequired
        if name in value:
            kind = typing.get_args(kind)[0] if is_optional else kind
            if (complaint := find_complaint(value[name], kind, inner)) is not None:
                return complaint
        elif not is_optional:
            return f"{_shown(inner)} is missing"
    return None


_CLASSES: dict[Any, Any] = {float: (int, float)}
_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
    list: "a list",
    dict: "an object",
}


def _name(schema: Any) -> str:
    return _NAMES.get(typing.get_origin(schema) or schema, "an object")


def _wrong(value: Any, place: str, expected: str) -> str:
    return f"{_shown(place)} is {reprlib.repr(value)}; it should be {expected}"


def _shown(place: str) -> str:
    place = place.removeprefix(".")
    return repr(place if len(place) < 80 else f"{place[:77]}...") if place else "it"
