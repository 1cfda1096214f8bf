"""The point mass of D4RL's mazes, and what keeps it out of walls.

A sphere on two slide joints, as in D4RL's `maze2d` (constants in the public `maze_model.py`):
radius 0.1, density 1000, joint damping 1, motors of gear 100, steps of 0.01 s, velocities limited
to 5. Lengths are cells. MuJoCo's Euler integrator takes joint damping implicitly, and so does this
one. Walls are rigid and smooth here, where MuJoCo's give way a little and rub.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from behavior_priors.types import Array

RADIUS = 0.1
MASS = 1000.0 * 4.0 / 3.0 * math.pi * RADIUS**3
"""Kilograms."""

DAMPING = 1.0
"""Newtons for each cell a second."""

FORCE = 100.0
"""Newtons of an action of 1."""

TIMESTEP = 0.01
"""Seconds."""

MAX_SPEED = 5.0
"""Cells a second, along each axis; less than a radius a step, so that no wall is jumped."""


def move(walls: Array, position: Array, velocity: Array, action: Array) -> tuple[Array, Array]:
    """One step.

    Args:
      walls: `[size, size]` bool, with a border of wall.
      position: `[2]`, in a free cell.
      velocity: `[2]`, cells a second.
      action: `[2]`, limited to [-1, 1].

    Returns:
      The next position and velocity. What would enter a wall is put back to its surface and loses
      the velocity into it.
    """
    force = FORCE * jnp.clip(action, -1.0, 1.0) - DAMPING * velocity
    velocity = velocity + TIMESTEP * force / (MASS + TIMESTEP * DAMPING)
    velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
    return _out_of_walls(walls, position, position + TIMESTEP * velocity, velocity)


def _out_of_walls(
    walls: Array, before: Array, position: Array, velocity: Array
) -> tuple[Array, Array]:
    """Puts the sphere back to the surface of the walls beside the cell it comes from.

    A sphere this small meets at most the nearest neighbour along each axis, whose face it cannot
    pass by, and the one between these two, of which it meets the corner.
    """
    cell = jnp.floor(before)
    offset = position - (cell + 0.5)
    side = jnp.where(offset >= 0, 1.0, -1.0)
    i, j = jnp.int32(cell)
    di, dj = jnp.int32(side)
    beside = jnp.stack([walls[i + di, j], walls[i, j + dj]])
    limit = 0.5 - RADIUS
    blocked = beside & (side * offset > limit)
    offset = jnp.where(blocked, side * limit, offset)
    velocity = jnp.where(blocked & (side * velocity > 0), 0.0, velocity)

    # from the nearest point of the diagonal neighbour, which is its corner, or a point of the face
    # that the sphere has begun to pass by
    away = side * jnp.minimum(side * offset - 0.5, 0.0)
    distance = jnp.sqrt(jnp.sum(jnp.square(away)))
    normal = away / jnp.maximum(distance, 1e-6)
    touches = walls[i + di, j + dj] & ~beside.any() & (distance < RADIUS)
    offset = jnp.where(touches, offset - away + RADIUS * normal, offset)
    inward = jnp.minimum(jnp.sum(velocity * normal), 0.0)
    velocity = jnp.where(touches, velocity - inward * normal, velocity)
    return cell + 0.5 + offset, velocity
