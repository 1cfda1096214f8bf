"""gymnasium's spaces of observations as specs, and observations as rows that cross to JAX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.adapters.gym.leaves import agreed, leaves_of, names_in, show, typical
from behavior_priors.envs.guard import LARGEST_REWARD, limits_of
from behavior_priors.errors import UserError
from behavior_priors.observations import Arrangement, arrange, name_of
from behavior_priors.types import Array, ArraySpec, Observation, ObservationSpec

WORD = 4
"""Bytes of a word; a row is a vector of int32 words, whatever they stand for."""


class Part(NamedTuple):
    """One named array of an observation.

    Attributes:
      name: in our observation.
      path: keys and indices that lead to it in gymnasium's.
      given: its shape there.
      plan: how it becomes what `spec` says.
      spec: shape, dtype and typical values.
      start: its first word in a row.
      stop: the word after its last one.
    """

    name: str
    path: tuple[Any, ...]
    given: tuple[int, ...]
    plan: Arrangement
    spec: ArraySpec
    start: int
    stop: int


class Layout:
    """Where the arrays of an observation lie in a row: floats first, then images.

    Attributes:
      space: gymnasium's.
      parts: the arrays.
      size: words of a row.
      floats: words that are float32 numbers; the rest are bytes of images.
    """

    def __init__(
        self,
        space: Any,
        name: str,
        *,
        image_axes: str | None = None,
        leave_out: Sequence[str] = (),
    ):
        """Plans the rows of a space.

        Args:
          space: an array, observed as `observation`, or a `Dict` or `Tuple` of such, called as in
            `observations.name_of`. What is an image, and what becomes of it, `observations.arrange`
            says; all other numbers become float32 (whole ones beyond 2^24 are thus rounded). A
            `Discrete` is one number `[]`.
          name: of the environment, for messages.
          image_axes: see `observations.arrange`.
          leave_out: names of arrays that are not observed.

        Raises:
          UserError: another kind of space is among them, or an image of unclear axes, or a name to
            leave out that there is not.
        """
        self.space, self._environment = space, name
        there = list(names_in(space))
        if unknown := [x for x in leave_out if x not in there]:
            raise UserError(
                f"{name}: leave_out={unknown[0]} is no observation that it has; there are: "
                f"{', '.join(there) or 'none with names'}"
            )
        leaves = list(leaves_of(space, name, (), tuple(leave_out)))
        names = [name_of(path) for path, _ in leaves]
        if leave_out and not names:
            raise UserError(f"{name}: leave_out={', '.join(leave_out)} leaves nothing to observe")
        if len(set(names)) < len(names) or not names:
            raise UserError(f"{name} observes {show(space)}; its arrays need different names")
        plans = [
            arrange(box.shape, box.dtype, f"{name}: observation {label}", image_axes)
            for label, (_, box) in zip(names, leaves, strict=True)
        ]
        order = sorted(range(len(leaves)), key=lambda i: plans[i].dtype == np.uint8)
        self.parts: list[Part] = []
        self.size = self.floats = 0
        for i in order:
            (path, box), plan = leaves[i], plans[i]
            count = int(np.prod(box.shape))
            is_image = plan.dtype == np.uint8
            stop = self.size + (-(-count // WORD) if is_image else count)
            spec = ArraySpec(plan.shape, plan.dtype.type, *typical(box, plan))
            self.parts.append(Part(names[i], path, box.shape, plan, spec, self.size, stop))
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
          UserError: an array is missing, or has another shape or kind than its space.
        """
        for part in self.parts:
            stacked = self._stack(part, observations)
            if part.stop <= self.floats:
                numbers[rows, part.start : part.stop] = stacked
            else:
                # the last word is filled up with zeros
                image = np.zeros((len(stacked), WORD * (part.stop - part.start)), np.uint8)
                image[:, : stacked.shape[1]] = stacked
                words[rows, part.start : part.stop] = image.view(np.int32)

    def _stack(self, part: Part, observations: Sequence[Any]) -> np.ndarray:
        """One array of each observation as it is stored, `[N, numbers]`."""
        what = f"{self._environment}: observation {part.name}"
        try:
            values = observations
            for key in part.path:
                values = [x[key] for x in values]
        except (KeyError, IndexError, TypeError):
            raise UserError(f"{what} is missing, though its space has it") from None
        try:
            stacked = np.array(values)
        except ValueError:  # they differ in shape
            stacked = np.empty(0)
        if stacked.shape[1:] != part.given:
            wrong = next((np.shape(x) for x in values if np.shape(x) != part.given), None)
            raise UserError(f"{what} has the shape {wrong}; its space has {part.given}")
        if stacked.dtype.kind not in "biuf":
            raise UserError(f"{what} is {show(values[0])[:80]}; it should be numbers")
        if part.plan.dtype == np.uint8 and stacked.dtype != np.uint8:
            if stacked.dtype.kind == "f" or not ((stacked >= 0) & (stacked <= 255)).all():
                raise UserError(f"{what} is of {stacked.dtype}; its space has uint8")
            stacked = stacked.astype(np.uint8)
        if not part.plan.is_trivial:
            # as they are where only the dtype would change: these are float64 still
            stacked = part.plan._replace(dtype=stacked.dtype).apply(stacked)
        return stacked.reshape(len(stacked), -1)

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
        # what no network will see, or would make all the rest vanish, is not typical
        seen = np.where(np.abs(numbers) <= LARGEST_REWARD, numbers, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of numbers that never were any
            mean, deviation = (np.nan_to_num(f(seen, axis=0)) for f in (np.nanmean, np.nanstd))
        for i, part in enumerate(self.parts):
            unsettled = np.isnan(part.spec.scale)
            if unsettled.any():
                shape, where = part.spec.shape, slice(part.start, part.stop)
                scale = 2.0 ** np.round(np.log2(np.maximum(deviation[where], 1.0))).reshape(shape)
                location = np.round(mean[where].reshape(shape) / scale) * scale + 0.0  # no -0
                spec = part.spec._replace(
                    location=agreed(np.where(unsettled, location, part.spec.location)),
                    scale=agreed(np.where(unsettled, scale, part.spec.scale)),
                )
                self.parts[i] = part._replace(spec=spec)

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest numbers that can be learned from, `[floats]` float32."""
        low, high = np.zeros((2, self.floats), np.float32)
        for part in self.parts:
            if part.stop <= self.floats:
                low[part.start : part.stop], high[part.start : part.stop] = (
                    np.broadcast_to(x, part.spec.shape).reshape(-1) for x in limits_of(part.spec)
                )
        return low, high

    def name_at(self, index: int) -> str:
        """The array that a number of a row belongs to."""
        return next(part.name for part in self.parts if part.start <= index < part.stop)


def _decode(words: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    if dtype == np.float32:
        return jax.lax.bitcast_convert_type(words, jnp.float32).reshape(shape)
    flat = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
    return flat[: int(np.prod(shape))].reshape(shape)
