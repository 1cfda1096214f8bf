"""Soft actor-critic learns the known values of the probe environments."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.learner import Learner
from behavior_priors.learners.guided_sac import make_guided_sac
from behavior_priors.learners.kind import Guidance
from behavior_priors.learners.sac import SACConfig, SACState
from behavior_priors.learners.sac_value import ValueSACConfig
from behavior_priors.networks import Critics
from behavior_priors.replay import make_replay
from behavior_priors.types import ActionSpec, ArraySpec, Transition

DISCOUNT = 0.8
CONFIG = SACConfig(
    policy_widths=(32, 32),
    critic_widths=(32, 32),
    policy_learning_rate=3e-3,
    critic_learning_rate=3e-3,
    discount=DISCOUNT,
    target_rate=0.1,
    initial_temperature=1e-3,
    fixed_temperature=True,
)
STEPS, ENVS, UPDATES = 16, 64, 1000


def collect(env, key: jax.Array) -> Transition:
    """Transitions `[STEPS * ENVS]` of actions drawn uniformly, from `[-2, 2]` if unbounded."""
    bound = env.action_spec.bound or 2.0
    reset_key, action_key = jax.random.split(key)
    actions = jax.random.uniform(action_key, (STEPS, ENVS, 1), minval=-bound, maxval=bound)

    def body(state, action):
        state, transition, _ = jax.vmap(lambda s, a: step_and_reset(env, s, a))(state, action)
        return state, transition

    _, transitions = jax.lax.scan(body, reset_many(env, reset_key, ENVS), actions)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)


@functools.cache
def trainer(bound: float | None, *, value_network: bool = False) -> tuple[Learner, object]:
    """All probes look alike from outside, so that one compiled training serves them."""
    config = ValueSACConfig(**vars(CONFIG), value_network=value_network)
    learner = make_guided_sac(config, {"cue": ArraySpec((1,))}, ActionSpec(1, bound), Guidance())
    replay = make_replay(1, STEPS * ENVS)

    def train(key: jax.Array, transitions: Transition) -> SACState:
        example = jax.tree.map(lambda x: x[0], transitions)
        one_ring = jax.tree.map(lambda x: x[None], transitions)
        zero = jnp.zeros(1, jnp.int32)
        buffer = replay.insert(replay.init(example), zero, one_ring, one_ring.valid)
        init_key, sample_key = jax.random.split(key)

        def body(state: SACState, key: jax.Array):
            state, _ = learner.update(state, replay.sample(buffer, key, (64,)))
            return state, None

        state = learner.init(init_key)
        return jax.lax.scan(body, state, jax.random.split(sample_key, UPDATES))[0]

    return learner, jax.jit(train)


def learn(
    probe: probes.Probe, *, value_network: bool = False
) -> tuple[Learner, SACState, Transition]:
    learner, train = trainer(probe.env.action_spec.bound, value_network=value_network)
    collect_key, train_key = jax.random.split(jax.random.key(0))
    transitions = collect(probe.env, collect_key)
    return learner, train(train_key, transitions), transitions


def values(state: SACState, transitions: Transition) -> jax.Array:
    """What the critics `[2, batch]` think of the transitions' actions."""
    critics = Critics(CONFIG.num_critics, CONFIG.critic_widths, CONFIG.critic_layer_norm)
    return critics.apply(state.critic, transitions.observation["cue"], transitions.action)


SQUASHED = [
    probes.constant_reward,
    probes.observed_reward,
    probes.delayed_reward,
    probes.rewarded_action,
    probes.cued_action,
    probes.time_limit,
    probes.deadline,
]
# Unbounded policies learn only from probes of one step here: with recorded actions and almost no
# entropy, nothing holds them where the data is, and values bootstrapped from elsewhere run away.
UNSQUASHED = [probes.rewarded_action, probes.cued_action]


@pytest.mark.parametrize(
    ("make", "bound"),
    [(make, 1.0) for make in SQUASHED] + [(make, None) for make in UNSQUASHED],
)
def test_learns_the_known_value(make, bound: float | None):
    check_values(make(bound=bound))


# Where the only observation is 0, a network that sees no action can learn with its last bias only.
@pytest.mark.parametrize(
    "make", [probes.delayed_reward, probes.cued_action, probes.observed_reward]
)
def test_learns_the_known_value_by_a_network_of_values(make):
    check_values(make(bound=1.0), value_network=True)


def check_values(probe: probes.Probe, *, value_network: bool = False) -> None:
    learner, state, transitions = learn(probe, value_network=value_network)
    known = jax.vmap(lambda o, a: probe.q_value(o, a, DISCOUNT))(
        transitions.observation, transitions.action
    )
    np.testing.assert_allclose(values(state, transitions), np.stack([known, known]), atol=0.1)
    if probe.best_action is not None:
        chosen = learner.act(
            state.policy, transitions.observation, jax.random.key(0), explore=False
        ).action
        best = jax.vmap(probe.best_action)(transitions.observation)
        np.testing.assert_allclose(chosen, best, atol=0.1)


def test_a_time_limit_is_worth_more_than_a_deadline_of_the_same_length():
    """`1 / (1 - 0.8) = 5` against `1 + 0.8 + 0.64 + 0.512 = 2.952` at the first step."""
    _, unending, transitions = learn(probes.time_limit(episode_length=4))
    np.testing.assert_allclose(values(unending, transitions), 5.0, atol=0.1)

    _, ending, transitions = learn(probes.deadline(episode_length=4))
    first = transitions.observation["cue"][:, 0] == 0.0
    np.testing.assert_allclose(values(ending, transitions)[:, first], 2.952, atol=0.1)
    assert jnp.sum(first) == ENVS * STEPS // 4
