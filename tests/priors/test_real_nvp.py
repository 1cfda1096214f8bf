"""The flow's likelihood against autodiff, against distrax alone, and against numbers by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.networks import MLP
from behavior_priors.priors.real_nvp import RealNVPConfig
from behavior_priors.types import Params
from tests.priors.flows import (
    BOUND,
    SHAPES,
    SMALL,
    TINY,
    check_against_autodiff_jacobians,
    identity_params,
    make_observation,
    make_params,
    make_prior,
    normal,
    stack,
    total_probability,
)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *(("default", size) for size in (2, 3, 5, 7, 8)),
        *(("squashed", size) for size in (3, 8)),
        *((shape, 7) for shape in ("unbounded", "raw observation", "two hidden layers")),
    ],
)
def test_inverse_and_likelihood_against_autodiff_jacobians(shape: str, size: int) -> None:
    action = check_against_autodiff_jacobians(make_prior(SHAPES[shape], size, BOUND), size)
    if SHAPES[shape].squash:
        assert jnp.abs(action).max() < BOUND


def _distrax_only(config: RealNVPConfig, params: Params, features: jax.Array, size: int) -> Any:
    """The same flow from distrax's own parts, each conditioner an MLP on the joined vector."""
    split = size // 2

    def coupling(layer: int) -> distrax.Bijector:
        swap = layer % 2 == 1
        network: Any = MLP((*config.conditioner_widths, 2 * (split if swap else size - split)))

        def conditioner(half: jax.Array) -> list[jax.Array]:
            outputs = network.apply(
                params["conditioners"][layer], jnp.concatenate([features, half], axis=-1)
            )
            return jnp.split(outputs, 2, axis=-1)

        def affine(outputs: list[jax.Array]) -> distrax.Bijector:
            shift, raw = outputs
            bound = config.log_scale_bound
            log_scale = raw if bound is None else bound * jnp.tanh(raw / bound)
            return distrax.ScalarAffine(shift, log_scale=log_scale)

        return distrax.SplitCoupling(split, 1, conditioner, affine, swap=swap)

    chain: list[distrax.Bijector] = [coupling(i) for i in reversed(range(config.couplings))]
    if config.squash:
        squash = distrax.Chain([distrax.ScalarAffine(0.0, BOUND), distrax.Tanh()])
        chain.insert(0, distrax.Block(squash, 1))
    return distrax.Transformed(
        distrax.MultivariateNormalDiag(jnp.zeros(size)), distrax.Chain(chain)
    )


@pytest.mark.parametrize(("shape", "size"), [("default", 5), ("unbounded", 8), ("squashed", 7)])
def test_equals_a_distrax_only_construction(shape: str, size: int) -> None:
    config = SHAPES[shape]
    prior = make_prior(config, size, BOUND)
    params = make_params(prior, 3)

    @jax.jit
    def both(observation: Any, z: jax.Array) -> tuple[Any, Any]:
        features = prior.encode(params, observation)
        peer = _distrax_only(config, params, features, size)
        action = prior.decode(params, z, features)
        ours = action, prior.invert(params, action, features)
        theirs = peer.bijector.forward(z), peer.bijector.inverse(action)
        return (*ours, prior.log_prob(params, action, features)), (*theirs, peer.log_prob(action))

    ours, theirs = both(make_observation(4, 32), 0.5 * normal(5, 32, size))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_zeros_start_as_the_identity_with_a_standard_normal_likelihood() -> None:
    prior = make_prior(dataclasses.replace(TINY, encoder_widths=()), 7)
    params = prior.init(jax.random.key(0))
    features = prior.encode(params, make_observation(0, 2))
    z = normal(1, 2, 7)
    np.testing.assert_array_equal(prior.decode(params, z, features), z)
    np.testing.assert_array_equal(prior.invert(params, z, features), z)
    actions = jnp.stack([jnp.zeros(7), jnp.ones(7)])
    # 7 log N(0; 0, 1), and 7 / 2 less.
    log_prob = prior.log_prob(params, actions, features)
    np.testing.assert_allclose(log_prob, [-6.4325697, -9.9325697], rtol=1e-6)
    batch = {"observation": make_observation(0, 2), "action": actions}
    loss, metrics = prior.loss(params, batch, jax.random.key(1), None)
    assert loss == pytest.approx(8.1825697, rel=1e-6)
    assert metrics == {"nll": loss}


def test_squash_is_a_scaled_tanh_with_its_jacobian() -> None:
    prior = make_prior(dataclasses.replace(TINY, squash=True), 2, BOUND)
    params = identity_params(prior)
    features = prior.encode(params, make_observation(0))
    action = prior.decode(params, jnp.array([0.0, 0.5493061]), features)
    np.testing.assert_allclose(action, [0.0, 0.75], atol=1e-6)
    # Base: 2 * -0.9189385 - 0.5493061^2 / 2. Slopes of 1.5 tanh: 1.5 and 1.5 * 0.75.
    expected = -1.8378770 - 0.1508686 - np.log(1.5) - np.log(1.125)
    assert prior.log_prob(params, action, features) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("squash", [False, True])
def test_likelihood_integrates_to_one(squash: bool) -> None:
    config = dataclasses.replace(TINY, squash=squash, squash_limit=1 - 1e-6)
    total = total_probability(make_prior(config, 2), 1.0 if squash else 12.0)
    assert total == pytest.approx(1.0, abs=5e-3)


def test_bounded_log_scales_bound_the_likelihood() -> None:
    """Every dimension is scaled twice, by at least exp(-1), and N(0, I) peaks at zero."""
    prior = make_prior(dataclasses.replace(SMALL, log_scale_bound=1.0), 8)
    params = identity_params(prior)
    for conditioner in params["conditioners"]:
        head = conditioner["params"]["Dense_1"]
        head["bias"] = head["bias"].at[4:].set(-100.0)
    features = prior.encode(params, make_observation(0))
    # 8 * 0.9189385 - 2 * 8.
    least = -8.648492
    assert prior.log_prob(params, jnp.zeros(8), features) == pytest.approx(-least, abs=1e-5)

    @jax.jit
    @jax.vmap
    def nll(params: Params) -> jax.Array:
        return -prior.log_prob(params, jnp.zeros(8), features)

    wild = stack([jax.tree.map(lambda x: 20.0 * x, make_params(prior, s)) for s in range(16)])
    assert (nll(wild) >= least - 1e-4).all()
