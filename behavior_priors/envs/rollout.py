"""Whole episodes, many side by side, without resets: for data, evaluation, reports and videos."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.guard import check_step
from behavior_priors.types import Array, Env, Observation, PRNGKey, State

PolicyFn = Callable[[State, PRNGKey], Array]
"""`(state, key) -> action [size]` of one environment; the key is consumed."""


class Rollout(NamedTuple):
    """Episodes `E` of at most `T` steps; what follows an episode's end repeats its last state.

    Attributes:
      initial: the states `[E]` after the resets.
      final: the states `[E]` at the episodes' ends.
      observation: named arrays `[E, T + 1, ...]`.
      action: `[E, T, size]`.
      reward: `[E, T]`; 0 after the end, and where the simulation diverged.
      success: `[E, T]` bool, the condition after each step.
      length: `[E]` int32, steps until the end.
    """

    initial: State
    final: State
    observation: Observation
    action: Array
    reward: Array
    success: Array
    length: Array

    @property
    def final_success(self) -> Array:
        """`[E]` bool: the condition at each episode's end, in a simulation that still has one."""
        return self.final.success & ~self.final.diverged


def rollout(env: Env, policy: PolicyFn, key: PRNGKey, episodes: int) -> Rollout:
    """Runs episodes from fresh resets.

    Args:
      env: unbatched.
      policy: of one environment.
      key: consumed.
      episodes: how many; in rounds where the environment has a limit for those side by side.
    """
    if env.side_by_side is None or episodes <= env.side_by_side:
        return _at_once(env, policy, key, episodes)
    rounds = math.ceil(episodes / env.side_by_side)
    each = math.ceil(episodes / rounds)
    keys = jax.random.split(key, rounds)
    results = jax.lax.map(lambda k: _at_once(env, policy, k, each), keys)
    return jax.tree.map(lambda x: x.reshape(rounds * each, *x.shape[2:])[:episodes], results)


def _at_once(env: Env, policy: PolicyFn, key: PRNGKey, episodes: int) -> Rollout:
    reset_key, act_key = jax.random.split(key)
    keys = jax.random.split(act_key, env.episode_length)

    def act(state: State, key: PRNGKey) -> Array:
        return jax.vmap(policy)(state, jax.random.split(key, episodes))

    return rollout_from(env, reset_many(env, reset_key, episodes), act, keys)


def replay_actions(env: Env, initial: State, actions: Array) -> Rollout:
    """Executes given actions `[E, T, size]` from given states `[E]`."""
    return rollout_from(env, initial, lambda _, action: action, jnp.swapaxes(actions, 0, 1))


def rollout_from(
    env: Env, initial: State, act: Callable[[State, Array], Array], xs: Array
) -> Rollout:
    """Runs episodes from given states.

    A step with numbers that cannot be learned from diverged, see `guard`.

    Args:
      env: unbatched.
      initial: the states `[E]`.
      act: `(states [E], x) -> actions [E, size]`.
      xs: `[T, ...]`, an `x` for each step, such as a key.
    """

    def step_one(state: State, action: Array) -> State:
        return check_step(env, state, env.step(state, action))[0]

    def step(state: State, x: Array) -> tuple[State, tuple]:
        action = act(state, x)
        over = state.terminated | state.truncated
        stepped = jax.vmap(step_one)(state, action)
        after = jax.tree.map(lambda a, b: jnp.where(_expand(over, a), a, b), state, stepped)
        reward = jnp.where(over | after.diverged, 0.0, after.reward)
        return after, (action, after.observation, reward, after.success, ~over)

    final, (action, observation, reward, success, alive) = jax.lax.scan(step, initial, xs)

    def episodes_first(x: Array) -> Array:
        return jnp.swapaxes(x, 0, 1)

    return Rollout(
        initial=initial,
        final=final,
        observation=jax.tree.map(
            lambda first, rest: jnp.concatenate([first[:, None], episodes_first(rest)], axis=1),
            initial.observation,
            observation,
        ),
        action=episodes_first(action),
        reward=episodes_first(reward),
        success=episodes_first(success),
        length=alive.sum(0, dtype=jnp.int32),
    )


def _expand(condition: Array, like: Array) -> Array:
    return condition.reshape(condition.shape + (1,) * (like.ndim - condition.ndim))
