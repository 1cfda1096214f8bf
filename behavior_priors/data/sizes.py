"""Sizes that files declare, against the bytes that they have: a few can claim to be terabytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from behavior_priors.errors import UserError

SMALL = 64 * 2**20
"""Bytes that an array may always claim: no harm is done by that much."""

MOST_COMPRESSED = 2000
"""Bytes that one stored byte may stand for. Deflate, which both formats use, reaches 1032."""


class Declared:
    """What the arrays of a file claim to be altogether, so that many do not do what one may not."""

    def __init__(self, path: Path, stored: int) -> None:
        """Begins to count.

        Args:
          path: the file, for the message.
          stored: its bytes.
        """
        self._path, self._stored = path, stored
        self._bytes = self._unbacked = 0

    def add(self, key: str, rows: Sequence[int], itemsize: int, stored: int) -> None:
        """Takes an array into account, as `check_declared` does.

        Raises:
          UserError: it, or all of them, declare more than their bytes can be.
        """
        check_declared(self._path, key, rows, itemsize, stored)
        size = math.prod(rows) * itemsize
        self._bytes += size
        self._unbacked += size if size > MOST_COMPRESSED * stored else 0
        if self._unbacked > SMALL or self._bytes > max(SMALL, MOST_COMPRESSED * self._stored):
            raise UserError(
                f"{self._path}: the arrays up to {key!r} declare {self._bytes} bytes, but the file "
                f"has {self._stored}; it is unfinished, damaged or made to exhaust memory"
            )


def check_declared(path: Path, key: str, rows: Sequence[int], itemsize: int, stored: int) -> None:
    """Checks that an array can be as large as it says, before anything is made of that size.

    Args:
      path: the file, for the message.
      key: of the array.
      rows: its shape.
      itemsize: bytes of a number.
      stored: bytes that the file has of it.

    Raises:
      UserError: no compression makes so much of so little.
    """
    size = math.prod(rows) * itemsize
    if size > SMALL and size > MOST_COMPRESSED * stored:
        raise UserError(
            f"{path}: {key!r} declares the shape {list(rows)}, {size} bytes, but the file has "
            f"{stored} bytes of it; it is unfinished, damaged or made to exhaust memory"
        )
