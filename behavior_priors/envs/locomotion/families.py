"""What bodies are asked to do: distributions over tasks, and what each of them pays.

Laws and rewards are those of Rakelly et al.'s environments (PEARL, `rlkit/envs`), save that an
ant's direction is forwards or backwards unless told otherwise: theirs takes two at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.locomotion.bodies import Readings, clipped_forces
from behavior_priors.envs.physics.base import PhysicsState
from behavior_priors.types import Array, SampleTasksFn


class Step(NamedTuple):
    """What a step may be paid for.

    Attributes:
      velocity: `[2]`, m/s ahead and to the left, the body's mean one over the step.
      place: `[2]`, metres, where the step led.
      action: `[size]`, in [-1, 1].
      control: `[size]`, what that told the actuators, in their own bounds.
      readings: the body's, where the step led.
    """

    velocity: Array
    place: Array
    action: Array
    control: Array
    readings: Readings


RewardFn = Callable[[Array, Step], Array]
"""`(task, step) -> []`."""


def _always(_: PhysicsState) -> Array:
    return jnp.ones((), bool)


class TaskFamily(NamedTuple):
    """Tasks of one body.

    Attributes:
      body: its name.
      sample: draws tasks `[count, ...]`; None where a task is the number of a scene, each with
        parameters of its own.
      reward: of a step.
      healthy: `(physics) -> [] bool`, whether the task goes on.
    """

    body: str
    sample: SampleTasksFn | None
    reward: RewardFn
    healthy: Callable[[PhysicsState], Array] = _always


def _effort(action: Array) -> Array:
    return jnp.square(action).sum()


def _towards(heading: Array, velocity: Array) -> Array:
    """Speed in a direction, given by its angle from ahead to the left, in radians."""
    return jnp.cos(heading) * velocity[0] + jnp.sin(heading) * velocity[1]


def _in_turn(first: float, second: float) -> SampleTasksFn:
    """The two tasks that there are, in turn, however many are asked for."""

    def sample(_: jax.Array, count: int) -> Array:
        return jnp.where(jnp.arange(count) % 2 == 0, jnp.float32(first), jnp.float32(second))

    return sample


def any_heading(key: jax.Array, count: int) -> Array:
    """Angles `[count]` from ahead to the left, in radians, evenly distributed."""
    return jax.random.uniform(key, (count,), maxval=2.0 * jnp.pi)


def _goals(key: jax.Array, count: int) -> Array:
    """Places `[count, 2]`, in metres, evenly distributed over a disc."""
    angle_key, radius_key = jax.random.split(key)
    angle = any_heading(angle_key, count)
    radius = 3.0 * jnp.sqrt(jax.random.uniform(radius_key, (count,)))
    return radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def _contact_cost(step: Step) -> Array:
    return 5e-4 * jnp.square(clipped_forces(step.readings)).sum()


def _ant_direction(task: Array, step: Step) -> Array:
    cost = 0.5 * _effort(step.action) + _contact_cost(step)
    return _towards(task, step.velocity) - cost + 1.0


def _ant_goal(task: Array, step: Step) -> Array:
    cost = 0.1 * _effort(step.action) + _contact_cost(step)
    return -jnp.abs(step.place - task).sum() - cost


def _humanoid_direction(task: Array, step: Step) -> Array:
    impact = jnp.minimum(5e-7 * jnp.square(step.readings["cfrc_ext"]).sum(), 10.0)
    cost = 0.1 * _effort(step.control) + impact
    return 1.25 * _towards(task, step.velocity) - cost + 5.0


def _run(_: Array, step: Step) -> Array:
    return step.velocity[0] + 1.0 - 1e-3 * _effort(step.action)


def _between(low: float, value: Array, high: float) -> Array:
    return (low < value) & (value < high)


def _hopper_stands(physics: PhysicsState) -> Array:
    rest = jnp.concatenate([physics.qpos[2:], physics.qvel])
    upright = (physics.qpos[1] > 0.7) & _between(-0.2, physics.qpos[2], 0.2)
    return upright & (jnp.abs(rest) < 100.0).all()


def _walker_stands(physics: PhysicsState) -> Array:
    return _between(0.8, physics.qpos[1], 2.0) & _between(-1.0, physics.qpos[2], 1.0)


TASK_FAMILIES: Mapping[str, TaskFamily] = {
    "cheetah_velocity": TaskFamily(
        body="cheetah",
        sample=lambda key, count: jax.random.uniform(key, (count,), maxval=3.0),
        reward=lambda task, step: -jnp.abs(step.velocity[0] - task) - 0.05 * _effort(step.action),
    ),
    "cheetah_direction": TaskFamily(
        body="cheetah",
        sample=_in_turn(1.0, -1.0),
        reward=lambda task, step: task * step.velocity[0] - 0.05 * _effort(step.action),
    ),
    "ant_direction": TaskFamily(
        body="ant",
        sample=_in_turn(0.0, jnp.pi),
        reward=_ant_direction,
        healthy=lambda physics: _between(0.2, physics.qpos[2], 1.0),
    ),
    "ant_goal": TaskFamily(body="feeling_ant", sample=_goals, reward=_ant_goal),
    "humanoid_direction": TaskFamily(
        body="humanoid",
        sample=any_heading,
        reward=_humanoid_direction,
        healthy=lambda physics: _between(1.0, physics.qpos[2], 2.0),
    ),
    "walker_params": TaskFamily(body="walker", sample=None, reward=_run, healthy=_walker_stands),
    "hopper_params": TaskFamily(body="hopper", sample=None, reward=_run, healthy=_hopper_stands),
}
"""By name."""
