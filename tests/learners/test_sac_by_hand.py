"""Soft actor-critic of one linear layer: what an update does, worked out by hand."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, SACState, make_sac
from behavior_priors.types import ActionSpec, ArraySpec, Params, Transition
from tests.learners.compiled import compile_learner


def linear_critics(*rows: tuple[float, float, float]) -> Params:
    """Critics `Q(x, a) = w_x x + w_a a + b`, one from each `(w_x, w_a, b)`."""
    return {
        "params": {
            f"Critic_{i}": {
                "Dense_0": {"kernel": jnp.array([[row[0]], [row[1]]]), "bias": jnp.array([row[2]])}
            }
            for i, row in enumerate(rows)
        }
    }


@functools.cache
def make_linear(**changes) -> tuple[Learner, SACState]:
    """A learner without hidden layers: one observed number, one unbounded action."""
    config = SACConfig(policy_widths=(), critic_widths=(), **changes)
    learner = compile_learner(make_sac(config, {"x": ArraySpec((1,))}, ActionSpec(1, None)))
    return learner, learner.init(jax.random.key(0))


def linear_batch(x, action, reward, terminated, truncated, next_x) -> Transition:
    def column(values) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None]

    return Transition(
        observation={"x": column(x)},
        action=column(action),
        reward=np.asarray(reward, np.float32),
        terminated=np.asarray(terminated),
        truncated=np.asarray(truncated),
        next_observation={"x": column(next_x)},
        valid=np.ones(len(x), bool),
    )


def two_last_steps() -> Transition:
    return linear_batch(
        x=[1.0, 3.0],
        action=[0.5, -1.0],
        reward=[3.0, -1.0],
        terminated=[True, True],
        truncated=[False, False],
        next_x=[7.0, 7.0],
    )


def test_all_step_sizes_decay_where_they_are_asked_to() -> None:
    """The second of two updates is the same, but for the length of its steps: a tenth."""
    rates = {
        "critic_learning_rate": 0.1,
        "policy_learning_rate": 0.01,
        "temperature_learning_rate": 0.2,
    }
    batch = two_last_steps()

    def second_steps(**decay: int) -> Any:
        learner, state = make_linear(**rates, **decay)
        first, _ = learner.update(state, batch)
        second, _ = learner.update(first, batch)
        return [
            jax.tree.map(lambda a, b: b - a, getattr(first, name), getattr(second, name))
            for name in ("critic", "log_temperature", "policy")
        ]

    (*whole, policy), (*tenth, small) = second_steps(), second_steps(decay_updates=1)
    for step in jax.tree.leaves(whole):
        assert np.abs(step).max() > 1e-3
    chex.assert_trees_all_close(tenth, jax.tree.map(lambda x: 0.1 * x, whole), rtol=1e-4)
    # critics that have moved less want something else of the policy, but for the direction
    largest = [max(np.abs(x).max() for x in jax.tree.leaves(tree)) for tree in (policy, small)]
    assert largest[1] == pytest.approx(0.1 * largest[0], rel=0.1)


def test_one_update_by_hand():
    """Adam's first step is the learning rate against the gradient's sign: all signs are known."""
    learner, state = make_linear(
        critic_learning_rate=0.1,
        policy_learning_rate=0.01,
        temperature_learning_rate=0.2,
        target_rate=0.25,
        reward_scale=2.0,
        initial_temperature=0.5,
        target_entropy=100.0,
    )
    state = dataclasses.replace(
        state,
        critic=linear_critics((1.0, -0.05, 0.0), (0.0, -0.05, 1.0)),
        target_critic=linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 4.0)),
    )
    batch = two_last_steps()
    state, metrics = learner.update(state, batch)

    # Values are (0.975, 3.05) and (0.975, 1.05), the targets (6, -2), the errors therefore
    # (-5.025, 5.05) and (-5.025, 3.05).
    np.testing.assert_allclose(metrics["q_mean"], 1.5125, rtol=1e-6)
    np.testing.assert_allclose(metrics["critic_loss"], 21.3265625, rtol=1e-6)
    # Gradients by (w_x, w_a, b): (+, -, +) and (+, -, -).
    chex.assert_trees_all_close(
        state.critic, linear_critics((0.9, 0.05, -0.1), (-0.1, 0.05, 1.1)), atol=1e-6
    )
    chex.assert_trees_all_close(
        state.target_critic,
        linear_critics((0.225, 0.0125, -0.025), (-0.025, 0.0125, 3.275)),
        atol=1e-6,
    )
    # The critics just updated value a larger action more; those before it, a smaller one.
    head = state.policy["params"]["MLP_0"]["Dense_0"]
    np.testing.assert_allclose(head["bias"][0], 0.01, atol=1e-6)
    np.testing.assert_allclose(head["kernel"][0, 0], 0.01, atol=1e-6)
    # The entropy is below its target, so the temperature rises; the metric is the one used.
    np.testing.assert_allclose(state.log_temperature, math.log(0.5) + 0.2, atol=1e-5)
    np.testing.assert_allclose(metrics["temperature"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        metrics["temperature_loss"], math.log(0.5) * (metrics["entropy"] - 100.0), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["policy_std"], 1.0)
    assert int(state.step) == 1


FIXED = {
    "discount": 0.5,
    "fixed_temperature": True,
    "initial_temperature": 1e-9,
    "target_rate": 1.0,
    "target_period": 3,
}


def test_truncation_bootstraps_and_termination_does_not():
    learner, state = make_linear(**FIXED)
    state = dataclasses.replace(
        state,
        critic=linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        target_critic=linear_critics((2.0, 0.0, 0.0), (3.0, 0.0, 0.0)),
    )

    def loss(terminated: bool, truncated: bool) -> float:
        batch = linear_batch([0.0], [0.0], [1.0], [terminated], [truncated], [2.0])
        return float(learner.update(state, batch)[1]["critic_loss"])

    # Two critics at zero make the loss the squared target: 1 + 0.5 min(4, 6) = 3, or 1.
    np.testing.assert_allclose(loss(False, False), 9.0, rtol=1e-5)
    np.testing.assert_allclose(loss(False, True), 9.0, rtol=1e-5)
    np.testing.assert_allclose(loss(True, False), 1.0, rtol=1e-5)
    np.testing.assert_allclose(loss(True, True), 1.0, rtol=1e-5)


def test_the_entropy_of_the_next_action_is_part_of_the_target():
    learner, state = make_linear(discount=1.0, target_entropy=-100.0)
    zero = linear_critics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    state = dataclasses.replace(state, critic=zero, target_critic=zero)
    n = 50_000
    nothing, never = np.zeros(n, np.float32), np.zeros(n, bool)
    batch = linear_batch(nothing, nothing, nothing, never, never, nothing)
    after, metrics = learner.update(state, batch)
    # Targets are -log N(e; 0, 1) = e^2 / 2 + log(2 pi) / 2, whose mean is the entropy 1.4189 and
    # whose variance is 1/2; two critics at zero make the loss their mean square.
    np.testing.assert_allclose(metrics["critic_loss"], 1.4189**2 + 0.5, rtol=0.02)
    np.testing.assert_allclose(metrics["entropy"], 1.4189, rtol=0.01)
    # Which is more than was asked for.
    np.testing.assert_allclose(after.log_temperature, -3e-4, rtol=1e-3)


def test_a_fixed_temperature_stays():
    learner, before = make_linear(**FIXED)
    batch = linear_batch([0.0], [0.0], [1.0], [False], [False], [2.0])
    middle, _ = learner.update(before, batch)
    after, metrics = learner.update(middle, batch)
    assert float(after.log_temperature) == float(before.log_temperature)
    np.testing.assert_allclose(metrics["temperature"], 1e-9, rtol=1e-5)
    chex.assert_trees_all_equal(after.temperature_optimizer, before.temperature_optimizer)


@pytest.mark.parametrize("config", [FIXED, {"target_rate": 0.25, "target_period": 2}])
def test_the_target_moves_after_every_period(config):
    rate, period = config["target_rate"], config["target_period"]
    learner, state = make_linear(**config)
    chex.assert_trees_all_equal(state.target_critic, state.critic)
    for step in range(1, 7):
        before = jax.device_get(state.target_critic)
        batch = linear_batch([1.0], [0.5], [float(step)], [False], [False], [2.0])
        state, _ = learner.update(state, batch)
        if step % period:
            chex.assert_trees_all_equal(state.target_critic, before)
        elif rate == 1.0:
            chex.assert_trees_all_equal(state.target_critic, state.critic)
        else:
            moved = jax.tree.map(
                lambda t, c: t + rate * (c - t), before, jax.device_get(state.critic)
            )
            chex.assert_trees_all_close(state.target_critic, moved, atol=1e-6)
