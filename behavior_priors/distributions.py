"""Distributions over actions and latents, and the bijectors they are made of; all are distrax's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.types import Array

LARGEST_BELOW_ONE = float(np.nextafter(np.float32(1.0), np.float32(0.0)))

DIVERGENCE_SAMPLES = 10
"""That estimate a divergence without a closed form, as many as in the public code of SPiRL."""

TARGET_LATENT_STD = 0.5
"""Standard deviation whose Gaussian has the target entropy of unbounded policies."""


class ScaledTanh(distrax.Bijector):
    """Elementwise hyperbolic tangent onto `(-bound, bound)`.

    With the bound `b`:

    - Forward: `y = b tanh(x)`

    - Forward Jacobian log determinant:
      `log|dy/dx| = log b + log(1 - tanh(x)^2) = log b + 2 (log 2 - x - log(1 + exp(-2 x)))`,
      of which the last form is the one that stays finite where `tanh(x)` rounds to one.

    - Inverse: `x = atanh(y / b) = log((1 + y / b) / (1 - y / b)) / 2`

    - Inverse Jacobian log determinant: `log|dx/dy| = -log b - log((1 + y / b) (1 - y / b))`

    The inverse first clips `y / b` to `[-limit, limit]`, because a `y` that has reached the bound,
    by rounding or in data, has no preimage.

    Logarithms of a quotient and of a product, and not of `u` and `-u`: XLA on a CPU (jaxlib 0.10.2)
    takes `log1p(u)` and `log1p(-u)` for the same where both are summed up over 4096 numbers or
    more, and densities of large batches were wrong by hundreds of nats.
    """

    def __init__(self, bound: float = 1.0, limit: float = LARGEST_BELOW_ONE) -> None:
        """Initialises the bijector.

        Args:
          bound: half the width of the interval, in the units of `y`.
          limit: largest `|y| / bound` that is inverted as it is.
        """
        super().__init__(event_ndims_in=0)
        self.bound = bound
        self._limit = limit

    def forward(self, x: Array) -> Array:
        """Computes `y`."""
        return self.bound * jnp.tanh(x)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Computes `y` and `log|dy/dx|`."""
        log_slope = 2.0 * (math.log(2.0) - x - jax.nn.softplus(-2.0 * x))
        return self.forward(x), math.log(self.bound) + log_slope

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Computes `x` and `log|dx/dy|`."""
        unit = jnp.clip(y / self.bound, -self._limit, self._limit)
        above, below = 1.0 + unit, 1.0 - unit
        return 0.5 * jnp.log(above / below), -math.log(self.bound) - jnp.log(above * below)


class HalfSplitCoupling(distrax.Bijector):
    """Coupling of the two halves of a vector.

    Let `x = [x1, x2]` be split at an index, and let the conditioner take one half to an elementwise
    bijector `g` of the other. With `swap=False` the first half stays and conditions the second:

    - Forward: `y1 = x1`, `y2 = g(x2; x1)`

    - Forward Jacobian log determinant: `log|det J(x)| = sum(log|dg/dx2(x2; x1)|)`

    - Inverse: `x1 = y1`, `x2 = g^{-1}(y2; y1)`

    - Inverse Jacobian log determinant: `log|det J(y)| = -sum(log|dg/dx2(x2; x1)|)`

    With `swap=True` the halves change roles. The conditioner is evaluated once per call, on the
    half that stays, and computes nothing for it.
    """

    def __init__(
        self, split: int, conditioner: Callable[[Array], distrax.Bijector], swap: bool
    ) -> None:
        """Initialises the coupling.

        Args:
          split: length of the first half.
          conditioner: from the half that stays to the bijector of the other.
          swap: whether the second half is the one that stays.
        """
        super().__init__(event_ndims_in=1)
        self._split = split
        self._conditioner = conditioner
        self._swap = swap

    def _halves(self, x: Array) -> tuple[Array, Array]:
        """The half that stays, and the other."""
        first, second = x[..., : self._split], x[..., self._split :]
        return (second, first) if self._swap else (first, second)

    def _join(self, kept: Array, moved: Array) -> Array:
        return jnp.concatenate([moved, kept] if self._swap else [kept, moved], axis=-1)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Computes `y` and `log|det J(x)|`."""
        self._check_forward_input_shape(x)
        kept, moved = self._halves(x)
        moved, log_det = self._conditioner(kept).forward_and_log_det(moved)
        return self._join(kept, moved), log_det.sum(axis=-1)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Computes `x` and `log|det J(y)|`."""
        self._check_inverse_input_shape(y)
        kept, moved = self._halves(y)
        moved, log_det = self._conditioner(kept).inverse_and_log_det(moved)
        return self._join(kept, moved), log_det.sum(axis=-1)


def policy_distribution(mean: Array, log_std: Array, bound: float | None) -> distrax.Distribution:
    """A Gaussian, or a Gaussian squashed into `(-bound, bound)`.

    Densities are those of the action itself, in its own units. To have the log-density of a sample
    use `sample_and_log_prob(seed=key)`, which is exact everywhere; `log_prob` of a squashed action
    has to recover the Gaussian's value from the action, which rounding prevents close to the bound.

    Args:
      mean: `[..., size]`, of the Gaussian.
      log_std: `[..., size]`, logarithm of the Gaussian's standard deviations.
      bound: None for the Gaussian itself, else actions are `bound * tanh(gaussian)`
        (Haarnoja et al. 2018, appendix C).

    Returns:
      A distribution over `[size]` with batch axes `[...]`.
    """
    gaussian = distrax.MultivariateNormalDiag(mean, jnp.exp(log_std))
    if bound is None:
        return gaussian
    return distrax.Transformed(gaussian, distrax.Block(ScaledTanh(bound), ndims=1))


def policy_mode(mean: Array, bound: float | None) -> Array:
    """The deterministic action `[..., size]`: the Gaussian's mean, squashed if there is a bound."""
    return mean if bound is None else bound * jnp.tanh(mean)


