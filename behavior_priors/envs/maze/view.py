"""What the point sees of the maze around it, and pictures of the whole of it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from behavior_priors.envs.maze.point import RADIUS
from behavior_priors.types import Array

PATCH = 7
"""Squares along a side of the patch; each is as large as a cell."""

IMAGE = 32
"""Pixels along a side of the image."""

PIXEL = 0.2
"""Cells along a side of a pixel, so that the image shows 6.4 cells."""

FLOOR, WALL, GOAL, POINT = (235, 235, 235), (60, 66, 82), (0, 158, 115), (213, 94, 0)
"""Colours of pictures."""


def patch(walls: Array, position: Array) -> Array:
    """How much of each square around a position `[2]` is wall: `[7, 7]` uint8, 255 for all of it.

    The squares move with the position, so that the patch tells how far away each wall is.
    """
    reach = PATCH // 2
    padded = jnp.pad(walls, reach + 1, constant_values=True).astype(jnp.float32)
    # the squares' lower corners lie in these cells, by the same share
    corner = position - 0.5
    cell = jnp.floor(corner)
    share = corner - cell
    start = jnp.int32(cell) + 1
    area = jax.lax.dynamic_slice(padded, start, (PATCH + 1, PATCH + 1))
    area = area[:-1] * (1.0 - share[0]) + area[1:] * share[0]
    area = area[:, :-1] * (1.0 - share[1]) + area[:, 1:] * share[1]
    return jnp.uint8(255.0 * area + 0.5)


def image(walls: Array, position: Array) -> Array:
    """The surroundings of a position `[2]` from above: `[32, 32]` uint8, 255 for wall.

    A pixel that a wall covers in part is as grey as its share: a step is at most a quarter of a
    pixel long, and two images that were black and white would not tell a velocity.
    """
    reach = IMAGE * PIXEL / 2
    padding = int(reach) + 1
    padded = jnp.pad(walls, padding, constant_values=True).astype(jnp.float32)
    # all cells that are seen, and for each row of pixels the two that it may lie in
    corner = jnp.int32(jnp.floor(position - reach))
    cells = math.ceil(2 * reach) + 1
    area = jax.lax.dynamic_slice(padded, corner + padding, (cells, cells))
    for axis in (0, 1):
        edges = position[axis] - reach + PIXEL * jnp.arange(IMAGE, dtype=jnp.float32)
        cell = jnp.floor(edges)
        beyond = jnp.maximum(edges + PIXEL - (cell + 1.0), 0.0) / PIXEL
        beyond = jnp.expand_dims(beyond, 1 - axis)
        index = jnp.int32(cell) - corner[axis]
        following = jnp.minimum(index + 1, cells - 1)
        here, there = jnp.take(area, index, axis), jnp.take(area, following, axis)
        area = here * (1.0 - beyond) + there * beyond
    return jnp.uint8(255.0 * area + 0.5)


def picture(walls: Array, goals: Array, position: Array, width: int, height: int) -> Array:
    """The whole maze with its goal and the point: `[height, width, 3]` uint8."""
    size = walls.shape[0]
    scale = size / min(width, height)
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2) * scale + size / 2
    y = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2) * scale + size / 2
    column, row = jnp.int32(jnp.floor(x)), size - 1 - jnp.int32(jnp.floor(y))
    outside = ((column < 0) | (column >= size))[None, :] | ((row < 0) | (row >= size))[:, None]
    column, row = jnp.clip(column, 0, size - 1), jnp.clip(row, 0, size - 1)
    near = jnp.square(x - position[0])[None, :] + jnp.square(size - y - position[1])[:, None]
    shown = jnp.asarray(FLOOR, jnp.uint8)
    for where, colour in (
        (goals[column[None, :], row[:, None]], GOAL),
        (walls[column[None, :], row[:, None]], WALL),
        # as large as can be seen
        (near < jnp.square(jnp.maximum(2 * RADIUS, 2.5 * scale)), POINT),
        (outside, (255, 255, 255)),
    ):
        shown = jnp.where(where[..., None], jnp.asarray(colour, jnp.uint8), shown)
    return shown
