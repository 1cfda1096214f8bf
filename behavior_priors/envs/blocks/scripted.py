"""A scripted demonstrator that builds one tower, pure and unbatched.

It remembers nothing but the order in which to stack: what to do next follows from where things
are, so that it takes up again whatever it has lost.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from behavior_priors.envs.blocks.scene import HALF
from behavior_priors.types import Array, Observation, PRNGKey

GAIN = 17.5  # action per metre of error: a step of the command covers 0.7 of what is left
GRIP = 0.7
NOISE = 0.1  # standard deviation on every action dimension
CLIP = 0.9  # of actions, so that their inverse hyperbolic tangent stays moderate

ALIGNED = 0.012  # metres sideways, below which the gripper or a held block goes down
STRADDLES = 0.018  # metres sideways, within which open fingers are on both sides of a block
ARRIVED = 0.012  # metres to a block's middle, below which the gripper closes
NEAR = 0.035  # metres to a block's middle, above which closed fingers do not hold it
GRASPED = 0.75  # of the fingers' opening, below which they touch the block between them
RELEASE = 0.008  # metres above where a block will lie, at which it is let go
STACKED = 0.015  # metres by which a block in the tower may be too high or too low

FINGERTIPS = 0.025  # metres below the gripper's middle
CLEARANCE = 0.02  # metres between what moves and what it passes over
REACH = HALF + 0.08  # metres sideways, within which a block is in the gripper's way
AHEAD = 0.10  # metres in the direction of movement, likewise
BESIDE = 0.06, 0.125  # metres sideways, between which a higher block is too near to rise past it
REST = 0.12  # metres above the finished tower's last block, where the gripper waits


def scripted_stack(
    observation: Observation, plan: Array, key: PRNGKey, noise: float = NOISE
) -> Array:
    """Stacks the blocks one by one in the order of a plan.

    The next block is the first that is not in its place. The gripper passes over whatever is in the
    way, comes down on it, closes, carries it above the tower, lowers it and lets go.

    Args:
      observation: of a stacking environment.
      plan: `[blocks]` int32, the tower from bottom to top.
      key: consumed.
      noise: standard deviation of what is added to every action dimension.

    Returns:
      An action `[3]` within +-0.9.
    """
    blocks, position = observation["blocks"], observation["gripper_position"]
    _, opening, command, _, _, *lag = observation["gripper"]
    commanded = position + jnp.stack(lag)
    in_hand = jnp.linalg.norm(blocks[:, :2] - position, axis=-1) < NEAR
    in_hand &= command < 0.5

    done = _stacked(blocks, plan, in_hand)
    number = plan[jnp.minimum(done + 1, plan.size - 1)]
    target, goal, holding = blocks[number, :2], blocks[plan[done], :2], in_hand[number]
    goal = goal.at[1].add(2 * HALF)

    reach, arrived = _reach(blocks, target, commanded, position)
    carry, delivered = _carry(blocks, target, goal, commanded - position, number)
    finished = done == plan.size - 1
    wait = jnp.stack([jnp.zeros(()), target[1] + REST - commanded[1]])

    move = jnp.where(finished, wait, jnp.where(holding, carry, reach))
    grip = jnp.where(holding, ~delivered, arrived & ~finished)
    # neither a block that is being gripped nor one that is being let go is dragged along
    halfway = jnp.where(command < 0.5, holding & (opening > GRASPED), opening < GRASPED)
    still = halfway | grip & ~holding | delivered & holding
    action = jnp.append(jnp.where(still, 0.0, GAIN * move), jnp.where(grip, -GRIP, GRIP))
    action = action + noise * jax.random.normal(key, (3,))
    return jnp.clip(action, -CLIP, CLIP)


def _stacked(blocks: Array, plan: Array, in_hand: Array) -> Array:
    """How many blocks lie on those before them in the plan, `[]` int32, and are not in the hand."""
    y, z = blocks[plan, 0], blocks[plan, 1]
    fits = (jnp.abs(jnp.diff(y)) < HALF) & (jnp.abs(jnp.diff(z) - 2 * HALF) < STACKED)
    return jnp.cumprod(fits & ~in_hand[plan[1:]], dtype=jnp.int32).sum(dtype=jnp.int32)


def _reach(blocks: Array, target: Array, commanded: Array, position: Array) -> tuple[Array, Array]:
    """Movement `[2]`, metres, towards a block from above, and whether the gripper is around it."""
    error = target - commanded
    sideways = jnp.abs(target[0] - position[0])
    around = (commanded[1] < target[1] + HALF + FINGERTIPS) & (sideways < STRADDLES)
    down = jnp.where(around & (jnp.abs(error[0]) > ALIGNED), error.at[1].set(0.0), error)
    over = _pass_over(blocks, commanded, position[1], target[0], FINGERTIPS)
    aligned = (jnp.abs(error[0]) < ALIGNED) & (sideways < STRADDLES)
    arrived = jnp.linalg.norm(target - position) < ARRIVED
    return jnp.where(around | aligned, down, over), arrived


def _carry(
    blocks: Array, target: Array, goal: Array, lag: Array, number: Array
) -> tuple[Array, Array]:
    """Movement `[2]`, metres, of a held block to its place, and whether it is there."""
    held = target + lag  # where it will be
    error = goal - held
    sideways = jnp.abs(goal[0] - target[0])
    low = target[1] < goal[1] + CLEARANCE
    aligned = (jnp.abs(error[0]) < ALIGNED) & (sideways < jnp.where(low, STRADDLES, ALIGNED))
    others = blocks.at[number, 1:].set(0.0)  # it is not in its own way
    over = _pass_over(others, held, target[1], goal[0], HALF)
    delivered = (sideways < STRADDLES) & (target[1] - goal[1] < RELEASE)
    return jnp.where(aligned, error, over), delivered


def _pass_over(blocks: Array, start: Array, height: Array, y: Array, depth: float) -> Array:
    """Movement `[2]`, metres, to a place `y` `[]` at a height that is safe on the way there.

    Args:
      blocks: what is in the way, as observed.
      start: `[2]`, where what moves is commanded to be, metres.
      height: `[]`, where it still is, metres.
      y: where it goes, metres.
      depth: how far it extends below its middle, metres.
    """
    turned = jnp.abs(blocks[:, 2]) + jnp.abs(blocks[:, 3])  # a tilted cube is higher
    tops = blocks[:, 1] + HALF * turned

    def safe_height(end: Array) -> Array:
        low, high = jnp.minimum(start[0], end) - REACH, jnp.maximum(start[0], end) + REACH
        between = (blocks[:, 0] > low) & (blocks[:, 0] < high)
        return jnp.where(between, tops, 0.0).max() + depth + CLEARANCE

    sideways = y - start[0]
    ahead = safe_height(start[0] + jnp.clip(sideways, -AHEAD, AHEAD))
    clear = jnp.minimum(start[1], height) > ahead - 0.5 * CLEARANCE
    # noise would take what rises into a tower beside it
    beside = start[0] - blocks[:, 0]
    near = (tops > height - depth) & (jnp.abs(beside) > BESIDE[0])
    away = jnp.sign(beside) * jnp.where(near, jnp.maximum(BESIDE[1] - jnp.abs(beside), 0.0), 0.0)
    return jnp.stack([jnp.where(clear, sideways, away.sum()), safe_height(y) - start[1]])
