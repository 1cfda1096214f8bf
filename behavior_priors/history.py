"""Past steps, which a prior may be conditioned on: what they are, and those of recorded episodes.

Singh, Liu et al. 2021, section 5: `p(a_t | s_t, s_{t-1}, a_{t-1}, ...)`, an extension that the
paper leaves to others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.observations import is_image
from behavior_priors.torso import flatten_observation
from behavior_priors.types import ActionSpec, Array, ArraySpec, Observation, ObservationSpec

HISTORY = "history"
"""The name of the observation: past steps `[length, size]`, the latest last, each the standardised
observation and the action that followed; zeros where there was none yet."""


class History(NamedTuple):
    """What is remembered.

    Attributes:
      names: of observations, in the order in which they are joined; no images.
      length: steps.
    """

    names: tuple[str, ...]
    length: int


def history_spec(history: History, spec: ObservationSpec, action_size: int) -> ArraySpec:
    """What `HISTORY` looks like.

    Raises:
      UserError: a name is not observed, or is of an image.
    """
    for name in history.names:
        if name not in spec:
            raise UserError(f"history: there is no observation {name!r} to be remembered")
        if is_image(spec[name].shape, spec[name].dtype):
            raise UserError(f"history: {name} is an image, and only numbers are remembered")
    size = sum(math.prod(spec[name].shape) for name in history.names)
    return ArraySpec((history.length, size + action_size))


def latest_step(
    history: History, spec: ObservationSpec, observation: Observation, action: Array
) -> Array:
    """One row of `HISTORY`, `[..., size]`: an observation and what was done there."""
    return jnp.concatenate([flatten_observation(observation, spec, history.names), action], axis=-1)


def remember(
    history: History, spec: ObservationSpec, actions: ActionSpec
) -> Callable[[Array, Observation, Array], Array]:
    """What a step adds to the past: `(past, observation, action) -> past`, each `[length, size]`.

    Args:
      history: which steps are remembered.
      spec: of the observations.
      actions: of the environment, which limits those that it is given.
    """

    def after(past: Array, observation: Observation, action: Array) -> Array:
        if actions.bound is not None:
            action = jnp.clip(action, -actions.bound, actions.bound)
        latest = latest_step(history, spec, observation, action)
        return jnp.concatenate([past[1:], latest[None]])

    return after


def past_steps(
    history: History,
    spec: ObservationSpec,
    observation: Observation,
    action: np.ndarray,
    lengths: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """`HISTORY` of every step of recorded episodes, `[steps, length, size]`.

    Args:
      history: which, and how many.
      spec: of the observations.
      observation: arrays `[steps, ...]` of episodes one after the other.
      action: `[steps, action_size]`.
      lengths: `[episodes]`, their steps.
    """
    rows = np.asarray(latest_step(history, spec, observation, jnp.asarray(action)))
    lengths = np.asarray(lengths)
    began = np.repeat(np.cumsum(lengths) - lengths, lengths)[:, None]
    before = np.arange(len(rows))[:, None] + np.arange(-history.length, 0)
    return np.where((before >= began)[..., None], rows[np.maximum(before, 0)], np.float32(0))
