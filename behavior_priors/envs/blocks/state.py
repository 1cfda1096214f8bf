"""What a stacking environment remembers, and what may be seen of it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.blocks import towers
from behavior_priors.envs.blocks.scene import FINGER_OPEN, GRIPPER_DOFS
from behavior_priors.envs.physics.base import PhysicsState
from behavior_priors.types import Array, ArraySpec

NEAR_BLOCKS = 3
"""As few as tell what to do with the next block: whoever sees all five blocks of the training data
knows when a tower is finished, and has never seen what comes after it."""
FINE = (0.1, 0.03)
"""Metres within which a near block is seen more precisely than from afar, and still more so."""


class StackState(NamedTuple):
    """What a stacking environment remembers between steps.

    Attributes:
      physics: the simulation.
      position: `[2]`, commanded y and z of the gripper: measured ones lag behind.
      gripper: `[]`, commanded: 1 open, 0 closed.
      lifted: `[blocks]` bool, which have been off the table in the gripper.
      delivered: `[blocks]` bool, which of those have been above another one since.
      plan: `[blocks]` int32, the demonstrator's tower from bottom to top; never observed.
    """

    physics: PhysicsState
    position: Array
    gripper: Array
    lifted: Array
    delivered: Array
    plan: Array


def poses_of(simulation: StackState) -> Array:
    """Poses of the blocks `[blocks, 3]`, as `towers` has them."""
    return simulation.physics.qpos[GRIPPER_DOFS:].reshape(-1, 3)


def held_blocks(simulation: StackState) -> Array:
    """Which blocks are between the fingers, `[blocks]` bool."""
    qpos = simulation.physics.qpos
    closed = simulation.gripper < 0.5
    return towers.held(poses_of(simulation), qpos[:2], qpos[2:GRIPPER_DOFS].mean(), closed)


def observation_spec(blocks: int, half_length: float) -> dict[str, ArraySpec]:
    """Names, shapes and typical values.

    `gripper` and `near_blocks` are of the same shape in every member and do not say where along the
    table things are: a prior that sees nothing else can be used in any of them.

    Args:
      blocks: how many there are.
      half_length: of the table, metres.
    """
    y, z = 0.5 * half_length, 0.15
    return {
        # height, opening, command, velocity (2), commanded minus measured position (2)
        "gripper": ArraySpec(
            (7,),
            location=_f32([0.25, 0.7, 0.5, 0, 0, 0, 0]),
            scale=_f32([0.15, 0.3, 0.5, 0.5, 0.5, 0.02, 0.02]),
        ),
        "gripper_position": ArraySpec((2,), location=_f32([0, 0.25]), scale=_f32([y, z])),
        # position (2), cosine and sine of the turn, position relative to the gripper (2)
        "blocks": ArraySpec(
            (blocks, 6),
            location=_f32([0, 0.1, 1, 0, 0, -0.15]),
            scale=_f32([y, 0.1, 0.3, 0.3, y, 0.15]),
        ),
        # position relative to the gripper (2), cosine and sine of the turn, and the position again
        # through a tanh of each width in `FINE` (4): a centimetre decides whether fingers fit
        # around a block, and is little beside half a metre. The nearest block comes first
        "near_blocks": ArraySpec(
            (NEAR_BLOCKS, 8),
            location=_f32([0, -0.15, 1, 0, 0, -0.55, 0, -0.7]),
            scale=_f32([0.3, 0.15, 0.3, 0.3, 0.8, 0.5, 0.9, 0.6]),
        ),
        # what the dense reward remembers of every block: lifted, delivered
        "progress": ArraySpec((blocks, 2), location=np.float32(0.5), scale=np.float32(0.5)),
    }


def _f32(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def observe(simulation: StackState) -> dict[str, Array]:
    """What networks may see, see `observation_spec`."""
    qpos, qvel = simulation.physics.qpos, simulation.physics.qvel
    position, poses = qpos[:2], poses_of(simulation)
    opening = qpos[2:GRIPPER_DOFS].mean() / FINGER_OPEN
    turn = jnp.stack([jnp.cos(poses[:, 2]), jnp.sin(poses[:, 2])], axis=-1)
    offset = poses[:, :2] - position
    fine = [jnp.tanh(offset / width) for width in FINE]
    relative = jnp.concatenate([offset, turn, *fine], axis=-1)
    nearest = jnp.argsort(jnp.square(offset).sum(-1))[:NEAR_BLOCKS]
    gripper = jnp.stack([position[1], opening, simulation.gripper])
    return {
        "gripper": jnp.concatenate([gripper, qvel[:2], simulation.position - position]),
        "gripper_position": position,
        "blocks": jnp.concatenate([poses[:, :2], turn, offset], axis=-1),
        "near_blocks": relative[nearest],
        "progress": jnp.stack([simulation.lifted, simulation.delivered], -1).astype(jnp.float32),
    }
