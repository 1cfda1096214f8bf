"""Probe environments: their values obey the Bellman equation of what they do."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.types import Transition

ALL = [
    probes.constant_reward,
    probes.observed_reward,
    probes.delayed_reward,
    probes.rewarded_action,
    probes.cued_action,
    probes.time_limit,
    probes.deadline,
]


STEPS, COUNT = 12, 8


@functools.cache
def experience(make: Callable[[], probes.Probe]) -> Transition:
    """Transitions `[STEPS, COUNT]` of actions drawn uniformly from `[-1, 1]`."""
    env = make().env
    reset_key, action_key = jax.random.split(jax.random.key(0))
    actions = jax.random.uniform(action_key, (STEPS, COUNT, 1), minval=-1.0)

    def body(state, action):
        state, transition, _ = jax.vmap(lambda s, a: step_and_reset(env, s, a))(state, action)
        return state, transition

    return jax.lax.scan(body, reset_many(env, reset_key, COUNT), actions)[1]


@pytest.mark.parametrize("make", ALL)
def test_values_obey_the_bellman_optimality_equation(make):
    """`q(s, a) = r + discount (1 - terminated) max_a' q(s', a')` on everything that happens."""
    probe, discount = make(), 0.8
    batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), experience(make))

    def residual(transition: Transition) -> jax.Array:
        best = probe.best_action or (lambda _: jnp.zeros(1))
        best_action = best(transition.next_observation)
        next_value = probe.q_value(transition.next_observation, best_action, discount)
        target = transition.reward + discount * ~transition.terminated * next_value
        return probe.q_value(transition.observation, transition.action, discount) - target

    with jax.numpy_dtype_promotion("standard"):
        residuals = jax.vmap(residual)(batch)
    np.testing.assert_allclose(residuals, np.zeros(STEPS * COUNT), atol=1e-5)


@pytest.mark.parametrize("make", [probes.rewarded_action, probes.cued_action])
def test_the_best_action_is_best(make):
    probe = make()
    actions = jnp.linspace(-1.0, 1.0, 201)[:, None]
    for cue in (-1.0, 1.0):
        observation = {"cue": jnp.array([cue])}
        values = jax.vmap(lambda a, o=observation: probe.q_value(o, a, 0.9))(actions)
        np.testing.assert_allclose(
            probe.best_action(observation), actions[values.argmax()], atol=1e-6
        )


@pytest.mark.parametrize(
    ("make", "length"),
    [(probes.constant_reward, 1), (probes.delayed_reward, 2), (probes.deadline, 4)],
)
def test_tasks_that_end_terminate(make, length: int):
    batch = experience(make)
    expected = np.arange(1, STEPS + 1) % length == 0
    np.testing.assert_array_equal(batch.terminated[:, 0], expected)
    assert not batch.truncated.any()


def test_the_time_limit_truncates():
    batch = experience(probes.time_limit)
    np.testing.assert_array_equal(batch.truncated[:, 0], np.arange(1, STEPS + 1) % 4 == 0)
    assert not batch.terminated.any()


def test_values_by_hand():
    observation, action = {"cue": jnp.array([0.5])}, jnp.array([0.0])
    # Half of four steps left: 1 + 0.5.
    assert probes.deadline().q_value(observation, action, 0.5) == 1.5
    assert probes.time_limit().q_value(observation, action, 0.5) == 2.0
    assert probes.rewarded_action().q_value(observation, action, 0.5) == 0.75


def test_both_cues_occur():
    cues = experience(probes.observed_reward).observation["cue"]
    assert set(np.unique(cues).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("make", ALL)
def test_specs_and_dtypes(make):
    probe = make(bound=None)
    assert probe.env.action_spec == (1, None)
    state = probe.env.reset(jax.random.key(0))
    stepped = probe.env.step(state, jnp.zeros(1))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), stepped
    )
    assert state.observation["cue"].shape == probe.env.observation_spec["cue"].shape
