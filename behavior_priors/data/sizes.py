"""Sizes that files declare, against the bytes that they have: a few can claim to be terabytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from behavior_priors.types import UserError

SMALL = 64 * 2**20
"""Bytes that an array may always claim: no harm is done by that much."""

MOST_COMPRESSED = 2000
"""Bytes that one stored byte may stand for. Deflate, which both formats use, reaches 1032."""


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
