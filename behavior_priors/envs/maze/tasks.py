"""Where the maze's episodes begin and end: in random mazes, or in one that stays."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.maze import layout, maps
from behavior_priors.errors import UserError
from behavior_priors.types import Array, PRNGKey

RANDOM_SIZE = 20
"""Cells along each side."""

START, GOAL = (10, 24), (18, 8)
"""Cells that the reference's test begins and ends in; here the nearest ones that serve."""


class Map(NamedTuple):
    """A maze with a task in it.

    Attributes:
      walls: `[size, size]` bool.
      goal: `[2]`, its centre.
      ways: `[size, size]` int32, steps from each cell to the goal's.
    """

    walls: Array
    goal: Array
    ways: Array


@functools.cache
def fixed_task(member: str, distance: int, radius: float) -> tuple[tuple[int, int], Map]:
    """A task that is the same in every episode: the start's cell, and the map with its goal.

    Args:
      member: one of `maps.FIXED`.
      distance: cells of the shortest way from the start's cell to the first one that has its
        centre within `radius` of the goal.
      radius: of the goal.

    Raises:
      UserError: there is no such goal.
    """
    size, walls = maps.FIXED_SIZE, maps.fixed_walls(member)
    cells = np.argwhere(~walls)
    start = _nearest(cells, START)
    ways = jax.jit(layout.ways_to)
    from_start = np.asarray(ways(walls, _only(size, start)))
    centres = cells + 0.5
    near = np.linalg.norm(centres[:, None] - centres[None, :], axis=-1) < radius
    steps = np.where(near, from_start[tuple(cells.T)][None, :], layout.UNREACHABLE).min(axis=1)
    there = cells[steps == distance]
    if not len(there):
        most = steps[steps < layout.UNREACHABLE].max()
        raise UserError(
            f"maze/{member}: no goal of radius {radius:g} is distance={distance} from the start; "
            f"give at least 1 and at most {most}"
        )
    goal = _nearest(there, GOAL)
    to_goal = np.asarray(ways(walls, _only(size, goal)))
    centre = np.asarray(goal, np.float32) + np.float32(0.5)
    return start, Map(*map(jnp.asarray, (walls, centre, to_goal)))


def _nearest(cells: np.ndarray, to: tuple[int, int]) -> tuple[int, int]:
    i, j = cells[np.argmin(np.square(cells - np.asarray(to)).sum(axis=1))]
    return int(i), int(j)


def _only(size: int, cell: tuple[int, int]) -> np.ndarray:
    grid = np.zeros((size, size), bool)
    grid[cell] = True
    return grid


def random_task(key: PRNGKey) -> tuple[Array, Map]:
    """A random maze, start and goal, between which there is a way of at least one cell."""
    maze_key, task_key = jax.random.split(key)
    size = RANDOM_SIZE
    walls = layout.draw_walls(maze_key, size)
    uniform = jax.random.uniform(task_key, (4,))
    # some cells have walls all around them
    goal = _pick(~walls & ~layout.all_around(walls), uniform[0])
    ways = layout.ways_to(walls, jnp.zeros((size, size), bool).at[goal[0], goal[1]].set(True))
    start = _pick((ways > 0) & (ways < layout.UNREACHABLE), uniform[1])
    position = start.astype(jnp.float32) + 0.15 + 0.7 * uniform[2:]
    return position, Map(walls, goal.astype(jnp.float32) + 0.5, ways)


def _pick(allowed: Array, uniform: Array) -> Array:
    """One of the cells `[2]` that are allowed, by a number in [0, 1)."""
    cumulative = jnp.cumsum(allowed.ravel(), dtype=jnp.float32)
    place = jnp.argmax(cumulative > uniform * cumulative[-1])
    return jnp.stack([place // allowed.shape[1], place % allowed.shape[1]])
