"""Environment steps per second, against the physics engine alone.

Ours is what a training loop runs: actions to joint targets by inverse kinematics, simulation,
observation, reward, and the reset that rides on every step, in a jitted scan. The peer is a plain
`mujoco.batch.Batch` that steps the same models from the same states under the same joint targets,
with the same substeps and threads. The ratio is thus the share of the engine's speed that is left.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mujoco.batch import Batch

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.manipulation import objects, scene, tabletop
from behavior_priors.envs.physics.base import PhysicsState
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Env, State
from benchmarks.harness import Plan, Row, largest_difference, race, rate_row

PEERS = ("mujoco",)
TASK = "grasp/mug"
NUM_ENVS = (32, 256)


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each number of environments."""
    env = make_env(TASK, engine="c")
    for num_envs in NUM_ENVS:
        yield _measure(env, num_envs, plan)


def _measure(env: Env, num_envs: int, plan: Plan) -> Row:
    reset_key, action_key = jax.random.split(jax.random.key(0))
    states = jax.jit(functools.partial(reset_many, env, count=num_envs))(reset_key)
    shape = (env.episode_length, num_envs, env.action_spec.size)
    actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)
    controls, qpos = jax.tree.map(np.asarray, jax.jit(_record(env))(states, actions))

    batch = Batch(_model(env), num_envs)
    initial = jax.tree.map(np.asarray, states.simulation.physics)
    rounded = _simulate(batch, initial, controls, in_float32=True)
    equal = largest_difference("qpos after every step", qpos, rounded, tolerance=0.0)

    episode = jax.jit(_episode(env))

    def ours() -> None:
        jax.block_until_ready(episode(states, actions))

    def peer() -> None:
        _simulate(batch, initial, controls, in_float32=False)

    seconds = race({"ours": ours, "peer": peer}, plan)
    steps = env.episode_length * num_envs
    return rate_row(
        f"env/{num_envs} against mujoco.batch ({batch.nthread} threads)",
        "steps/s",
        (steps, seconds["ours"]),
        (steps, seconds["peer"]),
        equal=equal,
    )


def _model(env: Env) -> Any:
    (slots,) = env.info["scenes"]
    return scene.build_model([objects.OBJECTS[name] for name in slots])


def _episode(env: Env) -> Any:
    """`(states, actions [T, N, size]) -> (states, transitions [T, N])`, as in a training loop."""

    def step(states: State, action: jax.Array) -> tuple[State, Any]:
        return jax.vmap(functools.partial(step_and_reset, env))(states, action)[:2]

    return functools.partial(jax.lax.scan, step)


def _record(env: Env) -> Any:
    """`(states, actions [T, N, size]) -> (joint targets [T, N, nu], qpos [T, N, nq])`."""

    def step(states: State, action: jax.Array) -> tuple[State, Any]:
        states = jax.vmap(env.step)(states, action)
        simulation = states.simulation
        span = tabletop.FINGER_OPEN - tabletop.FINGER_CLOSED
        finger = tabletop.FINGER_CLOSED + simulation.gripper[:, None] * span
        control = jnp.concatenate([simulation.joints, finger, finger], axis=-1)
        return states, (control, simulation.physics.qpos)

    return lambda states, actions: jax.lax.scan(step, states, actions)[1]


def _simulate(
    batch: Batch, initial: PhysicsState, controls: np.ndarray, *, in_float32: bool
) -> np.ndarray | None:
    """Steps the engine from the initial states through all controls.

    Args:
      batch: of as many simulations as there are states.
      initial: where to start, `[N, ...]`.
      controls: joint targets `[T, N, nu]`.
      in_float32: round the state after every control step, which ours does, and return qpos
        `[T, N, nq]`.
    """
    rows = {name: batch.bind(name) for name in PhysicsState._fields}
    control = batch.bind("ctrl")
    for name, row in rows.items():
        row[:] = getattr(initial, name).reshape(row.shape)
    qpos = []
    for targets in controls:
        control[:] = targets
        batch.step(nstep=tabletop.SUBSTEPS)
        if in_float32:
            for row in rows.values():
                row[:] = row.astype(np.float32)
            qpos.append(rows["qpos"].copy())
    return np.stack(qpos) if in_float32 else None
