"""A point mass in mazes: random ones to learn skills in, and a larger one to learn a task in.

`maze/train` is another random maze of 20 x 20 cells, with another goal, in every episode;
`maze/test` one of 40 x 40, with one goal far away, and `maze/validation` another such. After the
mazes of SPiRL (Pertsch et al. 2020, section 4 and appendix C), written as pure JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.envs.family import Family, one_of, refuse_engine
from behavior_priors.envs.maze import layout, point, view
from behavior_priors.envs.maze.maps import FIXED, FIXED_SIZE
from behavior_priors.envs.maze.tasks import RANDOM_SIZE, Map, fixed_task, random_task
from behavior_priors.errors import UserError
from behavior_priors.keys import named_child
from behavior_priors.types import (
    ActionSpec,
    Array,
    ArraySpec,
    Env,
    Observation,
    ObservationSpec,
    PRNGKey,
    State,
)

TRAIN_LENGTH, TEST_LENGTH = 1000, 2000

JITTER = 0.2
"""Cells by which the demonstrator's way points are moved, along each axis."""

GAINS = (10.0, 1.0)
"""Of the demonstrator's controller, for the distance to the way point and for the velocity."""


class Point(NamedTuple):
    """Where the point is, how fast, and the map if every episode has one of its own."""

    position: Array
    velocity: Array
    map: Map | None


def make_maze(
    member: str,
    *,
    engine: str = "auto",
    distance: int = 24,
    radius: float | None = None,
    ends_at_goal: bool = True,
    patch: bool = True,
    image: bool = False,
    episode_length: int | None = None,
) -> Env:
    """A maze, in cells, with steps of 0.01 s and forces along both axes as actions.

    The reward is 1 in each step that ends within `radius` of the goal, 0 elsewhere; success is to
    be there. `scores` has `cells_to_goal`, the steps through the maze that are left.

    Args:
      member: `train`, `validation` or `test`.
      engine: there is no choice.
      distance: of the goal that stays: cells of the shortest way from the start's cell to the
        first one that has its centre within `radius` of the goal.
      radius: of the goal; None for 0.5 in random mazes and 2, as in the reference, in others.
      ends_at_goal: the first step at the goal ends the episode; else steps at the goal are counted
        until its end.
      patch: observe `patch` `[7, 7]`, how much of each square around is wall.
      image: observe `image` `[32, 32, 2]`, what is around, now and a step ago.
      episode_length: None for 1000 in random mazes and 2000 in others.

    Raises:
      UserError: an engine is asked for, or the maze has no goal at that distance.
    """
    refuse_engine(engine, f"maze/{member}")
    if radius is not None and radius <= 0:
        raise UserError(f"maze/{member}: radius={radius} should be positive")
    stays = member in FIXED
    reach = radius if radius is not None else (2.0 if stays else 0.5)
    length = episode_length or (TEST_LENGTH if stays else TRAIN_LENGTH)
    if stays:
        start, fixed = fixed_task(member, distance, reach)

        def begin(key: PRNGKey) -> tuple[Array, Map | None]:
            corner = jax.random.uniform(key, (2,), minval=0.15, maxval=0.85)
            return jnp.asarray(start, jnp.float32) + corner, None
    else:
        fixed = None

        def begin(key: PRNGKey) -> tuple[Array, Map | None]:
            return random_task(key)

    observe = _observer(patch, image)
    return _make_env(
        f"maze/{member}",
        FIXED_SIZE if stays else RANDOM_SIZE,
        length,
        begin,
        fixed,
        reach,
        ends_at_goal,
        observe,
        patch,
        image,
    )


def _observation_spec(size: int, has_patch: bool, has_image: bool) -> ObservationSpec:
    spec = {
        "position": ArraySpec((2,), location=size / 2, scale=size / 4),
        "velocity": ArraySpec((2,), scale=2.0),
    }
    pixels = {"dtype": np.uint8, "location": 127.5, "scale": 127.5}
    if has_patch:
        spec["patch"] = ArraySpec((view.PATCH, view.PATCH), **pixels)
    if has_image:
        spec["image"] = ArraySpec((view.IMAGE, view.IMAGE, 2), **pixels)
    return spec


