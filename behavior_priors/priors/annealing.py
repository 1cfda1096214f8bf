"""Weights that grow while a model is trained.

Singh, Liu et al. 2021, appendix D: the weight of a variational autoencoder's divergence begins at
zero and follows a logistic function, which has half of its end after 25 000 steps.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from behavior_priors.types import Array

STEEPNESS = 10.0
"""Time to the half, in units of the logistic function's: the weight begins at 4.5e-5 of its end.
The paper does not say how steep it is."""


def logistic(end: float, half: int, step: Array | None) -> Array:
    """A weight `[]` after so many steps.

    Args:
      end: what it becomes.
      half: steps after which it is half of that; 0 for what it becomes from the beginning.
      step: `[]`, steps taken; None for what it becomes.
    """
    if step is None or half == 0:
        return jnp.float32(end)
    return end * jax.nn.sigmoid(STEEPNESS * (step.astype(jnp.float32) / half - 1.0))
