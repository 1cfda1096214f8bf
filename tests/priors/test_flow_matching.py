"""Flow matching: integration against fields with known ends, its inverse, and what it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.flow_matching import FlowMatchingConfig, make_flow_matching
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import Params, Prior
from tests.priors.modes import ACTION, SPEC, demonstrations, shares

SMALL = FlowMatchingConfig(encoder_widths=(16,), widths=(32, 32))
FIT = FitConfig(steps=2000, steps_per_epoch=1000, batch_size=128, learning_rate=3e-3)


def make(**changes: Any) -> Prior:
    return make_flow_matching(dataclasses.replace(SMALL, **changes), SPEC, ACTION)


@pytest.fixture(scope="module")
def learned() -> Params:
    data = demonstrations(0, 2000), demonstrations(1, 200)
    with jax.numpy_dtype_promotion("standard"):  # which Adam needs
        return fit(make(), FIT, *data, jax.random.key(0)).best_params


def features_of(prior: Prior, params: Params, rows: int) -> jax.Array:
    return prior.encode(params, demonstrations(7, rows)["observation"])


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_a_velocity_that_is_the_same_everywhere_carries_everything_by_it(solver: str) -> None:
    prior = make(solver=solver, steps=3)
    zeros = jax.tree.map(jnp.zeros_like, jax.jit(prior.init)(jax.random.key(0)))
    zeros["velocity"]["params"]["Dense_2"]["bias"] = jnp.array([0.5, -2.0])
    latent, features = jnp.array([[1.0, 2.0], [3.0, 4.0]]), features_of(prior, zeros, 2)
    action = jax.jit(prior.decode)(zeros, latent, features)
    np.testing.assert_allclose(action, [[1.5, 0.0], [3.5, 2.0]], atol=1e-5)
    assert prior.invert is not None
    np.testing.assert_allclose(jax.jit(prior.invert)(zeros, action, features), latent, atol=1e-5)


def test_the_loss_is_the_error_of_the_velocity_of_a_straight_path() -> None:
    """A velocity of zero misses `a - z` by its square: what `a` has, and one a dimension."""
    prior = make()
    zeros = jax.tree.map(jnp.zeros_like, jax.jit(prior.init)(jax.random.key(0)))
    batch = demonstrations(3, 20_000)
    loss, metrics = jax.jit(prior.loss)(zeros, batch, jax.random.key(1), None)
    expected = float(jnp.square(batch["action"]).sum(-1).mean()) + 2.0
    assert float(loss) == pytest.approx(expected, rel=0.03)
    assert float(metrics["velocity_error"]) == float(loss)


def test_it_makes_both_modes(learned: Params) -> None:
    one, other = shares(make(), learned)
    assert min(one, other) > 0.3
    assert one + other > 0.85


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 3)])
def test_there_and_back_again(learned: Params, solver: str, order: int) -> None:
    """Twice the steps: half the error, or an eighth, as midpoints of both ways are nearly one."""
    latent = jax.random.normal(jax.random.key(2), (500, 2))

    def error(steps: int) -> float:
        prior = make(solver=solver, steps=steps)
        features = features_of(prior, learned, 500)
        assert prior.invert is not None

        @jax.jit
        def back(latent: jax.Array) -> jax.Array:
            return prior.invert(learned, prior.decode(learned, latent, features), features)

        return float(jnp.median(jnp.linalg.norm(back(latent) - latent, axis=-1)))

    coarse, fine = error(40), error(80)
    assert 2**order / 1.3 < coarse / fine < 2**order * 1.3
    assert fine < (0.15 if order == 1 else 5e-4)


def test_bad_configs() -> None:
    with pytest.raises(UserError, match="steps=0 should be at least 1"):
        make(steps=0)
    with pytest.raises(UserError, match="positon"):
        make(observation=("positon",))
