"""Temporal-difference losses against numbers worked out by hand."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.objectives import td


def test_soft_bellman_target_by_hand():
    target = td.soft_bellman_target(
        r_t=jnp.array([1.0, -2.0, 0.5]),
        discount_t=jnp.array([0.9, 0.0, 0.5]),
        q_t=jnp.array([[3.0, 7.0, -4.0], [5.0, 6.0, -2.0]]),
        penalty_t=jnp.array([-1.0, 9.0, 2.0]),
        temperature=jnp.array(0.2),
    )
    # 1 + 0.9 (3 + 0.2), -2 + 0, 0.5 + 0.5 (-4 - 0.4)
    np.testing.assert_allclose(target, [3.88, -2.0, -1.7], rtol=1e-6)


def test_critic_loss_by_hand():
    q = jnp.array([[1.0, 2.0], [0.0, 5.0]])
    loss, gradient = jax.value_and_grad(td.critic_loss)(q, jnp.array([2.0, 2.0]))
    # Squared errors 1, 0 and 4, 9: half their sum over critics, a mean over two elements.
    np.testing.assert_allclose(loss, 3.5)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0], [-1.0, 1.5]])


def test_critic_loss_gives_each_critic_the_gradient_it_would_have_alone():
    q, target = jnp.array([[1.0, 2.0], [0.0, 5.0]]), jnp.array([2.0, 2.5])
    together = jax.grad(td.critic_loss)(q, target)
    alone = jax.grad(td.critic_loss)(q[1:], target)
    np.testing.assert_array_equal(together[1:], alone)


def test_critic_loss_holds_the_target():
    gradient = jax.grad(td.critic_loss, argnums=1)(jnp.ones((2, 3)), jnp.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))


def test_soft_policy_loss_by_hand():
    q = jnp.array([[1.0, 4.0], [2.0, -3.0]])
    log_prob, temperature = jnp.array([-1.0, 2.0]), jnp.array(0.5)
    gradient_fn = jax.value_and_grad(td.soft_policy_loss, argnums=(0, 1, 2))
    loss, gradients = gradient_fn(q, log_prob, temperature)
    # (0.5 * -1 - 1 + 0.5 * 2 + 3) / 2
    np.testing.assert_allclose(loss, 1.25)
    np.testing.assert_allclose(gradients[0], [[-0.5, 0.0], [0.0, -0.5]])
    np.testing.assert_allclose(gradients[1], [0.25, 0.25])
    np.testing.assert_allclose(gradients[2], 0.0)


def test_soft_policy_loss_is_least_at_the_boltzmann_policy():
    """For `Q(a) = -a^2 / 2` the best Gaussian is the Boltzmann policy `N(0, temperature)`."""
    temperature = jnp.array(0.3)
    noise = jax.random.normal(jax.random.key(0), (100_000,))

    def loss(mean: jax.Array, log_std: jax.Array) -> jax.Array:
        action = mean + jnp.exp(log_std) * noise
        log_prob = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2 * jnp.pi)
        return td.soft_policy_loss(-0.5 * jnp.square(action)[None], log_prob, temperature)

    best = jnp.zeros(()), 0.5 * jnp.log(temperature)
    gradient = jax.grad(loss, argnums=(0, 1))(*best)
    np.testing.assert_allclose(gradient, np.zeros(2), atol=5e-3)
    assert loss(*best) < loss(best[0] + 0.3, best[1])
    assert loss(*best) < loss(best[0], best[1] + 0.3)
    assert loss(*best) < loss(best[0], best[1] - 0.3)


@pytest.mark.parametrize(
    ("target_penalty", "loss", "slope"), [(1.0, 1.0, 0.5), (0.5, 0.0, 0.0), (-0.5, -2.0, -1.0)]
)
def test_temperature_loss_by_hand(target_penalty: float, loss: float, slope: float):
    # The penalty is (0 + 1) / 2.
    value, gradient = jax.value_and_grad(td.temperature_loss)(
        jnp.array(2.0), jnp.array([0.0, 1.0]), target_penalty
    )
    np.testing.assert_allclose(value, loss)
    np.testing.assert_allclose(gradient, slope)


def test_temperature_loss_holds_the_policy():
    gradient = jax.grad(td.temperature_loss, argnums=1)(jnp.array(2.0), jnp.ones(3), -1.0)
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_losses_under_transformations(transform):
    q, log_prob = jnp.array([[1.0, 4.0], [2.0, -3.0]]), jnp.array([-1.0, 2.0])
    np.testing.assert_allclose(
        transform(td.soft_policy_loss)(q, log_prob, jnp.array(0.5)), 1.25, rtol=1e-6
    )
    mapped = jax.vmap(transform(td.critic_loss))(
        jnp.stack([q, q + 1.0]), jnp.stack([log_prob, log_prob])
    )
    # Errors 2, 2, 3, -5 and 3, 3, 4, -4.
    np.testing.assert_allclose(mapped, [10.5, 12.5], rtol=1e-6)


def test_ranks_and_lengths_are_checked():
    one, two = jnp.ones(3), jnp.ones((2, 3))
    scalar = jnp.ones(())
    with pytest.raises(AssertionError):
        td.soft_bellman_target(two, one, two, one, scalar)
    with pytest.raises(AssertionError):
        td.soft_bellman_target(one, one, two, jnp.ones(4), scalar)
    with pytest.raises(AssertionError):
        td.critic_loss(one, one)
    with pytest.raises(AssertionError):
        td.critic_loss(two, jnp.ones(1))
    with pytest.raises(AssertionError):
        td.soft_policy_loss(two, jnp.ones((3, 1)), scalar)
    with pytest.raises(AssertionError):
        td.temperature_loss(one, one, -1.0)


def test_shapes():
    key = jax.random.key(0)
    q = jax.random.normal(key, (3, 5))
    chex.assert_shape(
        td.soft_bellman_target(jnp.ones(5), jnp.ones(5), q, jnp.ones(5), jnp.ones(())), (5,)
    )
    chex.assert_shape(td.critic_loss(q, jnp.ones(5)), ())
