"""Steps of half-cheetahs per second, against EnvPool's.

Ours is what a training loop runs: the steps and resets of `locomotion/cheetah_velocity` in a jitted
scan. EnvPool's environments are stepped from a loop in NumPy, on as many threads as there are
cores. Both simulate gymnasium's model five physics steps at a time, in episodes of 200 steps, under
the same actions; the step in which EnvPool begins the next episode counts as one. It is told not to
compute contact forces, which ours does not either.

Before the race the first steps are compared, from EnvPool's own first states. MuJoCo is not of the
same version in both, and ours keeps its states in single precision.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.base import same_task, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.training.meta.experience import tasks_of
from behavior_priors.types import Env, State, Transition
from benchmarks.harness import BenchmarkError, Plan, Row, largest_difference, race, rate_row
from benchmarks.spirl_entrants import AVAILABLE

PEERS = ("gymnasium", "envpool")

ENV = "locomotion/cheetah_velocity"
ID = "HalfCheetah-v4"
SIZES = (64, 256)
STEPS = 200
"""Of every environment in one call, an episode."""

COMPARED = 5
"""Steps, before chaos makes rounding errors grow."""

TOLERANCE = 1e-3
"""Of positions and velocities, in metres, radians and seconds, as a share of the largest."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each number of environments."""
    env = make_env(ENV, engine="c")
    for count in SIZES:
        yield measure_steps(env, count, STEPS, plan)


def measure_steps(env: Env, count: int, steps: int, plan: Plan) -> Row:
    """The row of so many environments, and so many steps of each in a call.

    Raises:
      BenchmarkError: they do not move alike.
    """
    peer = make_peer(count, env.episode_length)
    try:
        first = as_positions(peer.reset()[0])
        shape = (steps, count, env.action_spec.size)
        actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        ours = Ours(env, first)
        equal = compare(ours, peer, actions)

        def run_peer() -> None:
            for action in actions:
                peer.step(action)

        def run_ours() -> None:
            ours.run(actions)

        seconds = race({"ours": run_ours, "peer": run_peer}, plan)
    finally:
        peer.close()
    return rate_row(
        f"meta_env/{count} cheetahs against EnvPool ({len(AVAILABLE)} threads)",
        "steps/s",
        (steps * count, seconds["ours"]),
        (steps * count, seconds["peer"]),
        equal=equal,
        packages=("envpool",),
    )


def make_peer(count: int, episode_length: int) -> Any:
    """EnvPool's half-cheetahs, whose observations are all positions and velocities."""
    return importlib.import_module("envpool").make(
        ID,
        env_type="gymnasium",
        num_envs=count,
        num_threads=len(AVAILABLE),
        max_episode_steps=episode_length,
        frame_skip=5,
        post_constraint=False,
        exclude_current_positions_from_observation=False,
    )


def as_positions(observation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities `[N, 9]` of EnvPool's observations."""
    return observation[:, :9], observation[:, 9:]


def compare(ours: Ours, peer: Any, actions: np.ndarray) -> str:
    """Goes a few steps with both: says how equal, or raises `BenchmarkError`.

    Positions and velocities are compared after each of them, though only the first one begins in
    the same states.
    """
    theirs = [as_positions(peer.step(action)[0]) for action in actions[:COMPARED]]
    positions, velocities = ours.run(actions[:COMPARED])
    if not np.abs(velocities).max() > 0.1:
        raise BenchmarkError("the cheetahs did not move")
    pairs = ((positions, "positions"), (velocities, "velocities"))
    return ", ".join(
        largest_difference(name, list(mine), [x[i] for x in theirs], TOLERANCE)
        for i, (mine, name) in enumerate(pairs)
    )


class Ours:
    """Goes on from where the last run ended."""

    def __init__(self, env: Env, first: tuple[np.ndarray, np.ndarray]):
        self.states = jax.jit(functools.partial(_begin, env))(*map(jnp.float32, first))
        again = same_task(env)

        def step(states: State, action: jax.Array) -> tuple[State, Transition]:
            states, transition, _ = jax.vmap(
                lambda state, action: step_and_reset(env, state, action, again)
            )(states, action)
            return states, transition

        self._program = jax.jit(functools.partial(jax.lax.scan, step))

    def run(self, actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """Positions and velocities `[T, N, 9]` after each action."""
        self.states, transition = self._program(self.states, actions)
        jax.block_until_ready(self.states)
        seen = {name: np.asarray(x) for name, x in transition.next_observation.items()}
        positions = np.concatenate([seen["torso"][..., :1], seen["configuration"]], axis=-1)
        return positions, seen["velocity"]


def _begin(env: Env, qpos: jax.Array, qvel: jax.Array) -> State:
    """First states `[N]` in given configurations, each of a task of its own."""
    family, count = tasks_of(env), len(qpos)
    task_key, begin_key = jax.random.split(jax.random.key(0))
    keys = jax.random.split(begin_key, count)
    states = jax.vmap(family.begin)(family.sample(task_key, count), keys)
    moving = states.simulation
    physics = moving.physics._replace(qpos=qpos, qvel=qvel)
    return states._replace(simulation=moving._replace(physics=physics))
