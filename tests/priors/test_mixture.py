"""The mixture prior: densities by hand, samples with their moments, learning two modes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.mixture import MixtureConfig, make_mixture
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import ActionSpec, ArraySpec, Prior

SPEC = {"x": ArraySpec((1,))}


def make_linear(
    weights: list[float], means: list[float], stds: list[float], bound: float | None = None
) -> tuple[Prior, Any]:
    """One-dimensional components that do not look at the observation."""
    count = len(weights)
    prior = make_mixture(MixtureConfig(components=count, widths=()), SPEC, ActionSpec(1, bound))
    bias = [math.log(w) for w in weights]
    for mean, std in zip(means, stds, strict=True):
        bias += [mean, math.log(std)]
    kernel = jnp.zeros((1, 3 * count))
    network = {"params": {"Dense_0": {"kernel": kernel, "bias": jnp.array(bias)}}}
    return prior, {"network": network, "places": jnp.zeros((count, 1))}


def density(x: float, mean: float, std: float) -> float:
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def test_the_density_by_hand() -> None:
    prior, params = make_linear([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0])
    features = prior.encode(params, {"x": jnp.zeros((3, 1))})
    action = jnp.array([[-1.0], [0.5], [3.0]])
    expected = [
        math.log(0.25 * density(x, -1.0, 0.5) + 0.75 * density(x, 2.0, 1.0))
        for x in (-1.0, 0.5, 3.0)
    ]
    np.testing.assert_allclose(prior.log_prob(params, action, features), expected, rtol=1e-5)
    found = prior.distribution(params, features).log_prob(action)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_standard_noise_decodes_to_samples() -> None:
    """A quarter near -1; mean 1.25; variance `.25 (.25 + 1) + .75 (1 + 4) - 1.25^2 = 2.5`."""
    prior, params = make_linear([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0])
    features = prior.encode(params, {"x": jnp.zeros((20_000, 1))})
    latent = jax.random.normal(jax.random.key(0), (20_000, prior.latent_size))
    decoded = np.asarray(prior.decode(params, latent, features))
    sampled = np.asarray(prior.distribution(params, features).sample(seed=jax.random.key(1)))
    for action in (decoded, sampled):
        assert action.mean() == pytest.approx(1.25, abs=4 * math.sqrt(2.5 / 20_000))
        assert action.var() == pytest.approx(2.5, abs=0.15)
    # the first latent chooses: below the normal's 25 % quantile it is the first component
    first = latent[:, 0] < -0.6744898
    np.testing.assert_allclose(
        decoded[first, 0], -1.0 + 0.5 * np.asarray(latent)[first, 1], rtol=1e-5, atol=1e-6
    )


def test_bounded_actions_are_squashed_by_hand() -> None:
    """With `a = 2 tanh(x)` the density is that of `x` over the slope `2 - a^2 / 2`."""
    prior, params = make_linear([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0], bound=2.0)
    features = prior.encode(params, {"x": jnp.zeros((3, 1))})
    inner = (-1.0, 0.5, 3.0)
    action = jnp.array([[2.0 * math.tanh(x)] for x in inner])
    expected = [
        math.log(0.25 * density(x, -1.0, 0.5) + 0.75 * density(x, 2.0, 1.0))
        - math.log(2.0 * (1.0 - math.tanh(x) ** 2))
        for x in inner
    ]
    np.testing.assert_allclose(prior.log_prob(params, action, features), expected, rtol=1e-4)
    # one at the bound counts as one at 0.999 of it
    at_bound, within = (
        prior.log_prob(params, jnp.full((1, 1), a), features[:1]) for a in (2.0, 1.998)
    )
    np.testing.assert_allclose(at_bound, within, rtol=1e-4)
    # the normal's 90 % quantile chooses the second component, at 2 + 1 * 0.3
    decoded = prior.decode(params, jnp.array([[1.2815516, 0.3]]), features[:1])
    np.testing.assert_allclose(decoded, [[2.0 * math.tanh(2.3)]], rtol=1e-5)
    # the density is one in all
    grid = jnp.linspace(-1.998, 1.998, 20_001)[:, None]
    everywhere = jnp.broadcast_to(features[:1], (20_001, features.shape[-1]))
    total = jnp.exp(prior.log_prob(params, grid, everywhere)).mean() * 3.996
    # what lies beyond: x above atanh(0.999) = 3.8 is 0.75 * P(N > 1.8) = 0.027
    np.testing.assert_allclose(total, 1.0 - 0.75 * 0.03593, atol=2e-3)


def test_it_learns_both_of_two_modes() -> None:
    """Half of the actions are at 1, half at -1, whatever is seen; a Gaussian would sit between."""
    rng = np.random.default_rng(0)
    action = rng.choice([-1.0, 1.0], (4000, 1)) + 0.1 * rng.normal(size=(4000, 1))
    data = {"observation": {"x": jnp.zeros((4000, 1))}, "action": jnp.asarray(action, jnp.float32)}
    train, validation = (
        jax.tree.map(lambda x, rows=rows: x[rows], data)
        for rows in (slice(3600), slice(3600, None))
    )
    prior = make_mixture(MixtureConfig(components=4, widths=(16,)), SPEC, ActionSpec(1, None))
    config = FitConfig(steps=600, steps_per_epoch=300, batch_size=256, learning_rate=1e-2)
    with jax.numpy_dtype_promotion("standard"):  # which Adam needs
        state = fit(prior, config, train, validation, jax.random.key(0))
    # the entropy of the data: log 2 + log(0.1 sqrt(2 pi e))
    assert float(state.best_loss) == pytest.approx(math.log(2) + math.log(0.1) + 1.4189, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "bound", "message"),
    [
        ({"components": 0}, None, "components=0 should be at least 1"),
        ({"observation": ("y",)}, None, "the mixture is to see y"),
        ({"widths": (0,)}, None, "widths=.* should be at least 1"),
    ],
)
def test_a_config_that_makes_no_sense(
    changes: dict[str, Any], bound: float | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_mixture(MixtureConfig(**changes), SPEC, ActionSpec(2, bound))
