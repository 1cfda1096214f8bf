"""Bodies of one shape whose masses, inertias, friction and damping differ.

The law is that of the environments `walker-rand-params` and `hopper-rand-params` of Rakelly et al.
(PEARL), in which each number of a model is multiplied by a random one of its own.
"""

from __future__ import annotations

import copy

import jax
import mujoco
import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.types import Array, SampleTasksFn

BASES = {"body_mass": 1.5, "body_inertia": 1.5, "geom_friction": 1.5, "dof_damping": 1.3}
"""Of the powers that multiply the fields of a model."""

EXPONENT = 3.0
"""Exponents are evenly distributed up to this, and down to minus this."""


def random_models(model: mujoco.MjModel, count: int, seed: int) -> list[mujoco.MjModel]:
    """A table of models with parameters of their own.

    Each depends on the seed and its number alone, so that a longer table begins with a shorter one.

    Args:
      model: what is multiplied; stays as it is.
      count: how many.
      seed: of all of them.
    """
    return [_random_model(model, np.random.default_rng([seed, number])) for number in range(count)]


def _random_model(model: mujoco.MjModel, rng: np.random.Generator) -> mujoco.MjModel:
    other = copy.copy(model)
    for name, base in BASES.items():
        field = getattr(other, name)
        field *= base ** rng.uniform(-EXPONENT, EXPONENT, field.shape)
    # what the solver derives from masses and inertias, such as inverse weights
    mujoco.mj_setConst(other, mujoco.MjData(other))
    return other


def draw_numbers(available: int, name: str) -> SampleTasksFn:
    """Draws numbers below `available`, each at most once, in any order.

    Args:
      available: how many there are.
      name: whose they are, for messages.

    Returns:
      A function that raises a `UserError` where more are asked for than there are.
    """

    def sample(key: jax.Array, count: int) -> Array:
        if count > available:
            raise UserError(
                f"{name} has {available} bodies, and {count} tasks are asked for; "
                f"use {name}?scenes={count} or more"
            )
        return jax.random.permutation(key, available)[:count]

    return sample
