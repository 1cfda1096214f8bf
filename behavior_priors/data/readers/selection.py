"""Which arrays of a file are wanted, whether they can be used, and what they are stored as."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.names import check_name, listed, shown
from behavior_priors.types import ArraySpec, UserError


@dataclasses.dataclass(frozen=True)
class Selection:
    """One observation array that is wanted.

    Attributes:
      name: what it will be called.
      key: what the file calls it.
      columns: of its first axis after the rows; None for all.
    """

    name: str
    key: str
    columns: slice | None = None

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Understands `KEY`, `NAME=KEY` and `NAME=KEY[START:STOP]`.

        Raises:
          UserError: the text is none of these.
        """
        match = re.fullmatch(r"(?:([^=\[\]]+)=)?([^=\[\]]+)(?:\[(\d*):(\d*)\])?", text)
        if match is None:
            raise UserError(f"{text!r} should be NAME=KEY or NAME=KEY[START:STOP]")
        name, key, start, stop = match.groups()
        columns = None
        if start is not None:
            columns = slice(int(start or 0), int(stop) if stop else None)
        return cls(name or last_part(key), key, columns)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A selection that the file can serve.

    Attributes:
      name: what it will be called.
      key: what the file calls it.
      columns: of its first axis after the rows.
      row: shape and dtype of what will be stored of a row.
    """

    name: str
    key: str
    columns: slice | None
    row: Row

    @property
    def source(self) -> str:
        """As a user would write it."""
        if self.columns is None:
            return self.key
        return f"{self.key}[{self.columns.start}:{self.columns.stop}]"

    def take(self, array: np.ndarray) -> np.ndarray:
        """The stored form of rows `[n, ...]` of the file."""
        return as_stored(array if self.columns is None else array[:, self.columns])


def choose(
    path: Path,
    available: Mapping[str, Row],
    selections: Sequence[Selection],
    defaults: Iterable[str],
) -> list[Chosen]:
    """Finds the wanted observations in a file.

    Args:
      path: the file, for the messages.
      available: rows of everything that may be chosen, by key.
      selections: what is wanted.
      defaults: the keys that are taken if nothing in particular is.

    Raises:
      UserError: a key is absent, holds no numbers, or two arrays would have one name.
    """
    wanted = tuple(selections) or tuple(Selection(_name(k), k) for k in sorted(defaults))
    chosen: list[Chosen] = []
    for selection in wanted:
        key, columns = selection.key, selection.columns
        if key not in available:
            short = key.removeprefix("obs/").removeprefix("observations/")
            matches = [k for k in available if short in (k, last_part(k))]
            if len(matches) != 1:
                raise UserError(f"{path}: has no observation {key!r}; it has {listed(available)}")
            (key,) = matches
        if selection.name in (c.name for c in chosen):
            raise UserError(
                f"{path}: two observations would be called {selection.name!r}; name them with "
                "--observation=NAME=KEY,..."
            )
        check_name(f"{path}, {shown(key)}", selection.name)
        shape, dtype = available[key]
        check_numbers(path, key, dtype)
        if columns is not None:
            if not shape:
                raise UserError(f"{path}: {key!r} is one number a row; it has no columns to choose")
            stop = shape[0] if columns.stop is None else columns.stop
            columns = slice(columns.start, stop)
            if not columns.start < stop <= shape[0]:
                raise UserError(
                    f"{path}: {key!r} has no columns {columns.start}:{stop}; it has "
                    f"{shape[0]}, so 0:{shape[0]} would be all of them"
                )
            shape = (stop - columns.start, *shape[1:])
        if 0 in shape:
            raise UserError(f"{path}: {key!r} has no entries; choose others with --observation")
        chosen.append(Chosen(selection.name, key, columns, Row(shape, stored_dtype(dtype))))
    return chosen


def specs(chosen: Iterable[Chosen]) -> dict[str, ArraySpec]:
    """Shape and dtype by name."""
    return {c.name: ArraySpec(c.row.shape, c.row.dtype) for c in chosen}


def stored_dtype(dtype: np.dtype) -> np.dtype:
    """What an observation is stored as: float32 for wider floats, else as it is."""
    if dtype.kind == "f" and dtype.itemsize > 4:
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def as_stored(array: np.ndarray) -> np.ndarray:
    """Converts an observation; what float32 cannot hold becomes infinite (and is refused)."""
    with np.errstate(over="ignore"):
        return array.astype(stored_dtype(array.dtype), copy=False)


def as_float32(array: np.ndarray) -> np.ndarray:
    """Converts actions and rewards, likewise."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def check_numbers(path: Path, key: str, dtype: np.dtype) -> None:
    """Refuses what is not made of numbers.

    Raises:
      UserError: Python objects, text, records or complex numbers.
    """
    if dtype.hasobject:
        raise UserError(
            f"{path}: {key!r} holds Python objects, text or encoded images, which are not loaded; "
            "save it as an array of numbers"
        )
    if dtype.kind not in "biuf":
        raise UserError(f"{path}: {key!r} holds {dtype}; it should hold numbers")


def check_action(path: Path, key: str, row: Row) -> int:
    """The length of an action.

    Raises:
      UserError: actions are not vectors of real numbers.
    """
    check_numbers(path, key, row.dtype)
    if row.dtype.kind != "f":
        raise UserError(
            f"{path}: {key!r} holds {row.dtype.name}, so actions are discrete; they should be "
            "vectors of floating-point numbers"
        )
    if len(row.shape) > 1 or 0 in row.shape:
        raise UserError(f"{path}: {key!r} has {row} a row; it should have a vector")
    return row.shape[0] if row.shape else 1


def check_lengths(path: Path, rows: Mapping[str, int], expected: int, than: str) -> None:
    """Checks that arrays line up.

    Args:
      path: the file.
      rows: how many each array has.
      expected: how many it should have.
      than: what says so.

    Raises:
      UserError: one has more or fewer.
    """
    for key, count in rows.items():
        if count != expected:
            raise UserError(
                f"{path}: {key!r} has {count} rows; {than} calls for {expected}; save arrays that "
                "line up"
            )


def missing_key(path: Path, key: str, present: Iterable[str]) -> UserError:
    """The error for a key that has to be there."""
    return UserError(f"{path}: has no {key!r}; it has {listed(present)}")


def last_part(key: str) -> str:
    """`a/b/c` to `c`."""
    return key.rstrip("/").rpartition("/")[2]


def _name(key: str) -> str:
    """What an array is called by default."""
    return "observation" if key in ("observations", "observation", "obs") else last_part(key)
