"""Remembering what was seen and done: past steps as one more observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from behavior_priors.errors import UserError
from behavior_priors.history import HISTORY, History, history_spec, remember
from behavior_priors.types import Array, Env, PRNGKey, State, Task


def with_history(env: Env, history: History) -> Env:
    """The same environment with its last steps among what is observed, as `HISTORY`.

    Args:
      env: whose own observations and actions are remembered.
      history: which, and how many.

    Raises:
      UserError: there is no such observation, or one is called `HISTORY`.
    """
    if HISTORY in env.observation_spec:
        raise UserError(f"history: {env.name} has an observation of that name already")
    own = env.observation_spec
    array_spec = history_spec(history, own, env.action_spec.size)
    remembered = remember(history, own, env.action_spec)

    def with_past(state: State, past: Array) -> State:
        return state._replace(observation={**state.observation, HISTORY: past})

    def begin(state: State) -> State:
        return with_past(state, jnp.zeros(array_spec.shape))

    def without_past(state: State) -> State:
        seen: Mapping[str, Any] = {n: x for n, x in state.observation.items() if n != HISTORY}
        return state._replace(observation=seen)

    def past_after(state: State, action: Array) -> Array:
        return remembered(state.observation[HISTORY], state.observation, action)

    def step(state: State, action: Array) -> State:
        return with_past(env.step(without_past(state), action), past_after(state, action))

    def step_then_reset(state: State, action: Array) -> tuple[State, State]:
        assert env.step_then_reset is not None
        stepped, following = env.step_then_reset(without_past(state), action)
        past = past_after(state, action)
        over = stepped.terminated | stepped.truncated
        return with_past(stepped, past), with_past(following, jnp.where(over, 0.0, past))

    def of_state(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if function is None:
            return None
        return lambda state, *rest: function(without_past(state), *rest)

    tasks = env.tasks
    if tasks is not None:
        begin_task = tasks.begin

        def begin_one(task: Task, key: PRNGKey) -> State:
            return begin(begin_task(task, key))

        tasks = tasks._replace(begin=begin_one)
    return env._replace(
        observation_spec={**own, HISTORY: array_spec},
        reset=lambda key: begin(env.reset(key)),
        step=step,
        step_then_reset=step_then_reset if env.step_then_reset else None,
        demonstrate=of_state(env.demonstrate),
        tasks=tasks,
    )
