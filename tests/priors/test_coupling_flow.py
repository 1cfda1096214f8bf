"""Batch axes, padding and squashing, which all flows of couplings have."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.coupling_flow import CouplingFlowConfig
from tests.priors.flows import (
    BOUND,
    TINY,
    TINY_SPLINE,
    make_flow,
    make_observation,
    make_params,
    make_prior,
    normal,
)

FLOWS = pytest.mark.parametrize("config", [TINY, TINY_SPLINE], ids=["real_nvp", "spline"])


@FLOWS
def test_leading_axes(config: CouplingFlowConfig) -> None:
    prior = make_prior(config, 5)
    params = make_params(prior, 1)
    observation, z = make_observation(2, 3, 4), normal(3, 3, 4, 5)
    features = prior.encode(params, observation)
    action = prior.decode(params, z, features)
    assert action.shape == (3, 4, 5)
    assert prior.log_prob(params, action, features).shape == (3, 4)
    one = jax.tree.map(lambda x: x[1, 2], (observation, z, action))
    one_features = prior.encode(params, one[0])
    np.testing.assert_allclose(prior.decode(params, one[1], one_features), one[2], atol=1e-5)


@FLOWS
def test_latents_broadcast_against_features(config: CouplingFlowConfig) -> None:
    prior = make_prior(config, 5)
    params = make_params(prior, 1)
    z = normal(3, 6, 5)
    features = prior.encode(params, make_observation(2, 3))
    actions = prior.decode(params, z, features[:, None])
    assert actions.shape == (3, 6, 5)
    repeated = jnp.broadcast_to(features[2], (6, features.shape[-1]))
    np.testing.assert_allclose(actions[2], prior.decode(params, z, repeated), atol=1e-5)
    # One action under many observations.
    assert prior.log_prob(params, z[0], features).shape == (3,)


@FLOWS
@pytest.mark.parametrize("size", [1, 2, 7])
def test_padding(config: CouplingFlowConfig, size: int) -> None:
    config = dataclasses.replace(config, padding=2)
    prior = make_prior(config, size)
    assert (prior.latent_size, prior.action_size) == (size + 2, size)
    with pytest.raises(UserError, match=f"needs a prior with a log_prob; {prior.name} has none"):
        prior.require("log_prob", "this test")

    params = make_params(prior, 4)
    features = prior.encode(params, make_observation(0, 6))
    action = normal(1, 6, size)
    latent = prior.invert(params, action, features)
    assert latent.shape == (6, size + 2)
    np.testing.assert_allclose(prior.decode(params, latent, features), action, atol=1e-4)
    # Other dummy values would have come from other latents.
    assert not np.allclose(prior.invert(params, action + 0.1, features), latent)


@FLOWS
def test_squash_takes_actions_beyond_the_limit_to_be_at_it(config: CouplingFlowConfig) -> None:
    config = dataclasses.replace(config, squash=True, squash_limit=0.9)
    prior = make_prior(config, 3, BOUND)
    params = make_params(prior, 5)
    features = prior.encode(params, make_observation(0))
    limit = jnp.array([0.9 * BOUND, -0.9 * BOUND, 0.1])
    beyond = jnp.array([BOUND, -BOUND, 0.1])
    for function in (prior.log_prob, prior.invert):
        found = function(params, beyond, features)
        assert jnp.isfinite(found).all()
        np.testing.assert_allclose(found, function(params, limit, features), rtol=1e-5)


@FLOWS
def test_networks_run_once_for_value_and_likelihood(config: CouplingFlowConfig) -> None:
    prior = make_flow(config, 7)
    params = make_params(prior, 0)
    observation, action = make_observation(0, 5), normal(0, 5, 7)
    features = prior.encode(params, observation)

    def products(function: Any, *arguments: Any) -> int:
        return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")

    # One layer encodes. Each of two couplings has two.
    batch = {"observation": observation, "action": action}
    assert products(prior.encode, params, observation) == 1
    assert products(prior.decode, params, action, features) == 4
    assert products(prior.invert, params, action, features) == 4
    assert products(prior.log_prob, params, action, features) == 4
    assert products(prior.loss, params, batch, jax.random.key(0), None) == 5