def _observer(has_patch: bool, has_image: bool) -> Callable[..., Observation]:
    """`(walls, position, velocity, observation before) -> observation`; None before at a reset."""

    def observe(
        walls: Array, position: Array, velocity: Array, before: Observation | None
    ) -> Observation:
        seen = {"position": position, "velocity": velocity}
        if has_patch:
            seen["patch"] = view.patch(walls, position)
        if has_image:
            now = view.image(walls, position)
            earlier = now if before is None else before["image"][..., 0]
            seen["image"] = jnp.stack([now, earlier], axis=-1)
        return seen

    return observe


def _make_env(
    name: str,
    size: int,
    episode_length: int,
    begin: Callable[[PRNGKey], tuple[Array, Map | None]],
    fixed: Map | None,
    radius: float,
    ends_at_goal: bool,
    observe: Callable[..., Observation],
    has_patch: bool,
    has_image: bool,
) -> Env:
    options = "?image=true" if has_image else ""

    def map_of(simulation: Point) -> Map:
        if fixed is not None:
            return jax.tree.map(jnp.asarray, fixed)
        assert simulation.map is not None
        return simulation.map

    def reset(key: PRNGKey) -> State:
        key, task_key = jax.random.split(key)
        position, own = begin(task_key)
        simulation = Point(position, jnp.zeros(2), own)
        observation = observe(map_of(simulation).walls, position, simulation.velocity, None)
        return first_state(key, observation, simulation)

    def step(state: State, action: Array) -> State:
        simulation = state.simulation
        where = map_of(simulation)
        position, velocity = point.move(
            where.walls, simulation.position, simulation.velocity, action
        )
        time = state.time + 1
        success = jnp.sum(jnp.square(position - where.goal)) < radius**2
        terminated = success & ends_at_goal
        return state._replace(
            observation=observe(where.walls, position, velocity, state.observation),
            reward=success.astype(jnp.float32),
            terminated=terminated,
            truncated=~terminated & (time >= episode_length),
            time=time,
            success=success,
            simulation=Point(position, velocity, simulation.map),
        )

    def demonstrate(state: State, _: PRNGKey) -> Array:
        """Heads for the next cell on the shortest way, by a point in it of the episode's own."""
        where, (position, velocity, _) = map_of(state.simulation), state.simulation
        cell = layout.next_cell(where.walls, where.ways, jnp.int32(jnp.floor(position)))
        jitter = jax.random.uniform(
            jax.random.fold_in(named_child(state.key, "jitter"), cell[0] * size + cell[1]),
            (2,),
            minval=-1.0,
        )
        target = cell.astype(jnp.float32) + 0.5 + JITTER * jitter
        return jnp.clip(GAINS[0] * (target - position) - GAINS[1] * velocity, -1.0, 1.0)

    def cells_to_goal(state: State) -> Array:
        i, j = jnp.int32(jnp.floor(state.simulation.position))
        return map_of(state.simulation).ways[i, j].astype(jnp.float32)

    def render(state: State, width: int, height: int) -> Array:
        where = map_of(state.simulation)
        index = jnp.arange(size, dtype=jnp.float32) + 0.5
        near = jnp.square(index - where.goal[0])[:, None] + jnp.square(index - where.goal[1])
        return view.picture(
            where.walls, near < max(radius, 0.5) ** 2, state.simulation.position, width, height
        )

    return Env(
        name=name,
        observation_spec=_observation_spec(size, has_patch, has_image),
        action_spec=ActionSpec(2),
        episode_length=episode_length,
        reset=reset,
        step=step,
        demonstrate=demonstrate,
        render=render,
        scores={"cells_to_goal": cells_to_goal},
        info={
            "engine": "jax",
            "data_env": f"maze/train{options}",
            "report_env": f"{name if fixed is not None else 'maze/test'}{options}",
            "cells": size,
        },
    )


FAMILY = Family(make_maze, one_of("maze", lambda: ("train", *FIXED)))
