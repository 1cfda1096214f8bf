"""Grasp tasks: an object lifted and held, whether or not training data has shown it."""

from __future__ import annotations

import functools
import random
from typing import Literal

import jax.numpy as jnp

from behavior_priors.envs.family import Family, one_of
from behavior_priors.envs.manipulation import objects, scripted, tabletop
from behavior_priors.envs.manipulation.layouts import Layout
from behavior_priors.envs.manipulation.task import (
    SUCCESS_DISTANCE,
    SUCCESS_HEIGHT,
    Task,
    held,
    sparse_reward,
)
from behavior_priors.errors import UserError
from behavior_priors.types import Array, Env, Observation

DATA_SCENES = 256
SLOTS = 3
SPLITS: tuple[objects.Split, ...] = ("train", "validation", "test")

Reward = Literal["sparse", "dense"]


def grasped_target(observation: Observation, rest_height: Array, slot: Array) -> Array:
    """The object in the task's slot is held."""
    return held(observation, rest_height)[slot]


def grasped_any(observation: Observation, rest_height: Array, slot: Array) -> Array:
    """Some object is held, whichever."""
    del slot
    return held(observation, rest_height).any()


def dense_reward(
    observation: Observation, rest_height: Array, slot: Array, success: Array
) -> Array:
    """Nearness of the gripper, a closed grip around the object, its height; 1 on success.

    It marks the way for learners that start from nothing; its maximum is that of the sparse one.
    """
    target = observation["object_position"][slot]
    distance = jnp.linalg.norm(target - observation["ee_position"])
    reach = 1.0 - jnp.tanh(8.0 * distance)
    closed = jnp.where(distance < 0.03, 1.0 - observation["gripper"][1], 0.0)
    height = jnp.clip((target[2] - rest_height[slot]) / SUCCESS_HEIGHT, 0.0, 1.0)
    lift = jnp.where(distance < SUCCESS_DISTANCE, height, 0.0)
    return jnp.where(success, 1.0, 0.25 * reach + 0.15 * closed + 0.4 * lift)


_REWARDS = {"sparse": sparse_reward, "dense": dense_reward}


def _task_scene(name: str) -> Layout:
    """The object itself in slot 0, and the next ones of its split beside it."""
    split = objects.names(objects.find(name).split)
    first = split.index(name)
    return Layout(tuple(split[(first + k) % len(split)] for k in range(SLOTS)))


def _split_scenes(split: objects.Split) -> list[Layout]:
    """Random scenes of a split's objects, shuffled over the slots; the same ones every time."""
    names, rng = objects.names(split), random.Random(0)
    draw = rng.sample if len(names) >= SLOTS else rng.choices
    return [Layout(tuple(draw(names, k=SLOTS))) for _ in range(DATA_SCENES)]


def grasp_members() -> tuple[str, ...]:
    """What there is to grasp: the held-out objects first, then the splits and the other objects."""
    held_out = objects.names("test") + objects.names("validation")
    return (*held_out, *SPLITS, *objects.names("train"))


def make_grasp(
    what: str,
    *,
    engine: str = "auto",
    reward: Reward = "sparse",
    demonstrator_noise: float = scripted.NOISE,
    any_object: bool | None = None,
) -> Env:
    """Builds a grasp environment.

    Args:
      what: an object, for the task of grasping that one; or a split (`train`, `validation`,
        `test`), for random scenes of its objects in which any of them counts and the demonstrator
        aims at a random one.
      engine: the physics engine.
      reward: `sparse` as in the paper, or `dense`.
      demonstrator_noise: standard deviation on every action dimension of the demonstrator.
      any_object: whether any object counts, not only that of the task's slot; None for splits only.
        A split with `any_object=false` is a family of tasks: which object of which scene is wanted
        is not observed, only the reward tells.

    Raises:
      UserError: an unknown object, split, engine or reward.
    """
    if reward not in _REWARDS:
        raise UserError(f"--reward={reward} is unknown; use one of: {', '.join(_REWARDS)}")
    is_split = what in SPLITS
    counts_any = is_split if any_object is None else any_object
    task = Task(
        name=f"grasp/{what}",
        scenes=_split_scenes(what) if is_split else [_task_scene(what)],  # type: ignore[arg-type]
        random_slot=is_split,
        success=grasped_any if counts_any else grasped_target,
        reward=_REWARDS[reward],
        demonstrator=functools.partial(scripted.scripted_grasp, noise=demonstrator_noise),
        slot_counts=not counts_any,
    )
    return tabletop.make_tabletop(task, engine=engine)


FAMILY = Family(make_grasp, one_of("grasp/", grasp_members))
