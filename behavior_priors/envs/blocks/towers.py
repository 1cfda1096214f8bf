"""Which blocks are held, lifted, above another or part of a tower: geometry of one configuration.

Poses are `[blocks, 3]`: y and z of the middle, metres, and the turn about x, radians. Thresholds
are those of SPiRL's environment (Pertsch et al. 2020, `block_stacking/src/utils/block.py`), for
cubes of the same size.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from behavior_priors.envs.blocks.scene import HALF
from behavior_priors.types import Array

LIFTED_RISE = (math.sqrt(3.0) - 1.0) * HALF  # metres; no block that tumbles on the table gets there
SLACK = 0.005  # metres by which a block may be higher or lower than one that lies on another
UPRIGHT_COSINE = math.cos(math.pi / 4)

GRIP_SIDEWAYS = 0.02  # metres between the middles of the gripper and of a block in it
GRIP_BELOW, GRIP_ABOVE = -0.065, 0.035  # where such a block's middle is above the gripper's, metres
GRIP_GAP = 0.015  # metres from the middle, below which closed fingers have nothing between them


def rises(poses: Array) -> Array:
    """How much higher each block is than one on the table, `[blocks]`, metres, at least 0."""
    return jnp.maximum(poses[:, 1] - HALF, 0.0)


def lifted(poses: Array) -> Array:
    """Which blocks are off the table, `[blocks]` bool."""
    return rises(poses) > LIFTED_RISE


def upright(poses: Array) -> Array:
    """Which blocks are tilted by no more than 45 degrees, `[blocks]` bool."""
    return jnp.cos(poses[:, 2]) >= UPRIGHT_COSINE


def held(poses: Array, gripper: Array, gap: Array, closed: Array) -> Array:
    """Which blocks are between the fingers, `[blocks]` bool.

    Args:
      poses: of the blocks.
      gripper: `[2]`, where it is, metres.
      gap: `[]`, of a finger from the middle, metres.
      closed: `[]` bool, it is told to be.
    """
    sideways, above = jnp.abs(poses[:, 0] - gripper[0]), poses[:, 1] - gripper[1]
    between = (sideways < GRIP_SIDEWAYS) & (above > GRIP_BELOW) & (above < GRIP_ABOVE)
    return between & closed & (gap > GRIP_GAP)


def above_another(poses: Array) -> Array:
    """Which blocks are above the middle part of some other one, at any height, `[blocks]` bool."""
    sideways, below = _apart(poses)
    return ((sideways < HALF) & (below > 2 * HALF - SLACK)).any(1)


def supported(poses: Array) -> Array:
    """Which blocks lie on the table, or on another one that does so in turn, `[blocks]` bool."""
    sideways, below = _apart(poses)
    lies_on = (sideways < 2 * HALF) & (below > HALF) & (below < 2 * HALF + SLACK)
    carried = ~lifted(poses)
    for _ in range(poses.shape[0] - 1):  # one layer more each time
        carried |= (lies_on & carried).any(1)
    return carried


def _apart(poses: Array) -> tuple[Array, Array]:
    """`[i, j]`: how far block i is beside block j, and how much higher; metres."""
    y, z = poses[:, 0], poses[:, 1]
    return jnp.abs(y[:, None] - y), z[:, None] - z
