"""What bodies are asked to do: distributions over tasks, and what each of them pays.

Laws and rewards are those of Rakelly et al.'s environments (PEARL, `rlkit/envs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.types import Array, SampleTasksFn

RewardFn = Callable[[Array, Array, Array], Array]
"""`(task, velocity [2] in m/s, action [size]) -> []`; the velocity is the torso's mean one over a
step."""


class TaskFamily(NamedTuple):
    """Tasks of one body.

    Attributes:
      body: its name.
      sample: draws tasks `[count]`.
      reward: of a step.
    """

    body: str
    sample: SampleTasksFn
    reward: RewardFn


def _effort(action: Array) -> Array:
    return jnp.square(action).sum()


def _forth_and_back(_: jax.Array, count: int) -> Array:
    """The two tasks that there are, in turn, however many are asked for."""
    return 1.0 - 2.0 * (jnp.arange(count) % 2).astype(jnp.float32)


TASK_FAMILIES: Mapping[str, TaskFamily] = {
    "cheetah_velocity": TaskFamily(
        body="cheetah",
        sample=lambda key, count: jax.random.uniform(key, (count,), maxval=3.0),
        reward=lambda task, velocity, action: -jnp.abs(velocity[0] - task) - 0.05 * _effort(action),
    ),
    "cheetah_direction": TaskFamily(
        body="cheetah",
        sample=_forth_and_back,
        reward=lambda task, velocity, action: task * velocity[0] - 0.05 * _effort(action),
    ),
}
"""By name."""
