"""The Gaussian prior: densities by hand, optima in closed form, and the policy that it becomes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.types import ActionSpec, ArraySpec, Params, Prior
from tests.priors.flows import SPEC, make_observation, make_params, normal

HALF_LOG_2PI = 0.9189385
LINEAR = GaussianConfig(widths=())
"""Mean and log standard deviation are affine in the observation."""


def constant(prior: Prior, mean: list[float], log_std: list[float]) -> Params:
    """Parameters of a linear network that sees nothing."""
    params = jax.tree.map(jnp.zeros_like, prior.init(jax.random.key(0)))
    params["params"]["MLP_0"]["Dense_0"]["bias"] = jnp.array([*mean, *log_std])
    return params


def make(bound: float | None, **changes: Any) -> Prior:
    config = dataclasses.replace(LINEAR, **changes)
    return make_gaussian(config, {"x": ArraySpec((1,))}, ActionSpec(2, bound))


def test_a_gaussian_by_hand() -> None:
    prior = make(None)
    params = constant(prior, [1.0, -2.0], [math.log(2.0), math.log(0.5)])
    features = prior.encode(params, {"x": jnp.zeros(1)})
    action = prior.decode(params, jnp.array([1.5, 2.0]), features)
    np.testing.assert_allclose(action, [4.0, -1.0], rtol=1e-6)
    np.testing.assert_allclose(prior.invert(params, action, features), [1.5, 2.0], rtol=1e-6)
    # -(1.5^2 + 2^2) / 2 - log 2 - log 0.5 - log 2 pi
    expected = -3.125 - 2 * HALF_LOG_2PI
    assert prior.log_prob(params, action, features) == pytest.approx(expected, rel=1e-6)


def test_a_squashed_gaussian_by_hand() -> None:
    """At `a = 2 tanh(1)` in both dimensions, whose slope is `2 (1 - tanh(1)^2) = 0.8399486`."""
    prior = make(2.0)
    params = constant(prior, [1.0, 0.0], [0.0, math.log(2.0)])
    features = prior.encode(params, {"x": jnp.zeros(1)})
    action = prior.decode(params, jnp.array([0.0, 0.5]), features)
    np.testing.assert_allclose(action, [1.5231883, 1.5231883], rtol=1e-6)
    np.testing.assert_allclose(prior.invert(params, action, features), [0.0, 0.5], atol=1e-6)
    # -0.5^2 / 2 - log 2 - log 2 pi - 2 log 0.8399486
    expected = -0.125 - math.log(2.0) - 2 * HALF_LOG_2PI + 2 * 0.1744145
    assert prior.log_prob(params, action, features) == pytest.approx(expected, rel=1e-5)


def test_actions_at_the_bound_count_as_those_at_the_limit() -> None:
    prior = make(2.0, squash_limit=0.96)
    params = constant(prior, [0.0, 0.0], [0.0, 0.0])
    features = prior.encode(params, {"x": jnp.zeros(1)})
    at_bound = prior.log_prob(params, jnp.array([2.0, -2.0]), features)
    # atanh(0.96) = log(49) / 2 = 1.9459101; the slope there is 2 (1 - 0.96^2) = 0.1568
    expected = 2 * (-0.5 * 1.9459101**2 - HALF_LOG_2PI - math.log(0.1568))
    assert at_bound == pytest.approx(expected, rel=1e-5)
    latent = prior.invert(params, jnp.array([2.0, -2.0]), features)
    np.testing.assert_allclose(latent, [1.9459101, -1.9459101], rtol=1e-5)
    batch = {"observation": {"x": jnp.zeros((1, 1))}, "action": jnp.array([[2.0, -2.0]])}
    gradient = jax.grad(lambda p: prior.loss(p, batch, jax.random.key(0), None)[0])(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


def test_samples_of_the_distribution_are_decoded_noise() -> None:
    """Both ways to sample agree in law: the mean of 40 000 samples, to five standard errors."""
    prior = make_gaussian(GaussianConfig(widths=(16,)), SPEC, ActionSpec(3, 1.5))
    params = make_params(prior, 1)
    features = prior.encode(params, make_observation(0))
    sampled = prior.distribution(params, features).sample(
        seed=jax.random.key(0), sample_shape=(40_000,)
    )
    decoded = prior.decode(params, normal(0, 40_000, 3), features)
    error = 5 * 1.5 * math.sqrt(2 / 40_000)
    np.testing.assert_allclose(sampled.mean(0), decoded.mean(0), atol=error)
    np.testing.assert_allclose(sampled.std(0), decoded.std(0), atol=error)


@pytest.mark.parametrize(
    ("weight", "factor", "bound"),
    [(0.0, 1.0, None), (0.5, 2.0, None), (0.75, 4.0, None), (0.0, 1.0, 1.0)],
)
def test_the_loss_is_flat_at_the_optimum(weight: float, factor: float, bound: float | None) -> None:
    """`d/dlog(std)` of `log(std) + s^2 / (2 std^2) - w log(std)` is zero at `std^2 = s^2 / (1-w)`.

    Squashed data has the same optimum as what was squashed, without a bonus: the entropy of a
    squashed Gaussian has no such closed form.
    """
    gaussian = jnp.array([[1.0, -1.0], [0.0, 0.0]])  # mean 0.5 and -0.5, variance 0.25
    action = gaussian if bound is None else jnp.tanh(gaussian)
    batch = {"observation": {"x": jnp.zeros((2, 1))}, "action": action}
    prior = make(bound, entropy_weight=weight)
    log_std = 0.5 * math.log(0.25 * factor)

    @jax.jit
    def slopes(log_std: float) -> jax.Array:
        params = constant(prior, [0.5, -0.5], [log_std, log_std])
        gradient = jax.grad(lambda p: prior.loss(p, batch, jax.random.key(0), None)[0])(params)
        return gradient["params"]["MLP_0"]["Dense_0"]["bias"]

    np.testing.assert_allclose(slopes(log_std), 0.0, atol=2e-6)
    # off by a factor of e: (1 - w) (1 - exp(-2))
    np.testing.assert_allclose(slopes(log_std + 1.0)[2:], (1.0 - weight) * 0.8646647, rtol=1e-5)


def test_the_entropy_of_a_squashed_gaussian_is_the_integral() -> None:
    """One dimension, by a sum over a grid of actions: no sample, no tanh's derivative."""
    prior = make_gaussian(LINEAR, {"x": ArraySpec((1,))}, ActionSpec(1, 2.0))
    params = constant(prior, [0.3], [math.log(0.8)])
    action = np.linspace(-2.0, 2.0, 400_001)[1:-1]
    x = np.arctanh(action / 2.0)
    log_density = (
        -0.5 * ((x - 0.3) / 0.8) ** 2
        - math.log(0.8)
        - HALF_LOG_2PI
        - np.log(2.0 * (1.0 - (action / 2.0) ** 2))
    )
    entropy = -np.sum(np.exp(log_density) * log_density) * 1e-5
    rows = 40_000
    batch = {"observation": {"x": jnp.zeros((rows, 1))}, "action": jnp.zeros((rows, 1))}
    _, metrics = prior.loss(params, batch, jax.random.key(0), None)
    assert metrics["entropy"] == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation": ("y",)}, "observation: the Gaussian is to see y, but there is only x"),
        ({"widths": (0,)}, r"widths=\(0,\) should be at least 1"),
        ({"min_log_std": 3.0}, "min_log_std=3.0 should be at most max_log_std"),
        ({"mean_bound": 0.0}, "mean_bound=0.0 should be positive, or none"),
        ({"entropy_weight": 1.0}, "entropy_weight=1.0 should be at least 0 and below 1"),
        ({"entropy_weight": -0.1}, "entropy_weight=-0.1 should be at least 0 and below 1"),
        ({"squash_limit": 1.0}, "squash_limit=1.0 should be between 0 and 1"),
    ],
)
def test_bad_configs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(1.0, **changes)
