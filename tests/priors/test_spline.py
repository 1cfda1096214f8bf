"""Spline couplings against autodiff, against numbers by hand, at their ends, and learning."""

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
from behavior_priors.priors.spline import LEAST_SIZE, LEAST_SLOPE, SplineConfig, make_spline
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import ActionSpec, Params, Prior
from tests.priors import modes
from tests.priors.flows import (
    BOUND,
    HALF_LOG_2PI,
    SMALL_SPLINE,
    SPEC,
    TINY_SPLINE,
    check_against_autodiff_jacobians,
    identity_params,
    make_observation,
    make_params,
    make_prior,
    normal,
    total_probability,
)

SHAPES = {
    "default": SMALL_SPLINE,
    "tiny": TINY_SPLINE,
    "squashed": dataclasses.replace(TINY_SPLINE, squash=True, squash_limit=0.9999),
    "narrow": dataclasses.replace(TINY_SPLINE, couplings=3, bins=2, range=1.2),
}


@pytest.mark.parametrize(
    ("shape", "size", "spread"),
    [("default", 7, 0.5), ("tiny", 2, 1.0), ("squashed", 5, 0.5), ("narrow", 3, 1.5)],
)
def test_inverse_and_likelihood_against_autodiff_jacobians(
    shape: str, size: int, spread: float
) -> None:
    prior = make_prior(SHAPES[shape], size, BOUND)
    action = check_against_autodiff_jacobians(prior, size, spread)
    if SHAPES[shape].squash:
        assert jnp.abs(action).max() < BOUND
    if shape == "narrow":  # many are where nothing bends
        assert 0.2 < (jnp.abs(action) > 1.2).mean() < 0.5


@pytest.mark.parametrize("bins", [2, 100])
def test_starts_as_the_identity_with_a_standard_normal_likelihood(bins: int) -> None:
    prior = make_prior(dataclasses.replace(TINY_SPLINE, bins=bins), 7)
    params = prior.init(jax.random.key(0))
    features = prior.encode(params, make_observation(0, 64))
    z = 2.5 * normal(1, 64, 7)
    np.testing.assert_allclose(prior.decode(params, z, features), z, atol=1e-5)
    np.testing.assert_allclose(prior.invert(params, z, features), z, atol=1e-5)
    expected = -0.5 * (z**2).sum(-1) - 7 * HALF_LOG_2PI
    np.testing.assert_allclose(prior.log_prob(params, z, features), expected, rtol=1e-4)


def _numbers(heights: tuple[float, float], slope: float) -> list[float]:
    """A conditioner's numbers for two bins over `[-1, 1]`, both one wide."""
    least = LEAST_SIZE * 2.0 / 2
    raw = [math.log(height - least) for height in heights]
    # softplus(x + c) + least = slope, where c makes the slope at zero 1
    c = math.log(math.expm1(1.0 - LEAST_SLOPE))
    return [0.0, 0.0, *raw, math.log(math.expm1(slope - LEAST_SLOPE)) - c]


def test_two_bins_by_hand() -> None:
    """The knot between two bins at (0, 0.5) or (0, -0.5), with a slope of 3 there, 1 at the ends.

    Half-way through the first bin, at -0.5, where its height is h and the mean slope s = h / 1:
    `y = -1 + h (s / 4 + 1 / 4) / (s + (3 + 1 - 2 s) / 4)` and `dy/dx = s^2 (3 / 4 + s / 2 + 1 / 4)
    / (s + (3 + 1 - 2 s) / 4)^2` (Durkan et al. 2019, equations 4 and 5). For h = 1.5 they are
    -1 + 0.9375 / 1.75 = -13 / 28 and 3.9375 / 3.0625 = 9 / 7; for h = 0.5, -0.85 and 0.2.
    """
    config = dataclasses.replace(TINY_SPLINE, bins=2, range=1.0)
    prior = make_prior(config, 4)
    params = identity_params(prior)
    # the second half is moved by the first coupling
    params["conditioners"][0]["params"]["Dense_1"]["bias"] = jnp.array(
        _numbers((1.5, 0.5), 3.0) + _numbers((0.5, 1.5), 3.0)
    )
    features = prior.encode(params, make_observation(0))
    z = jnp.full(4, -0.5)
    action = jnp.array([-0.5, -0.5, -13 / 28, -0.85])
    np.testing.assert_allclose(prior.decode(params, z, features), action, atol=1e-6)
    np.testing.assert_allclose(prior.invert(params, action, features), z, atol=1e-6)
    # 4 log N(-0.5; 0, 1)
    expected = -4 * HALF_LOG_2PI - 0.5 - math.log(9 / 7) - math.log(0.2)
    assert prior.log_prob(params, action, features) == pytest.approx(expected, abs=1e-5)
    knot = prior.decode(params, jnp.zeros(4), features)
    np.testing.assert_allclose(knot, [0.0, 0.0, 0.5, -0.5], atol=1e-6)


