"""What a stacking environment pays: the rewards of SPiRL (Pertsch et al. 2020).

They are those of the authors' `HighStackBlockStackEnv` in
`spirl/data/block_stacking/src/block_stacking_env.py`, where a block counts as lifted by the gripper
only after five steps in it, and here after one.
"""

from __future__ import annotations

import jax.numpy as jnp

from behavior_priors.envs.blocks import towers
from behavior_priors.envs.blocks.scene import HALF
from behavior_priors.envs.blocks.state import StackState, held_blocks, poses_of
from behavior_priors.types import Array, State

HEIGHT_REWARD = 50.0  # a metre
LIFTED_REWARD = 1.0  # a block
DELIVERED_REWARD = 2.0  # a block, instead of the former


def highest_rise(simulation: StackState, *, only_upright: bool = False) -> Array:
    """By how much the highest block counts as higher than the first layer, `[]`, metres.

    A block counts that has been lifted by the gripper, lies on others down to the table and is not
    held now.

    Args:
      simulation: of a stacking environment.
      only_upright: whether blocks that are tilted by more than 45 degrees do not count.
    """
    poses = poses_of(simulation)
    counts = simulation.lifted & towers.supported(poses) & ~held_blocks(simulation)
    if only_upright:
        counts &= towers.upright(poses)
    return jnp.where(counts, towers.rises(poses), 0.0).max()


def tower_height(state: State) -> Array:
    """The highest tower, in blocks above its first layer, `[]`: the metric of SPiRL."""
    return highest_rise(state.simulation) / (2 * HALF)


def dense_reward(simulation: StackState) -> Array:
    """The authors' `HighStackBlockStackEnv`: 50 a metre of height, and 1 or 2 for every block.

    1 for a block that the gripper has lifted from the table at some time of the episode, 2 for one
    that has been above another one since, wherever it is now.
    """
    block = jnp.where(simulation.lifted, LIFTED_REWARD, 0.0)
    block = jnp.where(simulation.delivered, DELIVERED_REWARD, block)
    return HEIGHT_REWARD * highest_rise(simulation) + block.sum()


def sparse_reward(simulation: StackState) -> Array:
    """50 a metre of height; a block must be upright."""
    return HEIGHT_REWARD * highest_rise(simulation, only_upright=True)
