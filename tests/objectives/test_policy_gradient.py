"""Advantages and policy-gradient losses against numbers worked out by hand."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.objectives import policy_gradient

NAN = float("nan")


def advantages(r_t, v_t=2.0, terminated=(), truncated=(), invalid=(), discount=0.5, trace=0.5):
    """Of one environment's steps, which end at the given times, after values of 1."""
    r_t = jnp.array(r_t)[:, None]

    def at(times) -> jax.Array:
        return jnp.isin(jnp.arange(len(r_t)), jnp.array(times, int))[:, None]

    return policy_gradient.generalized_advantage(
        r_t=r_t,
        v_tm1=jnp.ones_like(r_t),
        v_t=jnp.broadcast_to(jnp.array(v_t, jnp.float32), (len(r_t),))[:, None],
        terminated_t=at(terminated),
        truncated_t=at(truncated),
        valid_t=~at(invalid),
        discount=discount,
        trace=trace,
    )[:, 0]


def test_advantages_by_hand():
    # The errors are 1, 2, 3 and 4, because r + 0.5 * 2 - 1 = r; each weighs 0.25 a step earlier.
    np.testing.assert_allclose(advantages([1.0, 2.0, 3.0, 4.0]), [1.75, 3.0, 4.0, 4.0])


def test_a_truncation_bootstraps_and_nothing_flows_across():
    # 2 stays an error of 2, with 3 + 0.25 * 4 behind it that is another episode's
    given = advantages([1.0, 2.0, 3.0, 4.0], truncated=[1])
    np.testing.assert_allclose(given, [1.5, 2.0, 4.0, 4.0])


def test_a_truncation_bootstraps_from_its_own_terminal_observation():
    given = advantages([1.0, 2.0, 3.0, 4.0], v_t=[2.0, 8.0, 2.0, 2.0], truncated=[1])
    # 2 + 0.5 * 8 - 1 = 5, a quarter of which is seen a step before
    np.testing.assert_allclose(given, [2.25, 5.0, 4.0, 4.0])


@pytest.mark.parametrize("truncated", [[], [1]])
def test_a_termination_does_not_bootstrap_and_nothing_flows_across(truncated):
    given = advantages([1.0, 2.0, 3.0, 4.0], terminated=[1], truncated=truncated)
    # 2 - 1 = 1
    np.testing.assert_allclose(given, [1.25, 1.0, 4.0, 4.0])


def test_the_value_of_a_terminal_state_is_not_even_looked_at():
    given = advantages([1.0, 2.0], v_t=[2.0, NAN], terminated=[1])
    np.testing.assert_allclose(given, [1.25, 1.0])


@pytest.mark.parametrize("end", [{"truncated": [1]}, {}])
def test_a_step_that_diverged_teaches_nothing_and_spoils_nothing(end):
    given = advantages([1.0, NAN, 3.0, 4.0], v_t=[2.0, NAN, 2.0, 2.0], invalid=[1], **end)
    np.testing.assert_allclose(given, [1.0, 0.0, 4.0, 4.0])


def test_the_extremes_of_the_trace():
    np.testing.assert_allclose(advantages([1.0, 2.0, 3.0], trace=0.0), [1.0, 2.0, 3.0])
    # Returns 1 + 0.5 * (2 + 0.5 * (3 + 0.5 * 2)) = 3, 2 + 2 = 4 and 4, less values of 1.
    given = advantages([1.0, 2.0, 3.0], v_t=[1.0, 1.0, 2.0], trace=1.0)
    np.testing.assert_allclose(given, [2.0, 3.0, 3.0])


def test_environments_do_not_mix():
    rng = np.random.default_rng(0)
    numbers = [rng.normal(size=(5, 4)).astype(np.float32) for _ in range(3)]
    arguments = [jnp.array(x) for x in (*numbers, *(rng.random((3, 5, 4)) < 0.3))]
    estimate = functools.partial(policy_gradient.generalized_advantage, discount=0.9, trace=0.8)
    together = estimate(*arguments)
    # one column at a time
    alone = jax.vmap(lambda *x: estimate(*(y[:, None] for y in x))[:, 0], 1, 1)(*arguments)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_standardize_by_hand():
    given = policy_gradient.standardize(jnp.array([1.0, 3.0, NAN]), jnp.array([True, True, False]))
    np.testing.assert_allclose(given, [-1.0, 1.0, 0.0], rtol=1e-6)
    same = policy_gradient.standardize(jnp.full(3, 0.5), jnp.ones(3, bool))
    np.testing.assert_array_equal(same, np.zeros(3))


RATIO = jnp.array([1.5, 1.5, 0.5, 0.5, 1.1])
ADVANTAGE = jnp.array([2.0, -2.0, 2.0, -2.0, 1.0])


