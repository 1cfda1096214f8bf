"""Scripted demonstrators, pure and unbatched."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from behavior_priors.types import Array, Observation, PRNGKey

GAIN = 14.0  # action per metre of error: a commanded step covers 0.7 of what is left
ALIGNED = 0.02  # metres sideways, above which the gripper does not come down
THRESHOLD = 0.02  # metres to the target, below which the gripper closes
LOST = 0.04  # metres to the target, above which a closed gripper opens and tries again
GRIP = 0.7
NOISE = 0.1  # standard deviation on every action dimension
LIFT = 0.09  # metres above rest at which a held object is high enough
CLIP = 0.9  # of actions, so that their inverse hyperbolic tangent stays moderate


def scripted_grasp(
    observation: Observation, rest_height: Array, slot: Array, key: PRNGKey, noise: float = NOISE
) -> Array:
    """Grasps and lifts the object of a slot: PARROT's algorithm 1.

    The target is the object's origin, where it is best held. The gripper first moves above it, then
    down, so as not to sweep it away.

    Args:
      observation: of a tabletop environment.
      rest_height: `[slots]`, of the objects' origins, metres.
      slot: `[]` int32, whose object.
      key: consumed.
      noise: standard deviation of what is added to every action dimension.

    Returns:
      An action `[7]` within +-0.9.
    """
    target = observation["object_position"][slot]
    opening, command = observation["gripper"]
    error = target - observation["ee_position"]
    distance = jnp.linalg.norm(error)
    aligned = jnp.linalg.norm(error[:2]) < ALIGNED
    raised = target[2] - rest_height[slot] > LIFT
    closing = (command < 0.5) & (distance < LOST)
    fingers_still_open = opening > 0.98

    approach = jnp.where(
        distance < THRESHOLD, 0.0, GAIN * jnp.where(aligned, error, error.at[2].set(0.0))
    )
    lift = jnp.zeros(3).at[2].set(jnp.where(raised | fingers_still_open, 0.0, 1.0))
    move = jnp.where(closing, lift, approach)
    grip = jnp.where(closing | (distance < THRESHOLD), -GRIP, GRIP)
    action = jnp.concatenate([move, jnp.zeros(3), grip[None]])
    action = action + noise * jax.random.normal(key, action.shape)
    return jnp.clip(action, -CLIP, CLIP)
