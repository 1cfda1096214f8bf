"""Locomotion whose task is not observed: how fast, which way (PEARL, Rakelly et al. 2019).

`locomotion/cheetah_velocity` runs at a speed of 0 to 3 m/s, `locomotion/cheetah_direction` forwards
or backwards. Episodes have 200 steps and never end earlier.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import first_state
from behavior_priors.envs.family import Family, one_of
from behavior_priors.envs.locomotion.bodies import BODIES, load_model
from behavior_priors.envs.locomotion.families import TASK_FAMILIES
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import PhysicsState, initial_physics_state
from behavior_priors.types import ActionSpec, Array, Env, PRNGKey, State, Task, Tasks, UserError


class Moving(NamedTuple):
    """A body on its way, and its task."""

    physics: PhysicsState
    task: Array


def make_locomotion(member: str, *, engine: str = "auto", episode_length: int = 200) -> Env:
    """Builds a family of tasks of one body.

    Args:
      member: body and task, such as `cheetah_velocity`.
      engine: the physics engine.
      episode_length: steps until an episode is truncated.

    Raises:
      UserError: an unknown engine, a length below 1, or gymnasium is missing.
    """
    if not isinstance(episode_length, int) or episode_length < 1:
        raise UserError(f"episode_length={episode_length} should be a whole number of at least 1")
    family = TASK_FAMILIES[member]
    body = BODIES[family.body]
    model = load_model(body)
    physics = make_physics(engine, [model], body.frame_skip)
    scene = jnp.zeros((), jnp.int32)
    seconds = body.frame_skip * model.opt.timestep

    def begin(task: Task, key: PRNGKey) -> State:
        key, begin_key = jax.random.split(key)
        qpos, qvel = body.begin(jnp.asarray(model.qpos0, jnp.float32), begin_key)
        simulation = initial_physics_state(model, qpos)._replace(qvel=qvel)
        return first_state(key, body.observe(simulation), Moving(simulation, task))

    def reset(key: PRNGKey) -> State:
        key, task_key = jax.random.split(key)
        return begin(jax.tree.map(lambda x: x[0], family.sample(task_key, 1)), key)

    def step(state: State, action: Array) -> State:
        before, task = state.simulation
        action = jnp.clip(action, -1.0, 1.0)
        after, diverged = physics.step(before, action, scene)
        velocity = (body.place(after) - body.place(before)) / seconds
        time = state.time + 1
        return state._replace(
            observation=body.observe(after),
            reward=family.reward(task, velocity, action),
            truncated=(time >= episode_length) | diverged,
            diverged=diverged,
            time=time,
            simulation=Moving(after, task),
        )

    return Env(
        name=f"locomotion/{member}",
        observation_spec=body.observation_spec,
        action_spec=ActionSpec(model.nu),
        episode_length=episode_length,
        reset=reset,
        step=step,
        measures_success=False,
        info={"engine": physics.engine, "control_hz": round(1.0 / seconds, 3)},
        tasks=Tasks(family.sample, begin, lambda state: state.simulation.task),
    )


FAMILY = Family(make_locomotion, one_of("locomotion", lambda: tuple(TASK_FAMILIES)))
