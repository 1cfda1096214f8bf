"""What distinguishes one tabletop task from another: its scenes, its condition and its reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from behavior_priors.envs.manipulation.layouts import Layout
from behavior_priors.types import Array, Observation, PRNGKey

SUCCESS_HEIGHT = 0.06  # metres above rest
SUCCESS_DISTANCE = 0.10  # metres from the end effector

SuccessFn = Callable[[Observation, Array, Array], Array]
"""`(observation, rest_height [slots], slot []) -> [] bool`: the task's condition."""

RewardFn = Callable[[Observation, Array, Array, Array], Array]
"""`(observation, rest_height [slots], slot [], success []) -> []`."""

DemonstratorFn = Callable[[Observation, Array, Array, PRNGKey], Array]
"""`(observation, rest_height [slots], slot [], key) -> action [7]`."""


class Wanted(NamedTuple):
    """Which object of which scene counts, where only the reward tells: a task in PEARL's sense.

    Attributes:
      scene: `[]` int32.
      slot: `[]` int32.
    """

    scene: Array
    slot: Array


class Task(NamedTuple):
    """What distinguishes one tabletop task from another.

    Attributes:
      name: the environment's name.
      scenes: what each scene is made of; an episode takes place in a random one.
      random_slot: whether the task's slot is drawn anew each episode; else it is the first.
      success: the task's condition.
      reward: the task's reward.
      demonstrator: a scripted policy for it.
      slot_counts: whether the condition depends on the slot; where that is random, it is for an
        agent to find out which object is wanted.
    """

    name: str
    scenes: Sequence[Layout]
    random_slot: bool
    success: SuccessFn
    reward: RewardFn
    demonstrator: DemonstratorFn
    slot_counts: bool = False


def held(observation: Observation, rest_height: Array) -> Array:
    """Which objects are lifted and at the gripper, `[slots]` bool."""
    position = observation["object_position"]
    lifted = position[..., 2] - rest_height > SUCCESS_HEIGHT
    offset = position - observation["ee_position"][..., None, :]
    lifted &= observation["object_present"] > 0.5
    return lifted & (jnp.linalg.norm(offset, axis=-1) < SUCCESS_DISTANCE)


def sparse_reward(
    observation: Observation, rest_height: Array, slot: Array, success: Array
) -> Array:
    """1 where the condition holds, else 0."""
    del observation, rest_height, slot
    return success.astype(jnp.float32)
