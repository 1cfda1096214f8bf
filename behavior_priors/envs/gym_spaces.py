"""gymnasium's spaces as this library's specs, and observations as rows that cross to JAX."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.types import Array, ArraySpec, Observation, ObservationSpec, UserError

WORD = 4
"""Bytes of a word; a row is a vector of int32 words, whatever they stand for."""

_NARROW = 1e3
"""A range of values below which a space's bounds say what is typical, in the array's units."""


@dataclass(frozen=True)
class BoxAction:
    """A bounded action of an environment.

    Attributes:
      low: `[size]` float64.
      high: `[size]` float64.
      shape: that the environment wants.
      dtype: that the environment wants, a floating one.
    """

    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Numbers of an action."""
        return self.low.size

    @functools.cached_property
    def _middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)

    def rescale(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[N, size]` in [-1, 1] as the environment's `[N, *shape]`, limited to its bounds.

        Where the bounds are -1 and 1 an action stays what it is, bit for bit.
        """
        middle, half = self._middle_and_half
        # `np.clip` takes as long as all the rest
        actions = np.minimum(np.maximum(middle + half * actions, self.low), self.high)
        return actions.astype(self.dtype).reshape(-1, *self.shape)


def read_action(space: Any, name: str) -> BoxAction:
    """What an action space accepts.

    Raises:
      UserError: it is no `Box` of finite bounds and floating numbers.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise UserError(
            f"{name} has actions of {_show(space)}; only a Box of floating numbers can be acted on"
        )
    low, high = (np.asarray(x, np.float64).reshape(-1) for x in (space.low, space.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UserError(f"{name} has actions of {_show(space)}; every bound must be finite")
    return BoxAction(low, high, space.shape, np.dtype(space.dtype))


class Part(NamedTuple):
    """One named array of an observation.

    Attributes:
      name: in our observation.
      path: keys that lead to it in gymnasium's.
      spec: shape, dtype and typical values.
      start: its first word in a row.
      stop: the word after its last one.
    """

    name: str
    path: tuple[str, ...]
    spec: ArraySpec
    start: int
    stop: int


class Layout:
    """Where the arrays of an observation lie in a row: floats first, then images.

    Attributes:
      parts: the arrays.
      size: words of a row.
      floats: words that are float32 numbers; the rest are bytes.
    """

    def __init__(self, space: Any, name: str):
        """Plans the rows of a space.

        Args:
          space: a `Box`, observed as `observation`, or a `Dict` of such, by its keys; keys of
            nested ones are joined by dots. Arrays of uint8 stay that, all other numbers become
            float32 (whole numbers beyond 2^24 are thus rounded).
          name: of the environment, for messages.

        Raises:
          UserError: another kind of space is among them.
        """
        leaves = list(_leaves(space, name, ()))
        names = [".".join(path) or "observation" for path, _ in leaves]
        if len(set(names)) < len(names) or not names:
            raise UserError(f"{name} observes {_show(space)}; its arrays need different names")
        order = sorted(range(len(leaves)), key=lambda i: leaves[i][1].dtype == np.uint8)
        self.parts: list[Part] = []
        self.size = self.floats = 0
        for i in order:
            path, box = leaves[i]
            count = int(np.prod(box.shape))
            is_image = box.dtype == np.uint8
            stop = self.size + (-(-count // WORD) if is_image else count)
            dtype = np.uint8 if is_image else np.float32
            spec = ArraySpec(box.shape, dtype, *_typical(box))
            self.parts.append(Part(names[i], path, spec, self.size, stop))
            self.size = stop
            if not is_image:
                self.floats = stop

    @property
    def spec(self) -> ObservationSpec:
        """Of the observation that `read` returns."""
        return {part.name: part.spec for part in self.parts}

    def is_settled(self) -> bool:
        """Whether the bounds of every array say what values are typical."""
        return all(not np.isnan(part.spec.scale).any() for part in self.parts)

    def write(
        self,
        numbers: np.ndarray,
        words: np.ndarray,
        rows: Sequence[int] | slice,
        observations: Sequence[Any],
    ) -> None:
        """Takes gymnasium's observations apart, on the host.

        Args:
          numbers: `[N, floats]` float64, for their numbers.
          words: `[N, size]` int32, for their bytes.
          rows: where they go.
          observations: what the environments returned.

        Raises:
          ValueError: an array has another shape than its space.
        """
        for _, path, spec, start, stop in self.parts:
            values = observations
            for key in path:
                values = [x[key] for x in values]
            stacked = _stack(values, spec.shape, ".".join(path) or "observation")
            if stop <= self.floats:
                numbers[rows, start:stop] = stacked
            else:
                # the last word is filled up with zeros
                image = np.zeros((len(values), WORD * (stop - start)), np.uint8)
                image[:, : stacked.shape[1]] = stacked
                words[rows, start:stop] = image.view(np.int32)

    def read(self, row: Array) -> Observation:
        """The observation in a row `[size]` int32, in JAX."""
        return {
            part.name: _decode(row[part.start : part.stop], part.spec.shape, part.spec.dtype)
            for part in self.parts
        }

    def settle(self, numbers: np.ndarray) -> None:
        """Settles what is typical of the arrays whose bounds do not say so.

        The scale of a number is its standard deviation, at least 1, as a power of two; its location
        is its mean, as a multiple of the scale. So a number that is moderate stays as it is, also
        one that has hardly moved here and will later; and what differs in the last digits between
        machines hardly ever shows.

        Args:
          numbers: of observations that were seen, `[N, floats]` float64.
        """
        seen = np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0)
        for i, part in enumerate(self.parts):
            unsettled = np.isnan(part.spec.scale)
            if unsettled.any():
                values = seen[:, part.start : part.stop].reshape(-1, *part.spec.shape)
                scale = 2.0 ** np.round(np.log2(np.maximum(values.std(0), 1.0)))
                location = np.round(values.mean(0) / scale) * scale + 0.0  # no -0
                spec = part.spec._replace(
                    location=_agreed(np.where(unsettled, location, part.spec.location)),
                    scale=_agreed(np.where(unsettled, scale, part.spec.scale)),
                )
                self.parts[i] = part._replace(spec=spec)


def _leaves(space: Any, name: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, name, (*path, str(key)))
    elif isinstance(space, spaces.Box):
        yield path, space
    else:
        raise UserError(
            f"{name} observes {_show(space)}; only a Box or a Dict of Boxes can be observed"
        )


def _stack(values: Sequence[Any], shape: tuple[int, ...], name: str) -> np.ndarray:
    """Arrays of a shape, `[N, numbers]`."""
    try:
        stacked = np.array(values)
    except ValueError:  # they differ in shape
        stacked = np.empty(0)
    if stacked.shape[1:] != shape:
        wrong = next(np.shape(x) for x in values if np.shape(x) != shape)
        raise ValueError(f"{name} has the shape {wrong}; its space has {shape}")
    return stacked.reshape(len(values), -1)


def _typical(box: Any) -> tuple[Any, Any]:
    """Location and scale: middle and half range of narrow bounds, else NaN."""
    low, high = np.asarray(box.low, np.float64), np.asarray(box.high, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        half = 0.5 * (high - low)
    narrow = half < 0.5 * _NARROW
    half = np.where(narrow, half, np.nan)
    location = np.where(narrow, low, 0.0) + half
    return _agreed(location), _agreed(np.where(half == 0.0, 1.0, half))


def _agreed(values: np.ndarray) -> Any:
    """One number instead of an array that repeats it; else the array, as float32."""
    if values.size and (values == values.flat[0]).all():
        return float(values.flat[0])
    return values.astype(np.float32)


def _decode(words: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    if dtype == np.float32:
        return jax.lax.bitcast_convert_type(words, jnp.float32).reshape(shape)
    flat = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
    return flat[: int(np.prod(shape))].reshape(shape)


def _show(space: Any) -> str:
    return " ".join(str(space).split())
