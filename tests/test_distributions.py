"""Densities against closed forms, numerical integrals and autodiff."""

from __future__ import annotations

import functools
import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.distributions import (
    HalfSplitCoupling,
    ScaledTanh,
    default_target_entropy,
    policy_distribution,
    policy_mode,
)

BOUNDS = (None, 1.0, 1.5)


@functools.partial(jax.jit, static_argnames="bound")
def _sample(
    mean: float, log_std: float, bound: float | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Samples `[4, 5, 7]` from the same noise for every policy, and their log-density, twice."""
    policy = policy_distribution(jnp.full((4, 5, 7), mean), jnp.full((7,), log_std), bound)
    action, log_prob = policy.sample_and_log_prob(seed=jax.random.key(1))
    return action, log_prob, policy.log_prob(action)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.0, 0.3)])
def test_densities_integrate_to_one(bound: float | None, mean: float, log_std: float) -> None:
    end = 12.0 if bound is None else bound
    edges = np.linspace(-end, end, 100_001)
    middles = jnp.asarray(0.5 * (edges[1:] + edges[:-1]), jnp.float32)
    log_prob = jax.jit(policy_distribution(jnp.array([mean]), jnp.array([log_std]), bound).log_prob)
    density = np.exp(np.asarray(log_prob(middles[:, None]), np.float64))
    assert density.sum() * (edges[1] - edges[0]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("bound", "action", "expected"),
    [
        # log N(0; 0, 1) = -0.9189385.
        (None, 0.0, -0.9189385),
        # One standard deviation off.
        (None, 1.0, -1.4189385),
        # The squashing stretches by 2 at the centre: -0.9189385 - log 2.
        (2.0, 0.0, -1.6120857),
        # u = atanh(0.5) = 0.5493061 and da/du = 2 (1 - 0.25) = 1.5:
        # -0.9189385 - 0.5493061^2 / 2 - log 1.5.
        (2.0, 1.0, -1.4752722),
    ],
)
def test_log_prob_by_hand(bound: float | None, action: float, expected: float) -> None:
    policy = policy_distribution(jnp.zeros(1), jnp.zeros(1), bound)
    assert policy.log_prob(jnp.array([action])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bound", BOUNDS)
def test_samples_come_with_their_own_log_prob(bound: float | None) -> None:
    action, log_prob, recovered = _sample(0.5, -0.2, bound)
    assert action.shape == (4, 5, 7)
    assert log_prob.shape == (4, 5)
    np.testing.assert_allclose(log_prob, recovered, rtol=1e-4, atol=1e-3)
    if bound is not None:
        assert jnp.abs(action).max() <= bound


@pytest.mark.parametrize("bound", [1.0, 1.5])
@pytest.mark.parametrize("mean", [-60.0, 60.0])
def test_squashed_log_prob_is_exact_far_beyond_saturation(bound: float, mean: float) -> None:
    u, log_prob_u, _ = _sample(mean, 0.0, None)
    action, log_prob, _ = _sample(mean, 0.0, bound)
    np.testing.assert_allclose(action, jnp.sign(u) * bound)
    # Out there 1 - tanh(u)^2 = 4 exp(-2 |u|) to float precision.
    log_slope = math.log(bound) + math.log(4.0) - 2.0 * jnp.abs(u)
    np.testing.assert_allclose(log_prob, log_prob_u - log_slope.sum(axis=-1), rtol=1e-6)


@pytest.mark.parametrize("bound", [1.0, 1.5])
def test_log_prob_and_its_gradient_are_finite_on_the_bound(bound: float) -> None:
    def log_prob(mean: jax.Array) -> jax.Array:
        return policy_distribution(mean, jnp.zeros(2), bound).log_prob(jnp.array([bound, -bound]))

    value, gradient = jax.jit(jax.value_and_grad(log_prob))(jnp.zeros(2))
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_gaussian_entropy_in_closed_form() -> None:
    log_std = jnp.array([0.0, 1.0, -2.0])
    policy = policy_distribution(jnp.ones(3), log_std, None)
    assert policy.entropy() == pytest.approx(3 * 1.4189385 - 1.0, abs=1e-5)


def test_scaling_the_bound_shifts_the_entropy_by_size_times_log_bound() -> None:
    _, narrow, _ = _sample(0.3, -0.2, 1.0)
    _, wide, _ = _sample(0.3, -0.2, 1.5)
    np.testing.assert_allclose(narrow - wide, 7 * math.log(1.5), atol=1e-4)
    shift = default_target_entropy(7, 1.5) - default_target_entropy(7, 1.0)
    assert shift == pytest.approx(7 * math.log(1.5))


def test_target_entropies_by_hand() -> None:
    # 7 / 2 * (log(2 pi e) - log 4) = 3.5 * (2.8378771 - 1.3862944).
    assert default_target_entropy(7, None) == pytest.approx(5.0805395, abs=1e-6)
    assert default_target_entropy(7, 1.0) == -7.0
    # -7 + 7 * 0.4054651.
    assert default_target_entropy(7, 1.5) == pytest.approx(-4.1617443, abs=1e-6)
    half = policy_distribution(jnp.zeros(7), jnp.full(7, math.log(0.5)), None)
    assert half.entropy() == pytest.approx(default_target_entropy(7, None), abs=1e-5)


def test_mode() -> None:
    mean = jnp.array([0.0, 0.5493061, -20.0])
    np.testing.assert_array_equal(policy_mode(mean, None), mean)
    np.testing.assert_allclose(policy_mode(mean, 2.0), [0.0, 1.0, -2.0], atol=1e-6)


@pytest.mark.parametrize("bound", [None, 1.5])
def test_samples_are_reparameterised(bound: float | None) -> None:
    def sample(mean: jax.Array) -> jax.Array:
        policy = policy_distribution(mean[None], jnp.zeros(1), bound)
        return policy.sample(seed=jax.random.key(3))[0]

    action, slope = jax.jit(jax.value_and_grad(sample))(jnp.float32(0.4))
    expected = 1.0 if bound is None else bound * (1.0 - (action / bound) ** 2)
    assert slope == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("rows", [100, 5000])
def test_squashed_densities_are_right_however_many_there_are(rows: int) -> None:
    """Compiled, against the formula in double precision; a large sum is compiled otherwise."""
    rng = np.random.default_rng(0)
    mean, log_std = rng.normal(size=(2, rows, 3))
    unit = np.clip(np.tanh(mean + rng.normal(size=mean.shape)), -0.99, 0.99)
    density = jax.jit(lambda m, s, a: policy_distribution(m, s, 2.0).log_prob(a))
    x = np.arctanh(unit)
    expected = -0.5 * np.square((x - mean) / np.exp(log_std)) - log_std - 0.5 * np.log(2 * np.pi)
    expected -= np.log(2.0) + np.log1p(unit) + np.log1p(-unit)
    inputs = (jnp.asarray(v, jnp.float32) for v in (mean, log_std, 2.0 * unit))
    np.testing.assert_allclose(density(*inputs), expected.sum(-1), rtol=1e-3, atol=1e-3)


def test_scaled_tanh_against_autodiff_and_its_inverse() -> None:
    bijector = ScaledTanh(1.5)
    x = jnp.linspace(-4.0, 4.0, 101)
    y, log_det = jax.jit(bijector.forward_and_log_det)(x)
    slope = jax.jit(jax.vmap(jax.grad(bijector.forward)))(x)
    np.testing.assert_allclose(log_det, np.log(slope), atol=1e-3)
    restored, inverse_log_det = jax.jit(bijector.inverse_and_log_det)(y)
    np.testing.assert_allclose(restored, x, atol=1e-3)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-3)


def test_scaled_tanh_clips_what_has_no_preimage() -> None:
    inverted = ScaledTanh(2.0, limit=0.5).inverse(jnp.array([0.5, 1.0, 1.9, 3.0, -3.0]))
    # atanh(0.25) and atanh(0.5).
    expected = [0.2554128, 0.5493061, 0.5493061, 0.5493061, -0.5493061]
    np.testing.assert_allclose(inverted, expected, atol=1e-6)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("size", "split"), [(2, 1), (5, 2), (8, 4)])
def test_coupling_against_autodiff_jacobians(size: int, split: int, swap: bool) -> None:
    kept = size - split if swap else split
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(2, kept, size - kept)).astype(np.float32)

    def affine(half: jax.Array) -> distrax.Bijector:
        return distrax.ScalarAffine(half @ weights[0], log_scale=jnp.tanh(half @ weights[1]))

    coupling = HalfSplitCoupling(split, affine, swap)
    x = rng.normal(size=(16, size)).astype(np.float32)
    y, log_det = jax.jit(coupling.forward_and_log_det)(x)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(coupling.forward)))(x)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-4)
    restored, inverse_log_det = jax.jit(coupling.inverse_and_log_det)(y)
    np.testing.assert_allclose(restored, x, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-5)
    unchanged = slice(split, None) if swap else slice(split)
    np.testing.assert_array_equal(y[:, unchanged], x[:, unchanged])


def test_coupling_composes_with_distrax() -> None:
    coupling = HalfSplitCoupling(
        1, lambda half: distrax.ScalarAffine(half, log_scale=half), swap=False
    )
    identity = distrax.Chain([distrax.Inverse(coupling), coupling])
    x = jnp.array([[0.5, -2.0], [1.0, 3.0]])
    y, log_det = jax.jit(identity.forward_and_log_det)(x)
    np.testing.assert_allclose(y, x, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)
    # x1 = 1, x2 = 3: y2 = 3 e + 1.
    assert coupling.forward(x)[1, 1] == pytest.approx(9.1548455, abs=1e-5)
