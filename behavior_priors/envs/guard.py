"""Numbers that nothing can be learned from stop at the step that gives them.

A reward or an observation that is NaN, infinite or absurdly large makes NaN of a learner for good:
errors are squared, summed over a batch and bootstrapped. So every step that becomes experience, or
a part of a dataset, goes through `check_step`, and every beginning through `check_first`, whatever
the environment; such a step counts as one in which the simulation diverged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from behavior_priors.types import Array, ArraySpec, Env, State

LARGEST_OBSERVATION = 1e9
"""In units of the array's typical scale. A gradient is a product with what a network saw, and is
squared: the fourth power has to be a float32."""

LARGEST_REWARD = 1e15
"""A value is up to some thousand rewards, its error is squared and summed over a batch."""

REWARD, CONTEXT_REWARD, BEGINNING = "reward", "context_reward", "beginning"
"""What may be wrong in a step beside an observation: the last one is that of an episode whose first
observation was wrong already."""


class Limits(NamedTuple):
    """Bounds of an array's numbers, `[]` or of its shape, float32."""

    low: Any
    high: Any

    def hold(self, x: Array) -> Array:
        """`[]` bool: all numbers are within; NaN is not."""
        return ((x >= self.low) & (x <= self.high)).all()


def limits_of(spec: ArraySpec) -> Limits:
    """Numbers of an observation that can be learned from."""
    location, scale = np.asarray(spec.location, float), np.abs(np.asarray(spec.scale, float))
    low, high = (location + sign * LARGEST_OBSERVATION * scale for sign in (-1.0, 1.0))
    return Limits(*(_one_or_all(x, spec.shape) for x in (low, high)))


REWARD_LIMITS = Limits(np.float32(-LARGEST_REWARD), np.float32(LARGEST_REWARD))


def checked(env: Env) -> tuple[str, ...]:
    """Names of what `check_step` looks at, in order."""
    context = () if env.tasks is None or env.tasks.context_reward is None else (CONTEXT_REWARD,)
    return (*_numbers(env), REWARD, *context, BEGINNING)


def check_step(env: Env, before: State, after: State) -> tuple[State, Array]:
    """A step with what cannot be learned from taken out.

    Args:
      env: unbatched; its `observation_spec` says what is looked at.
      before: the state that was stepped.
      after: where that led.

    Returns:
      `after` if it diverged by itself; else, where something is wrong, a diverged step: truncated,
      without reward or success, with the observation of before. And what is wrong, `[names]` bool,
      as in `checked`.
    """
    wrong = [~limits.hold(after.observation[name]) for name, limits in _numbers(env).items()]
    wrong.append(~REWARD_LIMITS.hold(after.reward))
    if env.tasks is not None and env.tasks.context_reward is not None:
        wrong.append(~REWARD_LIMITS.hold(env.tasks.context_reward(after)))
    wrong.append(before.diverged & ~(before.terminated | before.truncated))
    found = jnp.stack(wrong)
    # a simulation that says so itself is left as it is: nobody learns from such a step
    bad = found.any() & ~after.diverged
    good = after._replace(
        observation=_either(bad, before.observation, after.observation),
        reward=jnp.where(bad, jnp.zeros_like(after.reward), after.reward),
        terminated=after.terminated & ~bad,
        truncated=after.truncated | bad,
        diverged=after.diverged | bad,
        success=after.success & ~bad,
    )
    return good, found


def check_first(env: Env, state: State) -> State:
    """An episode's first state; one that cannot be learned from observes what is typical.

    It is marked as diverged, and so will be its first step, which ends the episode.
    """
    numbers = _numbers(env)
    if not numbers:
        return state
    good = jnp.stack([limits.hold(state.observation[name]) for name, limits in numbers.items()])
    bad = ~good.all()
    typical = {
        name: jnp.broadcast_to(jnp.asarray(env.observation_spec[name].location, x.dtype), x.shape)
        if name in numbers
        else x
        for name, x in state.observation.items()
    }
    return state._replace(
        observation=_either(bad, typical, state.observation), diverged=state.diverged | bad
    )


def _numbers(env: Env) -> dict[str, Limits]:
    """Limits of the observations that are floating-point numbers."""
    return {
        name: limits_of(spec)
        for name, spec in env.observation_spec.items()
        if jnp.issubdtype(spec.dtype, jnp.inexact)
    }


def _one_or_all(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    largest = float(np.finfo(np.float32).max)
    values = np.clip(values, -largest, largest).astype(np.float32)
    if values.size and (values == values.flat[0]).all():
        return values.flat[0]
    return np.broadcast_to(values, shape)


def _either(condition: Array, yes: Any, no: Any) -> dict[str, Array]:
    return {name: jnp.where(condition, yes[name], x) for name, x in no.items()}
