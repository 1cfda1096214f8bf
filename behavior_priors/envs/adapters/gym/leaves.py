"""The arrays of numbers in an observation space of gymnasium's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.observations import Arrangement, name_of

_NARROW = 1e3
"""A range of values below which a space's bounds say what is typical, in the array's units."""

_OBSERVED = "a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict or Tuple of them"


class Numbers(NamedTuple):
    """A space of numbers, with the bounds that it has or means."""

    shape: tuple[int, ...]
    dtype: np.dtype
    low: np.ndarray
    high: np.ndarray


def leaves_of(
    space: Any, name: str, path: tuple[Any, ...], leave_out: tuple[str, ...]
) -> Iterator[tuple[tuple[Any, ...], Numbers]]:
    """The arrays of an observation space, with the keys and indices that lead to them.

    Args:
      space: gymnasium's.
      name: of the environment.
      path: what led to the space.
      leave_out: names of arrays that are passed over.

    Raises:
      UserError: a space is none of numbers.
    """
    from gymnasium import spaces

    if path and name_of(path) in leave_out:
        return
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from leaves_of(inner, name, (*path, key), leave_out)
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from leaves_of(inner, name, (*path, index), leave_out)
    else:
        numbers = _numbers(space)
        if numbers is None or numbers.dtype.kind not in "biuf":
            which = f" as {name_of(path)}, which leave_out={name_of(path)} spares" if path else ""
            raise UserError(
                f"{name} observes {show(space)}{which}; only {_OBSERVED} can be observed"
            )
        yield path, numbers


def names_in(space: Any, path: tuple[Any, ...] = ()) -> Iterator[str]:
    """Names of all that can be left out of an observation space: arrays, and what holds them."""
    from gymnasium import spaces

    if path:
        yield name_of(path)
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from names_in(inner, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from names_in(inner, (*path, index))


def _numbers(space: Any) -> Numbers | None:
    """A space as one of numbers; None if it is none."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return Numbers(space.shape, np.dtype(space.dtype), space.low, space.high)
    if isinstance(space, spaces.Discrete):
        start = np.asarray(space.start)
        return Numbers((), np.dtype(np.int64), start, start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        start = np.broadcast_to(getattr(space, "start", 0), space.nvec.shape)
        return Numbers(space.nvec.shape, np.dtype(np.int64), start, start + space.nvec - 1)
    if isinstance(space, spaces.MultiBinary):
        zeros = np.zeros(space.shape)
        return Numbers(space.shape, np.dtype(np.int8), zeros, zeros + 1.0)
    return None


def typical(box: Numbers, plan: Arrangement) -> tuple[Any, Any]:
    """Location and scale: middle and half range of narrow bounds, else NaN."""
    as_it_is = plan._replace(dtype=np.dtype(np.float64))
    low, high = (as_it_is.apply(np.asarray(x, np.float64)) for x in (box.low, box.high))
    with np.errstate(over="ignore", invalid="ignore"):
        half = 0.5 * (high - low)
    narrow = half < 0.5 * _NARROW
    half = np.where(narrow, half, np.nan)
    location = np.where(narrow, low, 0.0) + half
    return agreed(location), agreed(np.where(half == 0.0, 1.0, half))


def agreed(values: np.ndarray) -> Any:
    """One number instead of an array that repeats it; else the array, as float32."""
    if values.size and (values == values.flat[0]).all():
        return float(values.flat[0])
    return values.astype(np.float32)


def show(space: Any) -> str:
    """A space in one line."""
    return " ".join(str(space).split())
