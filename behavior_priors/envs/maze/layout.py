"""Random mazes on a grid, and the ways through them.

The mazes have the statistics of those that SPiRL learns skills in (Pertsch et al. 2020; facts of
the generator in the authors' fork of D4RL): straight walls of 0.3 to 0.5 of the side with one door
each, drawn preferably far from other walls, until a quarter of the maze is wall. A grid is an array
`[size, size]` whose element `[i, j]` covers `[i, i + 1) x [j, j + 1)`, in cells.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from behavior_priors.types import Array, PRNGKey

COVERAGE = 0.25
"""Share of the cells inside of the border that become wall."""

LENGTH = (0.3, 0.5)
"""Shortest and longest wall, in sides of the maze."""

SHOULDER = 2
"""Cells of wall that a door has on both sides."""

PREFERENCE = 1.0
"""How much likelier each cell of distance from other walls makes a place: a factor of `e`."""

UNREACHABLE = 10_000
"""Steps to a goal that there is no way to."""

_WALLS_PER_SIDE = 2
"""Walls that are tried, for each cell of the side; most mazes need about 0.7."""


def draw_walls(key: PRNGKey, size: int) -> Array:
    """A maze `[size, size]`, bool, with a border of wall. The key is consumed."""
    index = jnp.arange(size)
    inside = (index > 0) & (index < size - 1)
    inside = inside[:, None] & inside[None, :]
    shortest, longest = (round(share * size) for share in LENGTH)
    attempts = round(_WALLS_PER_SIDE * size)

    def build(walls: Array, draws: Array) -> tuple[Array, None]:
        turned = draws[0] < 0.5
        grid = jnp.where(turned, walls.T, walls)
        length = shortest + jnp.int32(draws[1] * (longest - shortest + 1))
        first = index[None, :] - length // 2  # of a wall centred there, along the second axis
        fits = inside & (first > 0) & (first + length < size)
        weight = jnp.where(fits, jnp.exp(PREFERENCE * _distance_to(grid)), 0.0).ravel()
        cumulative = jnp.cumsum(weight)
        place = jnp.argmax(cumulative > draws[2] * cumulative[-1])
        row, begin = place // size, place % size - length // 2
        room = jnp.float32(length - 2 * SHOULDER)
        door = begin + SHOULDER + jnp.int32(draws[3] * room)
        covered = (index >= begin) & (index < begin + length) & (index != door)
        built = grid | ((index == row)[:, None] & covered[None, :])
        built = jnp.where(turned, built.T, built)
        enough = jnp.sum(walls & inside) >= math.ceil(COVERAGE * (size - 2) ** 2)
        return jnp.where(enough, walls, built), None

    draws = jax.random.uniform(key, (attempts, 4))
    return jax.lax.scan(build, ~inside, draws)[0]


def ways_to(walls: Array, goals: Array) -> Array:
    """Steps along the grid's axes from every cell to the nearest goal.

    Args:
      walls: `[size, size]` bool.
      goals: `[size, size]` bool.

    Returns:
      `[size, size]` int32, `UNREACHABLE` in walls and where there is no way.
    """
    start = jnp.where(goals & ~walls, 0, UNREACHABLE)

    def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        ways, _ = carry
        nearer = jnp.where(walls, UNREACHABLE, jnp.minimum(ways, 1 + _lowest_neighbour(ways)))
        return nearer, (nearer != ways).any()

    return jax.lax.while_loop(lambda carry: carry[1], step, (start, jnp.bool_(True)))[0]


def next_cell(walls: Array, ways: Array, cell: Array) -> Array:
    """The neighbour `[2]` of a cell `[2]` that is nearest to the goal, or the cell at the goal."""
    steps = jnp.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    around = jnp.clip(cell + steps, 0, walls.shape[0] - 1)
    return around[jnp.argmin(ways[around[:, 0], around[:, 1]])]


def all_around(walls: Array) -> Array:
    """Whether all four neighbours of a cell are wall: `[size, size]` bool."""
    return _lowest_neighbour(walls.astype(jnp.int32)) > 0


def _distance_to(walls: Array) -> Array:
    """Steps `[size, size]` from each cell to the nearest wall; a border of wall bounds them."""
    start = jnp.where(walls, 0, UNREACHABLE)

    def step(_: int, distance: Array) -> Array:
        return jnp.minimum(distance, 1 + _lowest_neighbour(distance))

    return jax.lax.fori_loop(0, walls.shape[0] // 2, step, start).astype(jnp.float32)


def _lowest_neighbour(values: Array) -> Array:
    """The lowest of the four values beside each; there is nothing beyond the edge."""
    padded = jnp.pad(values, 1, constant_values=UNREACHABLE)
    return jnp.minimum(
        jnp.minimum(padded[2:, 1:-1], padded[:-2, 1:-1]),
        jnp.minimum(padded[1:-1, 2:], padded[1:-1, :-2]),
    )
