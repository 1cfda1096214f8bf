"""What recent experience says about the task: products of Gaussian factors.

Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context
Variables" (PEARL), section 4.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from behavior_priors.types import Array, PRNGKey, TaskBelief

SMALLEST_VARIANCE = 1e-7
"""Of a factor; the authors' own."""


def product_of_gaussians(mean: Array, variance: Array, counts: Array) -> tuple[Array, Array]:
    """The posterior that is the normalised product of factors, one for each transition.

    `q(z | c) ~ prod_n N(z; mean_n, variance_n)` has the sum of their precisions for its precision,
    and the mean of their means, weighed by precision, for its mean. The prior is no factor, as in
    the paper; but where no transition counts the posterior is the prior `N(0, I)`, which an empty
    product would not be.

    Args:
      mean: `[..., transitions, latent]`, of the factors.
      variance: `[..., transitions, latent]`, of the factors, positive.
      counts: `[..., transitions]` bool, which transitions there are.

    Returns:
      Mean and variance, `[..., latent]` each.
    """
    chex.assert_equal_shape([mean, variance])
    chex.assert_shape(counts, mean.shape[:-1])
    precision = jnp.where(counts[..., None], 1.0 / jnp.maximum(variance, SMALLEST_VARIANCE), 0.0)
    total = precision.sum(axis=-2)
    known = total > 0
    # where nothing counts the quotients are of no use, and must not make a gradient of NaN either
    divisor = jnp.where(known, total, 1.0)
    weighed = (precision * mean).sum(axis=-2)
    return jnp.where(known, weighed / divisor, 0.0), 1.0 / divisor


def divergence_from_standard(mean: Array, variance: Array) -> Array:
    """`KL(N(mean, variance) || N(0, I))` in nats, summed over the latent's dimensions.

    Args:
      mean: `[..., latent]`.
      variance: `[..., latent]`, positive.

    Returns:
      `[...]`.
    """
    chex.assert_equal_shape([mean, variance])
    return 0.5 * (variance + jnp.square(mean) - 1.0 - jnp.log(variance)).sum(axis=-1)


def describe(belief: TaskBelief, key: PRNGKey) -> Array:
    """A description `[..., latent]` drawn from a belief; the key is consumed."""
    noise = jax.random.normal(key, belief.mean.shape)
    return belief.mean + jnp.sqrt(belief.variance) * noise
