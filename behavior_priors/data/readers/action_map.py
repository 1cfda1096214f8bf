"""From a file's actions to actions in [-1, 1]: what is subtracted, and what is divided by then."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np

from behavior_priors.data.bounds import Bounds
from behavior_priors.data.readers.base import Recording, Tally
from behavior_priors.errors import UserError


class MapOptions(Protocol):
    """The options that decide; see `convert.ConvertOptions`."""

    @property
    def action_scale(self) -> Literal["none", "auto"]:
        """Whether to divide by the largest magnitude."""

    @property
    def action_low(self) -> tuple[float, ...]:
        """What becomes -1."""

    @property
    def action_high(self) -> tuple[float, ...]:
        """What becomes 1."""

    @property
    def bounds_source(self) -> str:
        """Who said so."""


class ActionMap(NamedTuple):
    """`(action - offset) / scale`.

    Attributes:
      offset: `[action_size]`.
      scale: `[action_size]`.
      bounds: what becomes -1 and 1, if somebody said so; None otherwise.
    """

    offset: np.ndarray
    scale: np.ndarray
    bounds: Bounds | None = None


def action_map(recording: Recording, options: MapOptions) -> ActionMap:
    """How a recording's actions become those of a dataset.

    Bounds that the user gives count most, then the largest magnitudes if the user wants these, then
    the bounds in the file.

    Raises:
      UserError: the options contradict each other, or are not of the file's dimensions.
    """
    size = recording.action_size
    if options.action_low or options.action_high:
        if options.action_scale != "none":
            raise UserError(
                "action_scale=auto and action_low contradict each other; give one of them"
            )
        return _between(_given(recording, options))
    if options.action_scale == "auto":
        return ActionMap(np.zeros(size, np.float32), _magnitude(recording))
    if recording.action_bounds is not None:
        return _between(recording.action_bounds)
    return ActionMap(np.zeros(size, np.float32), np.ones(size, np.float32))


def _between(bounds: Bounds) -> ActionMap:
    middle = (bounds.low + bounds.high) / 2
    return ActionMap(middle.astype(np.float32), bounds.half.astype(np.float32), bounds)


def _given(recording: Recording, options: MapOptions) -> Bounds:
    size = recording.action_size
    low, high = np.array(options.action_low), np.array(options.action_high)
    if not {len(low), len(high)} <= {1, size}:
        raise UserError(
            f"action_low and action_high have {len(low)} and {len(high)} values; {recording.path} "
            f"has actions of {size} dimensions, so give {size} or 1"
        )
    bounds = Bounds.read(low, high, size, options.bounds_source)
    if bounds is None:
        raise UserError(
            "action_low should be below action_high in every dimension, and both within 1e30 of 0"
        )
    return bounds


def _magnitude(recording: Recording) -> np.ndarray:
    """The largest magnitude of each action dimension, 1 where that is 0; reads the recording."""
    magnitude = np.zeros(recording.action_size, np.float32)
    for batch in recording.batches(Tally()):
        magnitude = np.maximum(magnitude, np.abs(batch.action).max(axis=0))
    return np.where(magnitude > 0, magnitude, np.float32(1))
