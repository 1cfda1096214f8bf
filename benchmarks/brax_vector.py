"""Steps per second of brax's environments, against brax's own vectorised ones.

Ours is what a training loop runs: the adapter's step and the reset that rides on it, in a jitted
scan. The peer is brax's own stack of wrappers, which puts an environment that is done back to the
one first state that it keeps. Ours makes a new one at every step, or draws one of a number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.envs.adapters.brax import wrap_brax
from behavior_priors.envs.adapters.foreign import quiet
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.observations import UNNAMED
from behavior_priors.types import Env, State
from benchmarks.harness import BenchmarkError, Plan, Row, largest_difference, race, rate_row

PEERS = ("brax",)
NUM_ENVS = 256
TOLERANCE = 1e-4


class Course(NamedTuple):
    """An environment, how many first states it has (0: always new ones), and steps in a call."""

    name: str
    resets: int
    steps: int


COURSES = (
    Course("inverted_pendulum", 0, 200),
    Course("inverted_pendulum", 256, 200),
    Course("pusher", 0, 10),
    Course("halfcheetah", 0, 10),
)


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each course."""
    for course in COURSES:
        yield _measure(course, plan)


def _measure(course: Course, plan: Plan) -> Row:
    from brax import envs
    from brax.envs.wrappers.training import wrap

    with quiet():
        bare = envs.get_environment(course.name)
    env = wrap_brax(bare, course.name, resets=course.resets)
    wrapped = wrap(bare, env.episode_length, action_repeat=1)

    reset_key, action_key = jax.random.split(jax.random.key(0))
    shape = (course.steps, NUM_ENVS, env.action_spec.size)
    actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)
    our_states = jax.jit(functools.partial(reset_many, env, count=NUM_ENVS))(reset_key)
    brax_states = _brax_states(wrapped, our_states)

    ours, peer = jax.jit(_our_steps(env)), jax.jit(_brax_steps(wrapped))
    equal = _compare(ours(our_states, actions)[1], peer(brax_states, actions)[1])
    contestants = {
        "ours": lambda: jax.block_until_ready(ours(our_states, actions)),
        "peer": lambda: jax.block_until_ready(peer(brax_states, actions)),
    }
    seconds = race(contestants, plan)
    work = course.steps * NUM_ENVS
    first_states = f"{course.resets} first states" if course.resets else "new first states"
    return rate_row(
        f"brax/{course.name}/{NUM_ENVS}, {first_states}, against brax's wrappers",
        "steps/s",
        (work, seconds["ours"]),
        (work, seconds["peer"]),
        equal=equal,
        packages=("brax",),
    )


class Steps(NamedTuple):
    """What both give: observations `[T, N, n]`, rewards `[T, N]`, and `[T, N]` bool, it ended."""

    observation: jax.Array
    reward: jax.Array
    done: jax.Array


def _our_steps(env: Env) -> Any:
    """`(states, actions [T, N, size]) -> (states, Steps)`."""

    def step(states: State, action: jax.Array) -> tuple[State, Steps]:
        states, made, _ = jax.vmap(functools.partial(step_and_reset, env))(states, action)
        done = made.terminated | made.truncated
        return states, Steps(made.next_observation[UNNAMED], made.reward, done)

    return functools.partial(jax.lax.scan, step)


def _brax_steps(wrapped: Any) -> Any:
    """Likewise, except that an observation at an episode's end is the next one's first."""

    def step(states: Any, action: jax.Array) -> tuple[Any, Steps]:
        states = wrapped.step(states, action)
        return states, Steps(states.obs, states.reward, states.done.astype(bool))

    return functools.partial(jax.lax.scan, step)


def _brax_states(wrapped: Any, states: State) -> Any:
    """The states that brax's wrappers would have made of ours, were they drawn by them."""
    keys = jax.random.split(jax.random.PRNGKey(0), NUM_ENVS)
    fresh = jax.jit(wrapped.reset)(keys)
    physics, observation = states.simulation.pipeline_state, states.observation[UNNAMED]
    return fresh.replace(
        pipeline_state=physics,
        obs=observation,
        info={**fresh.info, "first_pipeline_state": physics, "first_obs": observation},
    )


def _compare(ours: Steps, peer: Steps) -> str:
    """Finds out whether first episodes are the same, up to their last observation but one."""
    over = np.logical_or.accumulate(peer.done, axis=0)
    began_over = np.concatenate([np.zeros_like(over[:1]), over[:-1]])
    if not np.array_equal(np.where(began_over, False, ours.done), peer.done & ~began_over):
        raise BenchmarkError("first episodes end at different steps")

    def part(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(steps.observation)[~over], np.asarray(steps.reward)[~began_over]

    return largest_difference("first episodes", part(ours), part(peer), TOLERANCE)
