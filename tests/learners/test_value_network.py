"""Targets from a network of states' values, as the first soft actor-critic took them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.learners.sac import SACState, SACSteps, entropy_penalty
from behavior_priors.learners.sac_value import ValueSACConfig, make_steps_of
from behavior_priors.types import ActionSpec, ArraySpec, Transition

CONFIG = ValueSACConfig(
    policy_widths=(),
    critic_widths=(),
    critic_learning_rate=0.1,
    discount=0.5,
    target_rate=0.25,
    initial_temperature=0.5,
    fixed_temperature=True,
    reward_scale=2.0,
    value_network=True,
)
SPEC, ACTION = {"x": ArraySpec((1,))}, ActionSpec(1, None)


def make(**changes: Any) -> tuple[SACSteps, Any]:
    config = dataclasses.replace(CONFIG, **changes)
    steps = make_steps_of(config, SPEC, ACTION, entropy_penalty(config, ACTION))
    return steps, steps.init(jax.random.key(0))


def line(slope: float, bias: float) -> Any:
    return {"params": {"Dense_0": {"kernel": jnp.array([[slope]]), "bias": jnp.array([bias])}}}


def critics(*biases: float) -> Any:
    """Critics that give every action of every state the same value each."""
    return {
        "params": {
            f"Critic_{i}": {"Dense_0": {"kernel": jnp.zeros((2, 1)), "bias": jnp.array([bias])}}
            for i, bias in enumerate(biases)
        }
    }


def batch(x: list[float], reward: list[float], terminated: list[bool]) -> Transition:
    column = jnp.asarray(x)[:, None]
    ends = jnp.asarray(terminated)
    return Transition(
        {"x": column},
        jnp.zeros_like(column),
        jnp.asarray(reward),
        ends,
        ~ends,
        {"x": column + 1},
        jnp.ones(len(x), bool),
    )


def test_targets_are_values_of_where_a_step_led_and_no_entropy_of_theirs() -> None:
    steps, state = make()
    state = dataclasses.replace(state, target_critic=line(3.0, 1.0))
    target = steps.target(
        state, batch([1, 2, 3], [5, 6, 7], [False, True, False]), jax.random.key(0)
    )
    # 2 * 5 + (3 * 2 + 1) / 2, 2 * 6 and 2 * 7 + (3 * 4 + 1) / 2
    np.testing.assert_allclose(target, [13.5, 12.0, 20.5])


def test_values_are_the_lower_critic_s_and_the_entropy() -> None:
    """A standard Gaussian's entropy is 1.4189 nats, of which a half counts."""
    steps, state = make()
    state = dataclasses.replace(state, critic=critics(4.0, 3.0))
    states = batch([0.0] * 4096, [0.0] * 4096, [False] * 4096)

    def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
        assert steps.step_value is not None
        return steps.step_value(state, states, key)

    state, metrics = jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 300))
    bias = state.value["params"]["Dense_0"]["bias"][0]
    np.testing.assert_allclose(bias, 3.0 + 0.5 * 1.4189, atol=0.02)
    # what is left is half the variance of half a log-density, which is an eighth of one half
    np.testing.assert_allclose(metrics["value_loss"][-1], 0.5 * 0.25 * 0.5, atol=0.01)


def test_the_target_follows_the_network_of_values() -> None:
    steps, state = make()
    state = dataclasses.replace(state, value=line(4.0, 8.0), target_critic=line(0.0, 0.0))
    moved = steps.step_target(state).target_critic["params"]["Dense_0"]
    assert (float(moved["kernel"][0, 0]), float(moved["bias"][0])) == (1.0, 2.0)


def test_without_one_nothing_is_kept_for_it() -> None:
    steps, state = make(value_network=False)
    assert type(state) is SACState
    assert steps.step_value is None


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_decay_of_means_and_deviations(weight: float) -> None:
    """Of a policy whose mean is 3 and whose logarithm of the deviation is -1: 9 + 1."""
    steps, state = make(policy_decay=weight)
    _, free = make()
    head = {"kernel": jnp.zeros((1, 2)), "bias": jnp.array([3.0, -1.0])}
    policy = {"params": {**state.policy["params"], "MLP_0": {"Dense_0": head}}}
    assert jax.tree.structure(policy) == jax.tree.structure(free.policy)
    state = dataclasses.replace(state, policy=policy, critic=critics(4.0, 3.0))
    _, paid, metrics = steps.step_policy(
        state, batch([0.0] * 8, [0.0] * 8, [False] * 8), jax.random.key(2)
    )
    np.testing.assert_allclose(
        metrics["policy_loss"], 0.5 * paid.mean() - 3.0 + 10.0 * weight, rtol=1e-5
    )
