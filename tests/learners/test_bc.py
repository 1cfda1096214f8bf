"""Behavioural cloning: the Gaussian prior fitted to demonstrations, and the policy it becomes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import ActionSpec, ArraySpec
from tests.priors.flows import SPEC, make_observation, make_params


def test_fitting_recovers_a_linear_gaussian() -> None:
    """`a = 0.5 x - 0.25 + 0.2 noise`; with weight 0.75 the standard deviation is twice that."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 1)).astype(np.float32)
    noise = rng.normal(size=(6000, 1)).astype(np.float32)
    action = 0.5 * x - 0.25 + 0.2 * noise
    train, validation = (
        {"observation": {"x": jnp.asarray(x[rows])}, "action": jnp.asarray(action[rows])}
        for rows in (slice(0, 5000), slice(5000, None))
    )
    config = FitConfig(
        steps=600,
        steps_per_epoch=300,
        batch_size=256,
        learning_rate=2e-2,
        learning_rate_schedule="cosine",
    )
    for weight, std in ((0.0, 0.2), (0.75, 0.4)):
        prior = make_gaussian(
            GaussianConfig(widths=(), entropy_weight=weight),
            {"x": ArraySpec((1,))},
            ActionSpec(1, None),
        )
        state = fit(prior, config, train, validation, jax.random.key(0))
        head = state.best_params["params"]["MLP_0"]["Dense_0"]
        np.testing.assert_allclose(head["kernel"][0], [0.5, 0.0], atol=0.03)
        np.testing.assert_allclose(head["bias"], [-0.25, math.log(std)], atol=0.05)


@pytest.mark.parametrize("bound", [None, 1.5])
@pytest.mark.parametrize("mean_bound", [None, 2.0])
def test_its_parameters_are_a_policy_of_soft_actor_critic(
    bound: float | None, mean_bound: float | None
) -> None:
    names = ("pose", "gripper")
    limits: dict[str, Any] = {"min_log_std": -3.0, "max_log_std": 1.0, "mean_bound": mean_bound}
    limits["std_limit"] = "clip" if mean_bound is None else "tanh"
    action_spec = ActionSpec(3, bound)
    prior = make_gaussian(
        GaussianConfig(observation=names, widths=(16, 8), **limits), SPEC, action_spec
    )
    params = make_params(prior, 3)
    config = SACConfig(policy_observation=names, policy_widths=(16, 8), **limits)
    learner = make_sac(config, SPEC, action_spec, initial_policy=params)
    policy = learner.init(jax.random.key(0)).policy
    observation, key = make_observation(5, 32), jax.random.key(7)
    features = prior.encode(params, observation)
    mode = prior.decode(params, jnp.zeros(3), features)
    assert float(jnp.abs(mode).max()) > 0.1
    np.testing.assert_array_equal(learner.act(policy, observation, key, explore=False).action, mode)
    sample = prior.distribution(params, features).sample(seed=key)
    np.testing.assert_array_equal(
        learner.act(policy, observation, key, explore=True).action, sample
    )
