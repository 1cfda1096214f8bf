"""Environment steps per second of the `mjx` engine beside the `c` engine, on this machine's CPU.

For the record: MJX is for accelerators, and the ratio says why `--engine=auto` takes `c` where
there is none. Both run what a training loop runs, a jitted scan of actions, simulation, observation
and reset, from the same states under the same actions. The row calls the `c` engine the peer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Env, State
from benchmarks.harness import Plan, Row, largest_difference, race, rate_row

PEERS = ("mujoco",)
TASK = "grasp/mug"
NUM_ENVS = 32
STEPS = 5
"""Steps in one call; a whole episode of `mjx` takes longer than a turn in the race."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields the one row."""
    ours, peer = make_env(TASK, engine="mjx"), make_env(TASK, engine="c")
    reset_key, action_key = jax.random.split(jax.random.key(0))
    states = jax.jit(functools.partial(reset_many, peer, count=NUM_ENVS))(reset_key)
    shape = (STEPS, NUM_ENVS, ours.action_spec.size)
    actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)

    programs = {name: jax.jit(_steps(env)) for name, env in (("ours", ours), ("peer", peer))}
    first = {name: np.asarray(run(states, actions)[1][0]) for name, run in programs.items()}
    equal = largest_difference("qpos after a step", first["ours"], first["peer"], tolerance=1e-3)

    def turn(name: str) -> None:
        jax.block_until_ready(programs[name](states, actions))

    seconds = race({name: functools.partial(turn, name) for name in programs}, plan)
    work = STEPS * NUM_ENVS
    yield rate_row(
        f"engines/{NUM_ENVS} mjx beside c",
        "steps/s",
        (work, seconds["ours"]),
        (work, seconds["peer"]),
        equal=equal,
        packages=("mujoco-mjx",),
    )


def _steps(env: Env) -> Any:
    """`(states, actions [T, N, size]) -> (states, qpos [T, N, nq])`, resets included."""

    def step(states: State, action: jax.Array) -> tuple[State, jax.Array]:
        states, _, stepped = jax.vmap(functools.partial(step_and_reset, env))(states, action)
        return states, stepped.simulation.physics.qpos

    return functools.partial(jax.lax.scan, step)
