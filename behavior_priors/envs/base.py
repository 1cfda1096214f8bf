"""What happens at an episode's end, written once for every environment."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from behavior_priors.types import Array, Env, Observation, PRNGKey, State, Transition


def step_and_reset(env: Env, state: State, action: Array) -> tuple[State, Transition, State]:
    """One step of one environment; where that ends the episode, the next one begins.

    The transition's `next_observation` is where the step led, the terminal one included; only the
    returned state belongs to the new episode.

    Args:
      env: unbatched; `jax.vmap` this function over states and actions.
      state: as left by the last call.
      action: `[action_spec.size]`.

    Returns:
      The state to act in next, the experience made, and the state that the step led to, which is
      the first one unless the episode ended.
    """
    if env.step_then_reset is not None:
        stepped, fresh = env.step_then_reset(state, action)
    else:
        stepped = env.step(state, action)
        fresh = env.reset(stepped.key)
    transition = Transition(
        observation=state.observation,
        action=action,
        reward=stepped.reward,
        terminated=stepped.terminated,
        truncated=stepped.truncated,
        next_observation=stepped.observation,
        valid=~stepped.diverged,
    )
    done = stepped.terminated | stepped.truncated
    return select(done, fresh, stepped), transition, stepped


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