def test_clipped_surrogate_loss_by_hand():
    old = jnp.array([0.0, -1.0, 2.0, 0.5, 3.0])
    loss, gradient = jax.value_and_grad(policy_gradient.clipped_surrogate_loss)(
        old + jnp.log(RATIO), old, ADVANTAGE, jnp.ones(5, bool), 0.2
    )
    # min(3, 2.4), min(-3, -2.4), min(1, 1.6), min(-1, -1.6) and 1.1 add up to -0.1.
    np.testing.assert_allclose(loss, 0.02, atol=1e-6)
    # What has gone too far in the wanted direction, the first and the fourth, is left alone; the
    # others have the slope -ratio * advantage / 5.
    np.testing.assert_allclose(gradient, [0.0, 0.6, -0.2, 0.0, -0.22], atol=1e-6)


def test_clipped_surrogate_loss_leaves_out_what_is_not_valid():
    valid = jnp.array([True, False, False, False, True])
    loss, gradient = jax.value_and_grad(policy_gradient.clipped_surrogate_loss)(
        jnp.log(RATIO), jnp.zeros(5), ADVANTAGE, valid, 0.2
    )
    np.testing.assert_allclose(loss, -1.75, rtol=1e-6)  # (2.4 + 1.1) / 2
    np.testing.assert_allclose(gradient, [0.0, 0.0, 0.0, 0.0, -0.55], atol=1e-6)


def test_value_loss_by_hand():
    loss, gradient = jax.value_and_grad(policy_gradient.value_loss)(
        jnp.array([1.0, 2.0, 9.0]), jnp.array([3.0, 2.0, 0.0]), jnp.array([True, True, False])
    )
    np.testing.assert_allclose(loss, 1.0)  # half of (4 + 0) / 2
    np.testing.assert_allclose(gradient, [-1.0, 0.0, 0.0])


def test_policy_change_by_hand():
    valid = jnp.array([True, True, False])
    given = policy_gradient.policy_change(jnp.log(jnp.array([2.0, 0.5, 7.0])), jnp.zeros(3), valid)
    # (2 - 1 - log 2) and (0.5 - 1 + log 2)
    np.testing.assert_allclose(given, 0.25, rtol=1e-5)


def test_policy_change_estimates_the_divergence():
    """`KL(N(0, 1) || N(0.5, 1)) = 0.125`."""
    x = jax.random.normal(jax.random.key(0), (200_000,))
    old, new = -0.5 * jnp.square(x), -0.5 * jnp.square(x - 0.5)
    given = policy_gradient.policy_change(new, old, jnp.ones(x.shape, bool))
    np.testing.assert_allclose(given, 0.125, atol=3e-3)


def test_only_what_a_loss_is_of_has_a_gradient():
    valid, one = jnp.ones(3, bool), jnp.ones(3)
    held = jax.grad(policy_gradient.clipped_surrogate_loss, argnums=(1, 2))
    for gradient in held(one, one, one, valid, 0.2):
        np.testing.assert_array_equal(gradient, np.zeros(3))
    gradient = jax.grad(policy_gradient.value_loss, argnums=1)(one, 2.0 * one, valid)
    np.testing.assert_array_equal(gradient, np.zeros(3))


def test_nothing_valid_is_nothing_learned():
    none, one = jnp.zeros(3, bool), jnp.ones(3)
    loss = policy_gradient.clipped_surrogate_loss
    for value in (
        *jax.value_and_grad(loss)(one, one, one, none, 0.2),
        *jax.value_and_grad(policy_gradient.value_loss)(one, 2.0 * one, none),
        policy_gradient.standardize(one, none),
    ):
        np.testing.assert_array_equal(value, np.zeros_like(value))


def test_a_gaussian_that_is_too_wide_narrows():
    """The surrogate's gradient at ratio 1 is the policy gradient: here of `E[-a^2]`, -2 std^2."""
    a = jax.random.normal(jax.random.key(1), (200_000,))

    def loss(log_std: jax.Array) -> jax.Array:
        log_prob = -0.5 * jnp.square(a * jnp.exp(-log_std)) - log_std
        old = -0.5 * jnp.square(a)
        return policy_gradient.clipped_surrogate_loss(
            log_prob, old, -jnp.square(a), jnp.ones(a.shape, bool), 0.2
        )

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(jnp.zeros(())), 2.0, rtol=0.03)


def test_ranks_and_lengths_are_checked():
    one, two = jnp.ones(3), jnp.ones((2, 3))
    no, yes = jnp.zeros((2, 3), bool), jnp.ones(3, bool)
    with pytest.raises(AssertionError):
        policy_gradient.generalized_advantage(one, one, one, yes, yes, yes, 0.9, 0.9)
    with pytest.raises(AssertionError):
        policy_gradient.generalized_advantage(two, two, two[:, :1], no, no, ~no, 0.9, 0.9)
    with pytest.raises(AssertionError):
        policy_gradient.clipped_surrogate_loss(one, one, jnp.ones(4), yes, 0.2)
    with pytest.raises(AssertionError):
        policy_gradient.clipped_surrogate_loss(two, two, two, no, 0.2)
    with pytest.raises(AssertionError):
        policy_gradient.value_loss(one, jnp.ones(1), yes)
    with pytest.raises(AssertionError):
        policy_gradient.policy_change(two, one, yes)
    with pytest.raises(AssertionError):
        policy_gradient.standardize(two, no)
