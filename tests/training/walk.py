"""An environment and a learner so small that everything they do is known in advance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from behavior_priors.learner import Choice, Learner
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, PRNGKey, State, Transition

LENGTH = 3
"""Steps of an episode; they pay 1, 2 and 3."""


def round_off(x: Array) -> Array:
    """Numbers whose sums are exact, whatever a compiler makes of the program around them."""
    return jnp.round(x * 2.0**18) / 2.0**18


def make_walk(diverges: bool = False, on_trace: Callable[[], None] = lambda: None) -> Env:
    """Half of the episodes are lucky, and only the last step of those is a success.

    It observes the time and the last action.

    Args:
      diverges: lucky episodes diverge in their second step, with NaN in all that it returns.
      on_trace: called whenever JAX traces `step`.
    """

    def observe(time: Array, action: Array) -> dict[str, Array]:
        return {"time": time.astype(jnp.float32)[None], "action": action}

    def reset(key: PRNGKey) -> State:
        key, luck_key = jax.random.split(key)
        time, never = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        return State(
            key=key,
            observation=observe(time, jnp.zeros(1)),
            reward=jnp.zeros(()),
            terminated=never,
            truncated=never,
            diverged=never,
            time=time,
            success=never,
            simulation={
                "lucky": jax.random.bernoulli(luck_key),
                "nothing": jnp.zeros((0,)),
                "place": jnp.zeros(()),
            },
        )

    def step(state: State, action: Array) -> State:
        on_trace()
        time, lucky = state.time + 1, state.simulation["lucky"]
        diverged = lucky & (time == 2) if diverges else jnp.zeros((), bool)
        last = time == LENGTH
        place = state.simulation["place"] + action[0]

        def spoil(x: Array) -> Array:
            return jnp.where(diverged, jnp.nan, x)

        return state._replace(
            observation=jax.tree.map(spoil, observe(time, place[None])),
            reward=spoil(time.astype(jnp.float32)),
            truncated=last | diverged,
            diverged=diverged,
            time=time,
            success=(last & lucky) | diverged,
            simulation=state.simulation | {"place": place},
        )

    return Env(
        name="probe/walk",
        observation_spec={"time": ArraySpec((1,)), "action": ArraySpec((1,))},
        action_spec=ActionSpec(1, None),
        episode_length=LENGTH,
        reset=reset,
        step=step,
        demonstrate=lambda state, key: round_off(jax.random.normal(key, (1,))),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AverageState:
    """A policy that never says what it has learned, and how often it was updated."""

    policy: Any
    step: Array


def make_averager(
    spoil: Callable[[Array, Array, Array], tuple[Array, Array]] = lambda step, mean, loss: (
        mean,
        loss,
    ),
) -> Learner:
    """Follows the mean of the actions in replay, and acts by it.

    Args:
      spoil: `(step before the update, mean, loss)` to the mean and the loss that it is to have.
    """

    def init(key: PRNGKey) -> AverageState:
        return AverageState({"mean": jax.random.normal(key)}, jnp.zeros((), jnp.int32))

    def update(state: AverageState, batch: Transition) -> tuple[AverageState, dict[str, Array]]:
        mean = 0.9 * state.policy["mean"] + 0.1 * batch.action.mean()
        mean, loss = spoil(state.step, mean, batch.reward.mean())
        return AverageState({"mean": mean}, state.step + 1), {"loss": loss, "mean": mean}

    def act(policy: Any, observation: Any, key: PRNGKey, *, explore: bool) -> Choice:
        shape = observation["time"].shape
        noise = jax.random.normal(key, shape) if explore else jnp.zeros(shape)
        return Choice(policy["mean"] + noise)

    return Learner(init, update, act)
