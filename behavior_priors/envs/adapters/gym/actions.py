"""gymnasium's spaces of actions, from [-1, 1] to their own bounds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from behavior_priors.envs.adapters.gym.leaves import show
from behavior_priors.errors import UserError

LARGEST_BOUND = 1e9
"""Of an action. No motor's torque in N m comes near it: a bound beyond says that there is none, and
random actions would be as large."""


@dataclass(frozen=True)
class BoxAction:
    """A bounded action of an environment.

    Attributes:
      low: `[size]` float64.
      high: `[size]` float64.
      shape: that the environment wants.
      dtype: that the environment wants, a floating one.
      space: gymnasium's.
    """

    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    space: Any = None

    @property
    def size(self) -> int:
        """Numbers of an action."""
        return self.low.size

    @functools.cached_property
    def _middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)

    def rescale(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[N, size]` in [-1, 1] as the environment's `[N, *shape]`, limited to its bounds.

        One of them is `[i, ...]`: `[i]` alone would be no array if the shape is `()`.

        Where the bounds are -1 and 1 an action stays what it is, bit for bit.
        """
        middle, half = self._middle_and_half
        # `np.clip` takes as long as all the rest
        actions = np.minimum(np.maximum(middle + half * actions, self.low), self.high)
        return actions.astype(self.dtype).reshape(-1, *self.shape)


def read_action(space: Any, name: str) -> BoxAction:
    """What an action space accepts.

    Raises:
      UserError: it is no `Box` of floating numbers with finite, sensible bounds.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise UserError(
            f"{name} has actions of {show(space)}; only a Box of floating numbers can be acted "
            "on: discrete, mixed or nested actions need a wrapper of yours that makes them from one"
        )
    low, high = (np.asarray(x, np.float64).reshape(-1) for x in (space.low, space.high))
    # NaN is no less either
    if not (np.abs([low, high]) <= LARGEST_BOUND).all():
        raise UserError(
            f"{name} has actions of {show(space)}; every bound must be finite, and at most "
            f"{LARGEST_BOUND:g}: wrap it in gymnasium.wrappers.TransformAction with a Box of the "
            "actions that make sense"
        )
    if not low.size or (low >= high).any():
        raise UserError(
            f"{name} has actions of {show(space)}; there should be some, with low below high"
        )
    return BoxAction(low, high, space.shape, np.dtype(space.dtype), space)
