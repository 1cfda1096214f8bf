"""Tiny environments whose optimal values are known in closed form.

Each isolates one thing that a value learner can get wrong, so the probe that fails says what is
broken (in the manner of the test environments of the public `rejax` library). Values are those of
the task itself: a learner that also rewards entropy has to be given a low temperature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import first_state
from behavior_priors.types import (
    ActionSpec,
    Array,
    ArraySpec,
    Env,
    Observation,
    PRNGKey,
    State,
)


class Probe(NamedTuple):
    """An environment, and what an optimal agent knows about it.

    Attributes:
      env: its observation is `cue` `[1]`, its action `[1]`.
      q_value: `(observation, action, discount) -> []`, the optimal action value.
      best_action: `observation -> [1]`, None where every action is as good.
    """

    env: Env
    q_value: Callable[[Observation, Array, float], Array]
    best_action: Callable[[Observation], Array] | None = None


def constant_reward(bound: float | None = 1.0) -> Probe:
    """One step, reward 1: can the critic learn a constant?"""
    env = _make_env("constant_reward", bound, reward=lambda *_: jnp.ones(()))
    return Probe(env, lambda *_: jnp.ones(()))


def observed_reward(bound: float | None = 1.0) -> Probe:
    """One step, the reward is the observation, -1 or 1: does the critic see the observation?"""
    env = _make_env("observed_reward", bound, reward=lambda cue, *_: cue)
    return Probe(env, lambda observation, *_: observation["cue"][0])


def delayed_reward(bound: float | None = 1.0) -> Probe:
    """Two steps, observed as 0 and 1, of which the last pays 1: is the future discounted?"""
    env = _make_env(
        "delayed_reward",
        bound,
        reward=lambda _cue, time, _action: time.astype(jnp.float32),
        observe=lambda _, time: time.astype(jnp.float32),
        episode_length=2,
    )

    def q_value(observation: Observation, _action: Array, discount: float) -> Array:
        return jnp.where(observation["cue"][0] > 0.5, 1.0, discount)

    return Probe(env, q_value)


def rewarded_action(bound: float | None = 1.0) -> Probe:
    """One step, reward `1 - (action - 1/2)^2`: does the policy climb the critic?"""
    env = _make_env(
        "rewarded_action",
        bound,
        reward=lambda _cue, _time, action: 1.0 - jnp.square(action[0] - 0.5),
        observe=lambda *_: jnp.zeros(()),
    )
    return Probe(
        env,
        q_value=lambda _observation, action, _discount: 1.0 - jnp.square(action[0] - 0.5),
        best_action=lambda _: jnp.full(1, 0.5),
    )


def cued_action(bound: float | None = 1.0) -> Probe:
    """One step, reward `1 - (action - cue / 2)^2`: does the policy use the observation?"""
    env = _make_env(
        "cued_action",
        bound,
        reward=lambda cue, _time, action: 1.0 - jnp.square(action[0] - 0.5 * cue),
    )

    def q_value(observation: Observation, action: Array, _discount: float) -> Array:
        return 1.0 - jnp.square(action - 0.5 * observation["cue"])[0]

    return Probe(env, q_value, best_action=lambda observation: 0.5 * observation["cue"])


def time_limit(episode_length: int = 4, bound: float | None = 1.0) -> Probe:
    """Reward 1 for ever, recorded in pieces: does the value reach past the end of a recording?

    The value is `1 / (1 - discount)` however short the pieces are.
    """
    env = _make_env(
        "time_limit",
        bound,
        reward=lambda *_: jnp.ones(()),
        observe=lambda *_: jnp.zeros(()),
        episode_length=episode_length,
        terminates=False,
    )
    return Probe(env, lambda _observation, _action, discount: jnp.asarray(1.0 / (1.0 - discount)))


def deadline(episode_length: int = 4, bound: float | None = 1.0) -> Probe:
    """Reward 1 until the task ends, which is observed approaching: does the value stop there?

    With `n` steps left the value is `(1 - discount^n) / (1 - discount)`. The observation is the
    share of the steps that is over.
    """
    env = _make_env(
        "deadline",
        bound,
        reward=lambda *_: jnp.ones(()),
        observe=lambda _, time: time.astype(jnp.float32) / episode_length,
        episode_length=episode_length,
    )

    def q_value(observation: Observation, _action: Array, discount: float) -> Array:
        steps_left = episode_length * (1.0 - observation["cue"][0])
        return (1.0 - discount**steps_left) / (1.0 - discount)

    return Probe(env, q_value)


def _observe_cue(cue: Array, _time: Array) -> Array:
    return cue


def _make_env(
    name: str,
    bound: float | None,
    reward: Callable[[Array, Array, Array], Array],
    observe: Callable[[Array, Array], Array] = _observe_cue,
    episode_length: int = 1,
    terminates: bool = True,
) -> Env:
    """An environment that draws a cue, -1 or 1, at its reset and counts its steps.

    Args:
      name: of the environment.
      bound: of the action, which has one dimension; None or at least 1/2.
      reward: `(cue, time, action) -> []`, of the action chosen at a time.
      observe: `(cue, time) -> []`.
      episode_length: number of steps.
      terminates: whether the last step ends the task or only the recording.
    """

    def observation(cue: Array, time: Array) -> Observation:
        return {"cue": observe(cue, time)[None]}

    def reset(key: PRNGKey) -> State:
        key, cue_key = jax.random.split(key)
        cue = jax.random.rademacher(cue_key, (), jnp.float32)
        return first_state(key, observation(cue, jnp.zeros((), jnp.int32)), cue)

    def step(state: State, action: Array) -> State:
        cue, time = state.simulation, state.time + 1
        is_last = time >= episode_length
        return state._replace(
            observation=observation(cue, time),
            reward=reward(cue, state.time, action),
            terminated=is_last & terminates,
            truncated=is_last & (not terminates),
            time=time,
        )

    return Env(
        name=f"probe/{name}",
        observation_spec={"cue": ArraySpec((1,))},
        action_spec=ActionSpec(1, bound),
        episode_length=episode_length,
        reset=reset,
        step=step,
    )
