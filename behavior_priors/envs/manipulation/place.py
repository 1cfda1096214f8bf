"""Place tasks: an object put in or on a container that is fixed to the table.

Two objects a scene; the third slot that is observed is absent, so that observations are grasp's.
"""

from __future__ import annotations

import functools
import random

import jax.numpy as jnp

from behavior_priors.envs.family import Family
from behavior_priors.envs.manipulation import containers, objects, scripted, tabletop
from behavior_priors.envs.manipulation.layouts import Layout
from behavior_priors.envs.manipulation.task import Task, sparse_reward
from behavior_priors.errors import UserError
from behavior_priors.types import Array, Env, Observation

DATA_SCENES = 256
SLOTS = 2
SPLITS: tuple[objects.Split, ...] = ("train", "validation", "test")
EPISODE_LENGTH = 40

CONTAINER_REGION = ((0.29, 0.41), (0.13, 0.17))
"""Where containers stand in data, metres: along x, and to either side along y."""

TASK_PLACE = (0.35, 0.15)
"""Where the container of a task stands, metres."""


def placed(observation: Observation, rest_height: Array) -> Array:
    """Which objects lie in or on the container, `[slots]` bool.

    As in the WidowX suite, their origins are near the container's middle and low enough; whether
    the gripper has let go does not matter.
    """
    offset = observation["object_position"] - observation["container_position"][..., None, :]
    near = jnp.linalg.norm(offset[..., :2], axis=-1) < scripted.PLACE_RADIUS
    near &= observation["object_present"] > 0.5
    return near & (offset[..., 2] - rest_height < scripted.PLACE_HEIGHT)


def placed_target(observation: Observation, rest_height: Array, slot: Array) -> Array:
    """The object in the task's slot is placed."""
    return placed(observation, rest_height)[slot]


def placed_any(observation: Observation, rest_height: Array, slot: Array) -> Array:
    """Some object is placed."""
    del slot
    return placed(observation, rest_height).any()


def _split_scenes(split: objects.Split) -> list[Layout]:
    """Random scenes of a split's objects and containers; the same ones every time."""
    names, holders, rng = objects.names(split), containers.container_names(split), random.Random(0)
    scenes = []
    for _ in range(DATA_SCENES):
        slots = tuple(rng.sample(names, k=SLOTS))
        (x_low, x_high), (y_low, y_high) = CONTAINER_REGION
        at = (rng.uniform(x_low, x_high), rng.choice((-1, 1)) * rng.uniform(y_low, y_high))
        scenes.append(Layout(slots, rng.choice(holders), at))
    return scenes


def _task_scene(name: str, container: str) -> Layout:
    """The object in slot 0, the next one of its split beside it, the container at a fixed place."""
    split = objects.names(objects.find(name).split)
    other = split[(split.index(name) + 1) % len(split)]
    return Layout((name, other), container, TASK_PLACE)


def _parse(member: str) -> tuple[str, str] | None:
    """Object and container of `mug-in-basket`, if there are such."""
    name, _, container = member.partition("-in-")
    known = name in objects.OBJECTS and container in containers.CONTAINERS
    return (name, container) if known else None


def place_complaint(member: str) -> str | None:
    """What there is instead of an unknown member; None for a known one."""
    if member in SPLITS or _parse(member):
        return None
    return (
        f"place/ has OBJECT-in-CONTAINER and {', '.join(SPLITS)}, with an object of: "
        f"{', '.join(objects.OBJECTS)}; and a container of: {', '.join(containers.CONTAINERS)}"
    )


def make_place(
    what: str,
    *,
    engine: str = "auto",
    reward: str = "sparse",
    demonstrator_noise: float = scripted.NOISE,
    any_object: bool | None = None,
) -> Env:
    """Builds a place environment.

    Args:
      what: `OBJECT-in-CONTAINER`, for the task of placing that object there; or a split (`train`,
        `validation`, `test`), for random scenes of its objects and containers, in which the
        demonstrator places a random one.
      engine: the physics engine.
      reward: `sparse`, the only one there is.
      demonstrator_noise: standard deviation on every action dimension of the demonstrator.
      any_object: whether any object counts, not only that of the task's slot; None for splits only.
        A split with `any_object=false` is a family of tasks, as grasp's is.

    Raises:
      UserError: an unknown object, container, split, engine or reward.
    """
    if reward != "sparse":
        raise UserError(f"--reward={reward} is unknown to place/; use sparse")
    is_split = what in SPLITS
    parsed = _parse(what)
    if not is_split and parsed is None:
        raise UserError(f"place/{what} is unknown; {place_complaint(what)}")
    scenes = [_task_scene(*parsed)] if parsed else _split_scenes(what)  # type: ignore[arg-type]
    counts_any = is_split if any_object is None else any_object
    task = Task(
        name=f"place/{what}",
        scenes=scenes,
        random_slot=is_split,
        success=placed_any if counts_any else placed_target,
        reward=sparse_reward,
        demonstrator=functools.partial(scripted.scripted_place, noise=demonstrator_noise),
        slot_counts=not counts_any,
    )
    return tabletop.make_tabletop(task, engine=engine, episode_length=EPISODE_LENGTH)


FAMILY = Family(make_place, place_complaint)