def mixture_distribution(
    logits: Array, mean: Array, log_std: Array, bound: float | None
) -> distrax.Distribution:
    """A mixture of Gaussians over `[size]`, or one squashed into `(-bound, bound)`.

    Args:
      logits: `[..., components]`, unnormalised log-weights.
      mean: `[..., components, size]`.
      log_std: `[..., components, size]`.
      bound: as for `policy_distribution`.
    """
    mixture = distrax.MixtureSameFamily(
        distrax.Categorical(logits=logits),
        distrax.MultivariateNormalDiag(mean, jnp.exp(log_std)),
    )
    if bound is None:
        return mixture
    return distrax.Transformed(mixture, distrax.Block(ScaledTanh(bound), ndims=1))


def gaussian_divergence(
    mean: Array, log_std: Array, other_mean: Array, other_log_std: Array
) -> Array:
    """`KL(N(mean, std) || N(other_mean, other_std))` of diagonal Gaussians, summed, in nats.

    Args:
      mean: `[..., size]`, and so are the others.
      log_std: logarithm of the standard deviations.
      other_mean: of the second Gaussian.
      other_log_std: of the second Gaussian.

    Returns:
      `[...]`.
    """
    difference = log_std - other_log_std
    distance = (mean - other_mean) * jnp.exp(-other_log_std)
    each = 0.5 * (jnp.exp(2.0 * difference) + jnp.square(distance) - 1.0) - difference
    return each.sum(axis=-1)


def gaussian_part(distribution: Any) -> tuple[Array, Array, float | None] | None:
    """Mean, log standard deviation and bound of what `policy_distribution` made; else None."""
    bound = None
    # a Gaussian of distrax's is itself a transformed distribution
    if type(distribution) is distrax.Transformed:
        block = distribution.bijector
        if not isinstance(block, distrax.Block) or not isinstance(block.bijector, ScaledTanh):
            return None
        bound, distribution = block.bijector.bound, distribution.distribution
    if not isinstance(distribution, distrax.MultivariateNormalDiag):
        return None
    return distribution.loc, jnp.log(distribution.scale_diag), bound


def divergence(
    distribution: Any, prior: Any, key: Array, *, samples: int | None
) -> tuple[Array, Array]:
    """A sample, and `KL(distribution || prior)` in nats.

    Both squashed by the same tanh have the divergence of the Gaussians inside, in closed form and
    in samples.

    Args:
      distribution: a Gaussian, squashed or not, with batch axes `[...]`.
      prior: anything with a `log_prob`.
      key: consumed.
      samples: estimate the divergence with so many, differentiably; None for the closed form, and
        for `DIVERGENCE_SAMPLES` where there is none.

    Returns:
      A sample `[..., size]`, differentiable too, and the divergence `[...]`.
    """
    ours, theirs = gaussian_part(distribution), gaussian_part(prior)
    if ours is not None and theirs is not None and ours[2] == theirs[2]:
        if samples is None:
            return distribution.sample(seed=key), gaussian_divergence(*ours[:2], *theirs[:2])
        # inside of the tanh, which need not be undone there
        inner, other = (policy_distribution(*part[:2], None) for part in (ours, theirs))
        x, log_prob = inner.sample_and_log_prob(seed=key, sample_shape=(samples,))
        return policy_mode(x[0], ours[2]), (log_prob - other.log_prob(x)).mean(axis=0)
    samples = samples or DIVERGENCE_SAMPLES
    x, log_prob = distribution.sample_and_log_prob(seed=key, sample_shape=(samples,))
    # a flow's batch has to be its features'
    return x[0], (log_prob - jax.vmap(prior.log_prob)(x)).mean(axis=0)


def default_target_entropy(size: int, bound: float | None) -> float:
    """Target entropy of a policy over `size` dimensions, in nats and in the action's own measure.

    Unbounded actions are latents whose prior is `N(0, I)`: the target is the entropy of
    `N(0, 0.5^2 I)`, half the prior's spread. Bounded actions take the customary `-size`
    (Haarnoja et al. 2018), which was made for the cube `[-1, 1]^size`, moved to the cube of the
    given bound by adding `size * log(bound)`.
    """
    if bound is None:
        variance = TARGET_LATENT_STD**2
        return 0.5 * size * math.log(2.0 * math.pi * math.e * variance)
    return -size + size * math.log(bound)
