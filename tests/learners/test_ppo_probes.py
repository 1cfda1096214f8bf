"""Proximal policy optimisation learns the known values of the probe environments."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.learner import OnPolicyLearner
from behavior_priors.learners.ppo import PPOState, make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.networks import MLP
from behavior_priors.types import ActionSpec, ArraySpec, Env, State, Transition
from tests.learners.compiled import quick_jit

DISCOUNT = 0.8
CONFIG = PPOConfig(
    policy_widths=(32,),
    value_widths=(32,),
    policy_learning_rate=3e-3,
    value_learning_rate=1e-2,
    discount=DISCOUNT,
    gae_lambda=0.9,
    epochs=4,
    minibatches=4,
    # Narrower policies learn nothing more here, but move by many of their deviations in a step.
    min_log_std=-2.0,
)
STEPS, ENVS, ROUNDS = 8, 64, 60


@functools.cache
def compiled() -> OnPolicyLearner:
    """All probes look alike from outside, so that one compiled update serves them."""
    learner = make_ppo(CONFIG, {"cue": ArraySpec((1,))}, ActionSpec(1, 1.0))
    return learner._replace(
        init=quick_jit(learner.init),
        update=quick_jit(learner.update),
    )


def make_collect(env: Env, learner: OnPolicyLearner):
    """`(policy, states, key) -> (states, transitions)` of a round."""

    @quick_jit
    def collect(policy, states: State, key: jax.Array):
        def body(states: State, key: jax.Array):
            action, notes = learner.act(policy, states.observation, key, explore=True)
            states, transition, _ = jax.vmap(lambda s, a: step_and_reset(env, s, a))(states, action)
            return states, transition._replace(notes=notes)

        return jax.lax.scan(body, states, jax.random.split(key, STEPS))

    return collect


@functools.cache
def learn(make: Callable[[], probes.Probe]) -> tuple[PPOState, Transition]:
    """What it has learned from a probe, and its last round."""
    probe, learner = make(), compiled()
    collect = make_collect(probe.env, learner)
    states = quick_jit(lambda key: reset_many(probe.env, key, ENVS))(jax.random.key(1))
    state = learner.init(jax.random.key(0))
    for key in jax.random.split(jax.random.key(2), ROUNDS):
        states, transitions = collect(state.policy, states, key)
        state, _ = learner.update(state, transitions)
    return state, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)


def values(state: PPOState, transitions: Transition) -> np.ndarray:
    network = MLP((*CONFIG.value_widths, 1))
    return np.asarray(network.apply(state.value, transitions.observation["cue"]))[:, 0]


@pytest.mark.parametrize(
    "make", [probes.observed_reward, probes.delayed_reward, probes.time_limit, probes.deadline]
)
def test_learns_the_known_value(make):
    probe, (state, transitions) = make(), learn(make)
    known = jax.vmap(lambda o, a: probe.q_value(o, a, DISCOUNT))(
        transitions.observation, transitions.action
    )
    np.testing.assert_allclose(values(state, transitions), known, atol=0.1)


@pytest.mark.parametrize("make", [probes.rewarded_action, probes.cued_action])
def test_learns_the_best_action(make):
    probe, (state, transitions) = make(), learn(make)
    observation = transitions.observation
    chosen = compiled().act(state.policy, observation, jax.random.key(0), explore=False).action
    np.testing.assert_allclose(chosen, jax.vmap(probe.best_action)(observation), atol=0.1)
    # with less and less noise, which costs its variance
    np.testing.assert_allclose(transitions.reward.mean(), 1.0, atol=0.05)
    np.testing.assert_allclose(values(state, transitions), 1.0, atol=0.1)


def test_a_time_limit_is_worth_more_than_a_deadline_of_the_same_length():
    """`1 / (1 - 0.8) = 5` against `1 + 0.8 + 0.64 + 0.512 = 2.952` at the first step."""
    unending, transitions = learn(probes.time_limit)  # of 4 steps, as the deadline
    np.testing.assert_allclose(values(unending, transitions), 5.0, atol=0.1)

    ending, transitions = learn(probes.deadline)
    first = transitions.observation["cue"][:, 0] == 0.0
    np.testing.assert_allclose(values(ending, transitions)[first], 2.952, atol=0.1)
    assert jnp.sum(first) == ENVS * STEPS // 4
