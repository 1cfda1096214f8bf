"""Which numbers a config may hold: the range of a field stands in its type.

    steps: Count = 10_000
    learning_rate: LearningRate = 1e-3
    mean_bound: Limit | None = None

`checks.check_ranges` reads them for whoever makes something of a config, `config.flags` for
whoever gives a flag. A range of one's own is written `Annotated[float, Range(least=-1, most=1)]`.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from typing import Annotated, Any, get_args, get_origin

import numpy as np

INT32 = 2**31 - 1
"""The largest number that steps and indices on a device can be counted to."""

LARGEST = 1e30
"""The largest magnitude of what has no limit of its own."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from one end to the other, all of them finite.

    Attributes:
      least: the lowest one; none for no such end.
      most: the highest one.
      above: an end that is not in the range itself.
      below: likewise.
      words: of the range, for where either end alone would say too little.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    words: str | None = None

    def complaint(self, number: float) -> str | None:
        """The words for what a number should be instead; None where it is in the range."""
        if self.least is not None and number < self.least:
            return self.words or f"at least {_short(self.least)}"
        if self.above is not None and number <= self.above:
            return self.words or ("positive" if self.above == 0 else f"above {_short(self.above)}")
        if isinstance(number, float) and not math.isfinite(number):
            return self.words or "a finite number"
        if self.most is not None and number > self.most:
            return self.words or f"at most {_short(self.most)}"
        if self.below is not None and number >= self.below:
            return self.words or f"below {_short(self.below)}"
        return None


Count = Annotated[int, Range(least=1, most=INT32)]
"""How many there are, of what there must be one."""

CountOrZero = Annotated[int, Range(least=0, most=INT32)]

TwoOrMore = Annotated[int, Range(least=2, most=INT32)]
"""Episodes of which some are held out."""

Few = Annotated[int, Range(least=1, most=1_000)]
"""Parts that are made one by one, such as critics or couplings."""

FewOrZero = Annotated[int, Range(least=0, most=1_000)]

Horizon = Annotated[int, Range(least=1, most=10_000)]
"""Steps whose actions a network makes all at once."""

SideBySide = Annotated[int, Range(least=1, most=2**20)]
"""How many there are at the same time, each in memory: environments, examples."""

Episodes = Annotated[int, Range(least=1, most=100_000)]
"""Whole episodes at the same time, each with all that was observed in it."""

EpisodesOrZero = Annotated[int, Range(least=0, most=100_000)]

Width = Annotated[int, Range(least=1, most=2**14)]
"""Units of a layer, or dimensions of a latent."""

Seed = Annotated[int, Range(least=0, most=2**32 - 1)]
"""JAX's keys are made of 32 bits: of a longer seed they forget the rest, and of a negative one the
sign."""

Share = Annotated[float, Range(least=0, most=1, words="in [0, 1]")]
PositiveShare = Annotated[float, Range(above=0, most=1, words="in (0, 1]")]
ShareBelowOne = Annotated[float, Range(least=0, below=1, words="at least 0 and below 1")]
InnerShare = Annotated[float, Range(above=0, below=1, words="between 0 and 1")]

LearningRate = Annotated[float, Range(above=0, most=10)]
"""Adam's, with which each parameter moves about that far in an update."""

Limit = Annotated[float, Range(above=0, most=1e6)]
"""What something else stays within: latents, norms, divergences."""

Weight = Annotated[float, Range(least=0, most=1e6)]
"""A factor beside others, perhaps none."""

Nats = Annotated[float, Range(least=-1e6, most=1e6)]
"""Entropies, which may be negative."""

LogStd = Annotated[float, Range(least=-40, most=40, words="in [-40, 40]")]
"""Logarithms of standard deviations that have a square, and an inverse one, in single precision."""

Positive = Annotated[float, Range(above=0, most=LARGEST)]
Real = Annotated[float, Range(least=-LARGEST, most=LARGEST)]


def number_type(hint: Any) -> tuple[type, Range | None] | None:
    """The type of the numbers in a field, and their range if it has one; None if it holds none.

    Args:
      hint: the field's type, of one number or a tuple of them, each perhaps with None.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (int, float):
        return hint, None
    if origin is Annotated and arguments[0] in (int, float):
        ranges = [x for x in arguments[1:] if isinstance(x, Range)]
        return arguments[0], ranges[0] if ranges else None
    if origin is tuple or (origin in (types.UnionType, typing.Union)):
        return number_type(arguments[0])
    return None


def complaint(hint: Any, value: Any) -> str | None:
    """The words for what a field's value should be instead; None where there is nothing to say.

    Floats are judged as what they become in single precision: 1e-50 is not positive there.

    Args:
      hint: the field's type.
      value: of the field.
    """
    found = number_type(hint)
    if found is None:
        return None
    scalar, numbers = found
    optional = types.NoneType in get_args(hint)
    if value is None:
        return None if optional else _NAMES[scalar]
    for number in value if isinstance(value, tuple | list) else (value,):
        words = _judge(scalar, numbers or Range(), number)
        if words is not None:
            return f"{words}, or none" if optional else words
    return None


_NAMES = {int: "an integer", float: "a number"}


def _judge(scalar: type, numbers: Range, value: Any) -> str | None:
    try:
        number = operator.index(value) if scalar is int else float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAMES[scalar]
    words = numbers.complaint(number)
    if words is None and scalar is float:
        with np.errstate(over="ignore", under="ignore"):
            rounded = float(np.float32(number))
        # ends that are in the range may be passed by rounding
        words = dataclasses.replace(numbers, least=None, most=None).complaint(rounded)
    return words


def _short(end: float) -> str:
    """An end as one would write it."""
    return str(end) if isinstance(end, int) else f"{end:g}"
