"""Which arrays of a file are wanted, whether they can be used, and what they are stored as."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.names import check_name, listed, shown
from behavior_priors.errors import UserError
from behavior_priors.observations import NUMBERS, Arrangement, arrange, name_of
from behavior_priors.types import ArraySpec

OBSERVATION_GROUPS = ("observations", "observation", "obs")
"""Groups of observations in files; their names are no part of an array's name."""


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
        match = re.fullmatch(r"(?:([^=\[\]]+)=)?([^=\[\]]+)(?:\[(\d{0,9}):(\d{0,9})\])?", text)
        if match is None:
            raise UserError(f"{text!r} should be NAME=KEY or NAME=KEY[START:STOP]")
        name, key, start, stop = match.groups()
        columns = None
        if start is not None:
            columns = slice(int(start or 0), int(stop) if stop else None)
        return cls(name or default_name(key), key, columns)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A selection that the file can serve.

    Attributes:
      name: what it will be called.
      key: what the file calls it.
      columns: of its first axis after the rows.
      row: shape and dtype of a row in the file, all columns included.
      axes: what the user says of its axes.
      plan: what becomes of a row, of which only these columns are left.
    """

    name: str
    key: str
    columns: slice | None
    row: Row
    axes: str | None
    plan: Arrangement

    @property
    def source(self) -> str:
        """As a user would write it."""
        if self.columns is None:
            return self.key
        return f"{self.key}[{self.columns.start}:{self.columns.stop}]"

    def take(self, array: np.ndarray) -> np.ndarray:
        """The stored form of rows `[n, ...]` of the file.

        What float32 cannot hold becomes infinite (and is refused).
        """
        with np.errstate(over="ignore"):
            return self.plan.apply(array if self.columns is None else array[:, self.columns])

    def takes(self, row: Row) -> bool:
        """Whether rows of another array, or of another episode, are stored in the same form."""
        if row.shape != self.row.shape:
            return False
        shape = row.shape if self.columns is None else _cut(row.shape, self.columns)
        return arrange(shape, row.dtype, repr(self.key), self.axes) == self.plan


def choose(
    path: Path,
    available: Mapping[str, Row],
    selections: Sequence[Selection],
    defaults: Iterable[str],
    image_axes: str | None = None,
) -> list[Chosen]:
    """Finds the wanted observations in a file, and decides what they are stored as.

    Args:
      path: the file, for the messages.
      available: rows of everything that may be chosen, by key.
      selections: what is wanted.
      defaults: the keys that are taken if nothing in particular is.
      image_axes: what the user says of images, as for `observations.arrange`.

    Raises:
      UserError: a key is absent, holds no numbers, or two arrays would have one name; or it is
        unclear how an image lies in it.
    """
    wanted = tuple(selections) or tuple(Selection(default_name(k), k) for k in sorted(defaults))
    chosen: list[Chosen] = []
    for selection in wanted:
        key, columns = _find(path, selection.key, available), selection.columns
        if selection.name in (c.name for c in chosen):
            raise UserError(
                f"{path}: two observations would be called {selection.name!r}; name them with "
                "--observation=NAME=KEY,..."
            )
        check_name(f"{path}, {shown(key)}", selection.name)
        row = available[key]
        check_numbers(path, key, row.dtype)
        shape = row.shape
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
            shape = _cut(shape, columns)
        if 0 in shape:
            raise UserError(f"{path}: {key!r} has no entries; choose others with --observation")
        axes = image_axes if columns is None else NUMBERS
        plan = arrange(shape, row.dtype, f"{path}: {key!r}", axes)
        chosen.append(Chosen(selection.name, key, columns, row, axes, plan))
    return chosen


def _find(path: Path, wanted: str, available: Mapping[str, Row]) -> str:
    """The key in a file that a user means: all of it, its name, or its last part if unique."""
    inner = inner_key(wanted)
    for part in (
        lambda key: key == wanted,
        lambda key: wanted in (inner_key(key), default_name(key)),
        lambda key: inner in (inner_key(key), default_name(key)),
        lambda key: last_part(wanted) == last_part(key) == inner,
    ):
        matches = [key for key in available if part(key)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(
                f"{path}: {wanted!r} may be {' or '.join(sorted(matches))}; write one of them"
            )
    raise UserError(f"{path}: has no observation {wanted!r}; it has {', '.join(sorted(available))}")


def specs(chosen: Iterable[Chosen]) -> dict[str, ArraySpec]:
    """Shape and dtype by name."""
    return {c.name: ArraySpec(c.plan.shape, c.plan.dtype) for c in chosen}


def as_float32(array: np.ndarray) -> np.ndarray:
    """Converts actions and rewards, likewise."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def split_numbers(rows: Mapping[str, Row], keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Keys of arrays of numbers, and notes on the others; all of them where none has numbers."""
    every = list(keys)
    good = [key for key in every if rows[key].dtype.kind in "biuf"]
    if not good:
        return every, []
    others = [key for key in every if key not in good]
    return good, [f"{shown(key)} is left out, it holds no numbers" for key in others]


def check_numbers(path: Path, key: str, dtype: np.dtype) -> None:
    """Refuses what is not made of numbers.

    Raises:
      UserError: Python objects, text, records or complex numbers.
    """
    if dtype.hasobject:
        raise UserError(
            f"{path}: {key!r} holds Python objects, text or encoded images, which are not loaded; "
            "save it as an array of numbers, or name the others with --observation"
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
            "vectors of floating-point numbers, which is what priors and policies here act with"
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


def inner_key(key: str) -> str:
    """`obs/agent/pos` to `agent/pos`; empty for the group itself."""
    group, _, inner = key.strip("/").partition("/")
    return inner if group in OBSERVATION_GROUPS else key


def default_name(key: str) -> str:
    """What an array is called if the user does not say: `obs/agent/pos` is `agent.pos`."""
    inner = inner_key(key)
    return name_of(inner.split("/") if inner else ())


def _cut(shape: tuple[int, ...], columns: slice) -> tuple[int, ...]:
    """A row's shape if only some columns of its first axis are left."""
    return (columns.stop - columns.start, *shape[1:])
