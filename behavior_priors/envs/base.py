"""What happens at an episode's end, written once for every environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from behavior_priors.envs.guard import check_first, check_step
from behavior_priors.types import Array, Env, Observation, PRNGKey, State, Task, Transition

AgainFn = Callable[[State], State]
"""Begins the next episode, given the state in which the last one ended."""


class Advance(NamedTuple):
    """One step of one environment.

    Attributes:
      following: the state to act in next.
      transition: the experience made.
      stepped: the state that the step led to, which is the first one unless the episode ended.
      wrong: what could not be learned from, `[names]` bool, as in `guard.checked`.
    """

    following: State
    transition: Transition
    stepped: State
    wrong: Array


def step_and_reset(
    env: Env, state: State, action: Array, again: AgainFn | None = None
) -> tuple[State, Transition, State]:
    """The first three parts of what `advance` returns."""
    return advance(env, state, action, again)[:3]


def advance(env: Env, state: State, action: Array, again: AgainFn | None = None) -> Advance:
    """One step of one environment; where that ends the episode, the next one begins.

    The transition's `next_observation` is where the step led, the terminal one included; only the
    returned state belongs to the new episode. A step with NaN, infinity or numbers that are too
    large to be learned from diverged (see `guard`).

    Args:
      env: unbatched; `jax.vmap` this function over states and actions.
      state: as left by the last call.
      action: `[action_spec.size]`.
      again: what the next episode is, such as `same_task`; None for one of `env.reset`.
    """
    if env.step_then_reset is not None:
        stepped, following = env.step_then_reset(state, action)
        stepped, wrong = check_step(env, state, stepped)
        following = check_first(env, following)
    else:
        stepped, wrong = check_step(env, state, env.step(state, action))
        begin = again or (lambda last: env.reset(last.key))
        following = _reset_where_over(lambda last: check_first(env, begin(last)), stepped)
    transition = Transition(
        observation=state.observation,
        action=action,
        reward=stepped.reward,
        terminated=stepped.terminated,
        truncated=stepped.truncated,
        next_observation=stepped.observation,
        valid=~stepped.diverged,
    )
    return Advance(following, transition, stepped, wrong)


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
    return jax.vmap(lambda k: check_first(env, env.reset(k)))(jax.random.split(key, count))


def begin_many(env: Env, tasks: Task, key: PRNGKey) -> State:
    """The states `[count]` of episodes of tasks `[count, ...]`, each with a key of its own."""
    family = env.tasks
    assert family is not None
    count = len(jax.tree.leaves(tasks)[0])
    begin = jax.vmap(lambda task, k: check_first(env, family.begin(task, k)))
    return begin(tasks, jax.random.split(key, count))
