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
CENTRED = 0.015  # metres sideways from the container's middle, below which the object goes down
CLEARANCE = 0.03  # metres between a carried object and the container's rim
RELEASE = 0.012  # metres between an object and the surface below it, at which it is let go
PLACE_RADIUS = 0.05  # metres from the container's middle within which an object counts as placed
PLACE_HEIGHT = 0.025  # metres above rest on the container below which it does
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
    distance = jnp.linalg.norm(target - observation["ee_position"])
    raised = target[2] - rest_height[slot] > LIFT
    closing = (command < 0.5) & (distance < LOST)

    lift = jnp.zeros(3).at[2].set(jnp.where(raised | _still_open(opening), 0.0, 1.0))
    approach, grip = _reach(observation, target)
    move = jnp.where(closing, lift, approach)
    return _noisy(move, jnp.where(closing, -GRIP, grip), key, noise)


def scripted_place(
    observation: Observation, rest_height: Array, slot: Array, key: PRNGKey, noise: float = NOISE
) -> Array:
    """Puts the object of a slot in or on the container: PARROT's algorithm 2.

    It grasps as `scripted_grasp` does, lifts the object above the rim, carries it above the
    container's middle, lowers it, lets go and rises.

    Args:
      observation: of a tabletop environment with a container.
      rest_height: `[slots]`, of the objects' origins, metres.
      slot: `[]` int32, whose object.
      key: consumed.
      noise: standard deviation of what is added to every action dimension.

    Returns:
      An action `[7]` within +-0.9.
    """
    target = observation["object_position"][slot]
    opening, command = observation["gripper"]
    distance = jnp.linalg.norm(target - observation["ee_position"])
    holding = (command < 0.5) & (distance < LOST)

    to_middle = observation["container_position"] - target
    above_floor = -to_middle[2] - rest_height[slot]
    sideways = jnp.linalg.norm(to_middle[:2])
    # the height at which the object passes over the rim, and a band in which it may move sideways
    too_low = observation["container_size"][2] + CLEARANCE - above_floor
    # once on its way down, a push of noise does not send it up again
    over = sideways < jnp.where(too_low > 0.02, 2.0 * CENTRED, CENTRED)
    across = GAIN * jnp.append(to_middle[:2], 0.0)
    rise = jnp.zeros(3).at[2].set(jnp.clip(GAIN * (too_low + 0.02), 0.0, 1.0))
    down = GAIN * jnp.array([to_middle[0], to_middle[1], -above_floor])
    carry = jnp.where(over, down, jnp.where(too_low > 0.0, rise, across + rise))
    carry = jnp.where(_still_open(opening), 0.0, carry)
    done = (sideways < PLACE_RADIUS) & (above_floor < RELEASE)

    approach, grip = _reach(observation, target)
    away = jnp.zeros(3).at[2].set(0.5)
    move = jnp.where(done, jnp.where(command < 0.5, 0.0, away), jnp.where(holding, carry, approach))
    grip = jnp.where(done, GRIP, jnp.where(holding, -GRIP, grip))
    return _noisy(move, grip, key, noise)


def grasp_point_controller(observation: Observation, slot: Array) -> Array:
    """Goes above the object's observed grasp point, then down, closes, lifts: no learning at all.

    It knows nothing of objects but `object_offset`, and so says how much of grasping a held-out
    object is left to learn where that is observed.

    Args:
      observation: of a tabletop environment.
      slot: `[]` int32, which of the observed objects.

    Returns:
      An action `[7]`.
    """
    offset = observation["object_offset"][slot]
    above = jnp.linalg.norm(offset[:2]) < ALIGNED
    closed = (observation["gripper"][1] < 0.5) | (jnp.linalg.norm(offset) < THRESHOLD)
    move = GAIN * jnp.where(above, offset, offset.at[2].set(0.0))
    lift = jnp.zeros(3).at[2].set(jnp.where(_still_open(observation["gripper"][0]), 0.0, 1.0))
    move = jnp.clip(jnp.where(closed, lift, move), -1.0, 1.0)
    return jnp.concatenate([move, jnp.zeros(3), jnp.where(closed, -1.0, 1.0)[None]])


def _reach(observation: Observation, target: Array) -> tuple[Array, Array]:
    """Movement `[3]` to a target, first above it, and the grip, which closes there."""
    error = target - observation["ee_position"]
    distance = jnp.linalg.norm(error)
    aligned = jnp.linalg.norm(error[:2]) < ALIGNED
    move = GAIN * jnp.where(aligned, error, error.at[2].set(0.0))
    arrived = distance < THRESHOLD
    return jnp.where(arrived, 0.0, move), jnp.where(arrived, -GRIP, GRIP)


def _still_open(opening: Array) -> Array:
    """The fingers have been told to close but have not yet."""
    return opening > 0.98


def _noisy(move: Array, grip: Array, key: PRNGKey, noise: float) -> Array:
    action = jnp.concatenate([move, jnp.zeros(3), grip[None]])
    action = action + noise * jax.random.normal(key, action.shape)
    return jnp.clip(action, -CLIP, CLIP)
