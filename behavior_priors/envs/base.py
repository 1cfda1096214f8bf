"""What happens at an episode's end, written once for every environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from behavior_priors.types import Array, Env, Observation, PRNGKey, State, Transition

AgainFn = Callable[[State], State]
"""Begins the next episode, given the state in which the last one ended."""


def step_and_reset(
    env: Env, state: State, action: Array, again: AgainFn | None = None
) -> tuple[State, Transition, State]:
    """One step of one environment; where that ends the episode, the next one begins.

    The transition's `next_observation` is where the step led, the terminal one included; only the
    returned state belongs to the new episode.

    Args:
      env: unbatched; `jax.vmap` this function over states and actions.
      state: as left by the last call.
      action: `[action_spec.size]`.
      again: what the next episode is, such as `same_task`; None for one of `env.reset`.

    Returns:
      The state to act in next, the experience made, and the state that the step led to, which is
      the first one unless the episode ended.
    """
    if env.step_then_reset is not None:
        stepped, following = env.step_then_reset(state, action)
    else:
        stepped = env.step(state, action)
        following = _reset_where_over(again or (lambda last: env.reset(last.key)), stepped)
    transition = Transition(
        observation=state.observation,
        action=action,
        reward=stepped.reward,
        terminated=stepped.terminated,
        truncated=stepped.truncated,
        next_observation=stepped.observation,
        valid=~stepped.diverged,
    )
    return following, transition, stepped


def same_task(env: Env) -> AgainFn:
    """Begins the next episode of the task that the last one was of."""
    tasks = env.tasks
    assert tasks is not None
    return lambda last: tasks.begin(tasks.of(last), last.key)


def _reset_where_over(again: AgainFn, state: State) -> State:
    """The state, or the next episode's first one where it is over.

    Of environments side by side none is reset unless one of them is over: `vmap` alone would run
    both branches of a condition in each step.
    """

    def reset_if_over(state: State) -> State:
        return select(state.terminated | state.truncated, again(state), state)

    go_on = custom_vmap(reset_if_over)

    @go_on.def_vmap
    def _(axis_size: int, is_batched: list[Any], states: State) -> tuple[State, Any]:
        def spread(x: Array, is_batched: bool) -> Array:
            return x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))

        states = jax.tree.map(spread, states, is_batched[0])
        over = states.terminated | states.truncated
        states = jax.lax.cond(over.any(), jax.vmap(reset_if_over), lambda x: x, states)
        return states, jax.tree.map(lambda _: True, states)

    return go_on(state)


def first_state(key: PRNGKey, observation: Observation, simulation: Any) -> State:
    """A state before its episode's first step: nothing has been earned, and nothing has ended."""
    never = jnp.zeros((), bool)
    return State(
        key=key,
        observation=observation,
        reward=jnp.zeros(()),
        terminated=never,
        truncated=never,
        diverged=never,
        time=jnp.zeros((), jnp.int32),
        success=never,
        simulation=simulation,
    )


def select(condition: Array, yes: State, no: State) -> State:
    """One of two states, by a scalar condition; typed keys included."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def reset_many(env: Env, key: PRNGKey, count: int) -> State:
    """The states `[count]` of as many environments, each with a key of its own."""
    return jax.vmap(env.reset)(jax.random.split(key, count))
