"""Products of Gaussians against numbers worked out by hand, and against densities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.objectives import context


def test_a_product_by_hand() -> None:
    """Precisions 2, 0.5 and, not counted, 4: 2.5 in all; mean (2 * 1 + 0.5 * -4) / 2.5 = 0."""
    mean, variance = context.product_of_gaussians(
        jnp.array([[1.0], [-4.0], [9.0]]),
        jnp.array([[0.5], [2.0], [0.25]]),
        jnp.array([True, True, False]),
    )
    np.testing.assert_allclose(mean, [0.0], atol=1e-7)
    np.testing.assert_allclose(variance, [0.4])


def test_its_density_is_the_product_of_densities_up_to_a_constant() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    means = jax.random.normal(keys[0], (6, 3))
    variances = jnp.exp(jax.random.normal(keys[1], (6, 3)))
    mean, variance = context.product_of_gaussians(means, variances, jnp.ones(6, bool))

    def log_density(z: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
        return -0.5 * (jnp.square(z - mean) / variance).sum()

    points = jax.random.normal(jax.random.key(1), (20, 3))
    one = jax.vmap(lambda z: log_density(z, mean, variance))(points)
    many = jax.vmap(lambda z: log_density(z[None], means, variances))(points)
    difference = np.asarray(one - many)
    np.testing.assert_allclose(difference, difference[0], rtol=1e-4)


def test_order_does_not_matter_and_what_does_not_count_neither() -> None:
    keys = jax.random.split(jax.random.key(2), 3)
    means = jax.random.normal(keys[0], (4, 8, 2))
    variances = jnp.exp(jax.random.normal(keys[1], (4, 8, 2)))
    counts = jnp.arange(8) < 5
    order = jax.random.permutation(keys[2], 8)
    spread = lambda counts: jnp.broadcast_to(counts, (4, 8))  # noqa: E731
    expected = context.product_of_gaussians(means, variances, spread(counts))
    shuffled = context.product_of_gaussians(
        means[:, order], variances[:, order], spread(counts[order])
    )
    short = context.product_of_gaussians(means[:, :5], variances[:, :5], jnp.ones((4, 5), bool))
    for other in (shuffled, short):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), expected, other)


def test_without_experience_it_is_the_prior_and_has_no_gradient() -> None:
    inputs = jnp.ones((3, 2)), jnp.full((3, 2), 0.5)
    counts = jnp.zeros(3, bool)
    mean, variance = context.product_of_gaussians(*inputs, counts)
    np.testing.assert_array_equal(mean, [0.0, 0.0])
    np.testing.assert_array_equal(variance, [1.0, 1.0])

    def total(mean: jax.Array, variance: jax.Array) -> jax.Array:
        return sum(x.sum() for x in context.product_of_gaussians(mean, variance, counts))

    for gradient in jax.grad(total, argnums=(0, 1))(*inputs):
        np.testing.assert_array_equal(gradient, np.zeros((3, 2)))


def test_variances_of_zero_do_no_harm() -> None:
    mean, variance = context.product_of_gaussians(
        jnp.array([[2.0], [4.0]]), jnp.zeros((2, 1)), jnp.ones(2, bool)
    )
    np.testing.assert_allclose(mean, [3.0])
    np.testing.assert_allclose(variance, [context.SMALLEST_VARIANCE / 2])


@pytest.mark.parametrize(
    ("mean", "variance", "expected"),
    # 1/2 (v + m^2 - 1 - log v), summed
    [([0.0, 0.0], [1.0, 1.0], 0.0), ([2.0], [1.0], 2.0), ([0.0, 1.0], [np.e, 1.0], np.e / 2 - 0.5)],
)
def test_divergences_by_hand(mean: list, variance: list, expected: float) -> None:
    divergence = context.divergence_from_standard(jnp.array(mean), jnp.array(variance))
    np.testing.assert_allclose(divergence, expected, rtol=1e-6, atol=1e-7)
