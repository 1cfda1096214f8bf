"""Environments of brax's kind whose every step is known: they count, and pay 1 a step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from behavior_priors.envs.adapters.foreign import quiet
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.types import Env, State, Transition

with quiet():
    from brax import base
    from brax.envs.base import Env as BraxEnv
    from brax.envs.base import State as BraxState

Observe = Callable[[jax.Array, jax.Array], Any]


def start_and_count(start: jax.Array, count: jax.Array) -> jax.Array:
    return jnp.stack([start, count])


class Counting(BraxEnv):
    """Draws a start from `[0, 1)` at a reset and counts its steps, in `info`.

    `breaks` is one of observation, reward, position and velocity, which is NaN from step
    `breaks_at` on, where `done` is 1 as well.
    """

    def __init__(
        self,
        ends_at: float = jnp.inf,
        observe: Observe = start_and_count,
        breaks: str = "",
        breaks_at: float = jnp.inf,
    ):
        self._ends_at = ends_at
        self._observe = observe
        self._breaks = breaks
        self._breaks_at = breaks_at

    def reset(self, rng: jax.Array) -> BraxState:
        start, zero = jax.random.uniform(rng), jnp.zeros(())
        return BraxState(
            pipeline_state=physics(start, zero),
            obs=self._observe(start, zero),
            reward=zero,
            done=zero,
            metrics={"count": zero},
            info={"count": zero},
        )

    def step(self, state: BraxState, action: jax.Array) -> BraxState:
        count, start = state.info["count"] + 1.0, state.pipeline_state.q[0]
        is_broken = count >= self._breaks_at

        def maybe(part: str, value: Any) -> Any:
            nan = jnp.where(is_broken & (part == self._breaks), jnp.nan, 0.0)
            return jax.tree.map(lambda x: x + nan, value)

        state.info["count"] = count
        state.metrics.update(count=count)  # as brax's own environments do
        return state.replace(
            pipeline_state=physics(maybe("position", start), maybe("velocity", count)),
            obs=maybe("observation", self._observe(start, count)),
            reward=maybe("reward", 1.0),
            done=jnp.where((count >= self._ends_at) | is_broken, 1.0, 0.0),
        )

    @property
    def observation_size(self) -> int:
        return 2

    @property
    def action_size(self) -> int:
        return 1

    @property
    def backend(self) -> str:
        return "counting"


def physics(position: jax.Array, velocity: jax.Array) -> base.State:
    return base.State(
        q=position[None],
        qd=velocity[None],
        x=base.Transform.create(pos=jnp.zeros(3)),
        xd=base.Motion.create(vel=jnp.zeros(3)),
        contact=None,
    )


def run(env: Env, count: int, actions: jax.Array) -> tuple[State, Transition]:
    """The first states `[count]`, and what `[T, count, ...]` the actions lead to, with resets."""

    @jax.jit
    def record(actions: jax.Array) -> tuple[State, Transition]:
        first = reset_many(env, jax.random.key(0), count)

        def step(states: State, action: jax.Array) -> tuple[State, Transition]:
            return jax.vmap(functools.partial(step_and_reset, env))(states, action)[:2]

        return first, jax.lax.scan(step, first, actions)[1]

    return record(actions)