@pytest.mark.parametrize("squash", [False, True])
def test_likelihood_integrates_to_one(squash: bool) -> None:
    config = dataclasses.replace(TINY_SPLINE, squash=squash, squash_limit=1 - 1e-6)
    total = total_probability(make_prior(config, 2), 1.0 if squash else 8.0)
    assert total == pytest.approx(1.0, abs=5e-3)


def test_nothing_is_moved_outside_of_the_range() -> None:
    prior = make_prior(TINY_SPLINE, 5)
    params = jax.tree.map(lambda x: 5.0 * x, make_params(prior, 3))
    features = prior.encode(params, make_observation(0, 4))
    z = jnp.array([[4.001] * 5, [-4.001] * 5, [50.0] * 5, [5.0, -1e6, 7.0, -4.5, 1e3]])
    inside = jnp.full((4, 5), 0.5)
    assert (jnp.abs(prior.decode(params, inside, features) - inside) > 0.01).any()
    for function in (prior.decode, prior.invert):
        np.testing.assert_allclose(function(params, z, features), z, rtol=1e-6)
    expected = -0.5 * (np.asarray(z, np.float64) ** 2).sum(-1) - 5 * HALF_LOG_2PI
    np.testing.assert_allclose(prior.log_prob(params, z, features), expected, rtol=1e-5)


@pytest.mark.parametrize("squash", [False, True])
def test_likelihoods_and_gradients_are_finite_at_every_end(squash: bool) -> None:
    """Far outside of the range, at its ends and between, at the squash limit and at the bound."""
    prior = make_prior(dataclasses.replace(TINY_SPLINE, squash=squash), 3, BOUND)
    ends = [0.0, 1.0, 4.0, math.nextafter(4.0, 5.0), 0.999 * BOUND, BOUND, 1e4]
    action = jnp.asarray([[sign * end] * 3 for end in ends for sign in (1, -1)], jnp.float32)
    observation = make_observation(0, len(action))

    @jax.jit
    def differentiate(params: Params, action: jax.Array) -> Any:
        def mean(params: Params, action: jax.Array) -> tuple[jax.Array, jax.Array]:
            log_prob = prior.log_prob(params, action, prior.encode(params, observation))
            return log_prob.mean(), log_prob

        return jax.grad(mean, argnums=(0, 1), has_aux=True)(params, action)

    for scale in (0.0, 1.0, 20.0):
        params = jax.tree.map(lambda x, scale=scale: scale * x, make_params(prior, 1))
        for leaf in jax.tree.leaves(differentiate(params, action)):
            assert jnp.isfinite(leaf).all()


def test_likelihoods_do_not_depend_on_how_many_there_are() -> None:
    """XLA has compiled large sums of logarithms wrongly before."""
    prior = make_prior(TINY_SPLINE, 3)
    params, action = make_params(prior, 2), normal(4, 5000, 3)
    features = prior.encode(params, make_observation(5, 5000))
    few = [prior.log_prob(params, action[i : i + 50], features[i : i + 50]) for i in (0, 4950)]
    many = prior.log_prob(params, action, features)
    np.testing.assert_allclose(many[:50], few[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(many[-50:], few[1], rtol=1e-4, atol=1e-4)


def test_two_modes_are_far_likelier_than_under_a_gaussian() -> None:
    """Three nats an action, on demonstrations that were held out, and less than one from the best.

    The best there is has the entropy of the demonstrations, `log 2 + 2 log(0.05 sqrt(2 pi e))`.
    """
    data = modes.demonstrations(0, 2000), modes.demonstrations(1, 500)
    config = FitConfig(steps=300, steps_per_epoch=150, batch_size=128, learning_rate=5e-3)
    action_spec = ActionSpec(2, None)
    flow = SplineConfig(couplings=2, encoder_widths=(16,), conditioner_widths=(16,))

    def held_out(prior: Prior) -> float:
        with jax.numpy_dtype_promotion("standard"):  # which Adam needs
            return float(fit(prior, config, *data, jax.random.key(0)).best_loss)

    spline = held_out(make_spline(flow, modes.SPEC, action_spec))
    gaussian = held_out(make_gaussian(GaussianConfig(widths=(16, 16)), modes.SPEC, action_spec))
    entropy = math.log(2.0) + 2.0 * (math.log(0.05) + 0.5 + HALF_LOG_2PI)
    assert spline < gaussian - 3.0
    assert spline < entropy + 1.0


@pytest.mark.parametrize(
    ("changes", "action_spec", "message"),
    [
        ({"observation": ("camera",)}, ActionSpec(7), "the spline flow is to see camera"),
        ({"bins": 1}, ActionSpec(7), "bins=1 should be at least 2"),
        ({"range": 0.0}, ActionSpec(7), "range=0.0 should be at least 0.01"),
        ({"couplings": 1}, ActionSpec(7), "couplings=1 should be at least 2"),
        ({}, ActionSpec(1), "padding=0 should be 1 here: the spline flow .* has size 1"),
        ({"squash": True}, ActionSpec(7, None), "squash=True needs bounded actions"),
    ],
)
def test_bad_configs(changes: dict[str, Any], action_spec: ActionSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_spline(dataclasses.replace(SMALL_SPLINE, **changes), SPEC, action_spec)
