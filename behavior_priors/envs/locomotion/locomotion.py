"""Locomotion whose task is not observed: how fast, which way, with what body.

Tasks, rewards and observations are those of PEARL (Rakelly et al. 2019).

- `locomotion/cheetah_velocity` runs at a speed of 0 to 3 m/s.
- `locomotion/cheetah_direction` and `locomotion/ant_direction` go forwards or backwards.
- `locomotion/humanoid_direction` goes in any direction.
- `locomotion/ant_goal` goes to a place at most 3 m away; it observes the forces of its contacts.
- `locomotion/walker_params` and `locomotion/hopper_params` go forwards, with bodies whose masses,
  inertias, friction and damping differ.

Episodes have 200 steps. Those of an ant with a direction, the humanoid, the walker and the hopper
end earlier where the body falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.envs.family import Family, one_of
from behavior_priors.envs.locomotion.bodies import BODIES, load_model
from behavior_priors.envs.locomotion.families import TASK_FAMILIES, Step, any_heading
from behavior_priors.envs.locomotion.parameters import draw_numbers, random_models
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import PhysicsState, initial_physics_state
from behavior_priors.envs.rendering import render_scene
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, Array, Env, PRNGKey, State, Task, Tasks

CAMERA = "track"
"""Of all of gymnasium's models; it moves along with the body."""


class Moving(NamedTuple):
    """A body on its way, where it is `[2]` in metres, and its task."""

    physics: PhysicsState
    place: Array
    task: Array


def make_locomotion(
    member: str,
    *,
    engine: str = "auto",
    episode_length: int = 200,
    headings: str | None = None,
    scenes: int | None = None,
    scene_seed: int | None = None,
) -> Env:
    """Builds a family of tasks of one body.

    Args:
      member: body and task, such as `cheetah_velocity`.
      engine: the physics engine.
      episode_length: steps until an episode is truncated.
      headings: of `ant_direction`: `two`, forwards and backwards, which is what None stands for, or
        `any`.
      scenes: of members with parameters: how many bodies there are, from which tasks are drawn;
        None for 50.
      scene_seed: likewise: which bodies these are; None for 0.

    Raises:
      UserError: an unknown engine, a length below 1, an option that the member does not have or
        cannot take, or gymnasium is missing.
    """
    if not isinstance(episode_length, int) or episode_length < 1:
        raise UserError(f"episode_length={episode_length} should be a whole number of at least 1")
    name, family = f"locomotion/{member}", TASK_FAMILIES[member]
    body = BODIES[family.body]
    model = load_model(body)
    if headings is not None:
        if member != "ant_direction":
            _refuse(name, {"headings": headings})
        if headings not in ("two", "any"):
            raise UserError(f"headings={headings} is unknown; use one of: two, any")
    if family.sample is None:
        count, seed = _count("scenes", scenes, 50, 1), _count("scene_seed", scene_seed, 0, 0)
        models, sample = random_models(model, count, seed), draw_numbers(count, name)
        bodies = {"bodies": count, "bodies_seed": seed}
    else:
        _refuse(name, {"scenes": scenes, "scene_seed": scene_seed})
        models, bodies = [model], {}
        sample = any_heading if headings == "any" else family.sample
    physics = make_physics(engine, models, body.frame_skip)
    seconds = body.frame_skip * model.opt.timestep
    low, high = model.actuator_ctrlrange.astype(np.float32).T

    def scene_of(task: Task) -> Array:
        return task if family.sample is None else jnp.zeros((), jnp.int32)

    def read(simulation: PhysicsState, control: Array, task: Task) -> Mapping[str, Array]:
        return physics.read(simulation, control, scene_of(task), body.reads) if body.reads else {}

    def begin(task: Task, key: PRNGKey) -> State:
        key, begin_key = jax.random.split(key)
        rest = initial_physics_state(model, jnp.asarray(model.qpos0, jnp.float32))
        simulation = body.begin(rest, begin_key)
        readings = read(simulation, jnp.zeros(model.nu), task)
        moving = Moving(simulation, body.place(simulation, readings), task)
        return first_state(key, body.observe(simulation, readings), moving)

    def reset(key: PRNGKey) -> State:
        key, task_key = jax.random.split(key)
        return begin(jax.tree.map(lambda x: x[0], sample(task_key, 1)), key)

    def step(state: State, action: Array) -> State:
        before, start, task = state.simulation
        action = jnp.clip(action, -1.0, 1.0)
        control = 0.5 * (high + low) + 0.5 * (high - low) * action
        after, diverged = physics.step(before, control, scene_of(task))
        readings = read(after, control, task)
        place = body.place(after, readings)
        taken = Step((place - start) / seconds, place, action, control, readings)
        time = state.time + 1
        terminated = ~family.healthy(after) & ~diverged
        return state._replace(
            observation=body.observe(after, readings),
            reward=family.reward(task, taken),
            terminated=terminated,
            truncated=((time >= episode_length) & ~terminated) | diverged,
            diverged=diverged,
            time=time,
            simulation=Moving(after, place, task),
        )

    def render(state: State, width: int, height: int) -> Array:
        moving = state.simulation
        return render_scene(
            physics,
            moving.physics,
            scene_of(moving.task),
            CAMERA,
            width=width,
            height=height,
            shift=jnp.append(moving.place, 0.0),
            squares=1.0,
        )

    return Env(
        name=name,
        observation_spec=body.observation_spec,
        action_spec=ActionSpec(model.nu),
        episode_length=episode_length,
        reset=reset,
        step=step,
        render=render,
        measures_success=False,
        info={"engine": physics.engine, "control_hz": round(1.0 / seconds, 3), **bodies},
        tasks=Tasks(sample, begin, lambda state: state.simulation.task),
    )


def _count(option: str, value: int | None, default: int, least: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{option}={value} should be a whole number of at least {least}")
    return value


def _refuse(name: str, options: Mapping[str, object]) -> None:
    """Refuses options that were given to a member without them."""
    for option, value in options.items():
        if value is not None:
            raise UserError(f"{option}={value} is no choice that {name} has; leave it out")


FAMILY = Family(make_locomotion, one_of("locomotion", lambda: tuple(TASK_FAMILIES)))
