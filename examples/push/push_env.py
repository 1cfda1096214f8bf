"""A MuJoCo task of one's own: a finger pushes a ball into a zone of a table.

    python -m experiments.parrot --flagfile=examples/push/push.flags

Demonstrations push the ball anywhere but near four places; the new task is one of these, told by
a sparse reward alone. Nothing that a network sees says where the ball should go.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.envs.family import Family, one_of
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import PhysicsState, initial_physics_state
from behavior_priors.envs.rendering import render_scene
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, PRNGKey, State

SUBSTEPS = 5  # of 10 ms: 20 control steps a second
EPISODE_LENGTH = 60
STEP = 0.025  # metres at an action of 1
REACH = 0.25  # of the finger from the middle, along each axis, metres
ZONE = 0.04  # half the side of the zone, metres
BEHIND = 0.05  # where the finger stands to push, metres from the ball

CORNERS = {
    "north_east": (0.12, 0.12),
    "north_west": (-0.12, 0.12),
    "south_east": (0.12, -0.12),
    "south_west": (-0.12, -0.12),
}
"""Middles of the zones of the new tasks, metres."""

KEPT_OUT = 0.07
"""Metres from these within which no demonstration has its goal."""


class PushState(NamedTuple):
    """What is remembered between steps.

    Attributes:
      physics: the simulation; `qpos` is ball x, ball y, finger x, finger y, in metres.
      target: `[2]`, where the finger is sent, metres: commands add up, measured positions lag.
      goal: `[2]`, middle of the zone, metres; never observed.
    """

    physics: PhysicsState
    target: Array
    goal: Array


def push_members() -> tuple[str, ...]:
    """The corners, and the task that demonstrations come from."""
    return ("anywhere", *CORNERS)


def make_push(where: str, *, engine: str = "auto", noise: float = 0.15) -> Env:
    """Builds the environment.

    Args:
      where: a corner, or `anywhere` for another zone in each episode, none of them in a corner.
      engine: the physics engine.
      noise: standard deviation on the demonstrator's actions.

    Raises:
      UserError: no such engine.
    """
    xml = (Path(__file__).parent / "push.xml").read_text(encoding="utf-8")
    spec = mujoco.MjSpec.from_string(xml)
    if where in CORNERS:
        spec.geom("goal").pos[:2] = CORNERS[where]
    else:
        spec.delete(spec.geom("goal"))
    physics = make_physics(engine, [spec.compile()], SUBSTEPS)
    scene = jnp.int32(0)

    def draw_goal(key: PRNGKey) -> Array:
        if where in CORNERS:
            return jnp.array(CORNERS[where])
        goals = jax.random.uniform(key, (32, 2), minval=-0.19, maxval=0.19)
        corners = jnp.array(list(CORNERS.values()))
        apart = jnp.linalg.norm(goals[:, None] - corners, axis=-1).min(axis=1) > KEPT_OUT
        return goals[jnp.argmax(apart)]

    def observe(simulation: PushState) -> dict[str, Array]:
        ball, finger = jnp.split(simulation.physics.qpos, 2)
        return {"finger": finger, "ball": ball, "offset": ball - finger}

    def reset(key: PRNGKey) -> State:
        key, goal_key, ball_key, finger_key = jax.random.split(key, 4)
        ball = jax.random.uniform(ball_key, (2,), minval=-0.05, maxval=0.05)
        angle = jax.random.uniform(finger_key, (), maxval=2 * np.pi)
        finger = 0.2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        simulation = PushState(
            physics=initial_physics_state(physics.models[0], jnp.concatenate([ball, finger])),
            target=finger,
            goal=draw_goal(goal_key),
        )
        return first_state(key, observe(simulation), simulation)

    def step(state: State, action: Array) -> State:
        before = state.simulation
        target = jnp.clip(before.target + STEP * jnp.clip(action, -1.0, 1.0), -REACH, REACH)
        after, diverged = physics.step(before.physics, target, scene)
        simulation = before._replace(physics=after, target=target)
        observation = observe(simulation)
        success = (jnp.abs(observation["ball"] - before.goal) < ZONE).all() & ~diverged
        time = state.time + 1
        return State(
            key=state.key,
            observation=observation,
            reward=success.astype(jnp.float32),
            terminated=jnp.zeros((), bool),
            truncated=(time >= EPISODE_LENGTH) | diverged,
            diverged=diverged,
            time=time,
            success=success,
            simulation=simulation,
        )

    def demonstrate(state: State, key: PRNGKey) -> Array:
        """Goes around the ball to the side away from the goal, then pushes."""
        ball, finger = state.observation["ball"], state.observation["finger"]
        way = state.simulation.goal - ball
        distance = jnp.linalg.norm(way)
        ahead = way / jnp.maximum(distance, 1e-6)
        aside = jnp.array([-ahead[1], ahead[0]])
        relative = finger - ball
        along, across = relative @ ahead, relative @ aside
        is_behind = (along < -0.02) & (jnp.abs(across) < 0.015)
        side = jnp.where(across >= 0.0, 1.0, -1.0)
        around = ball + side * 0.07 * aside - 0.03 * ahead
        behind = jnp.where(along > -0.03, around, ball - BEHIND * ahead)
        push = finger + jnp.minimum(distance + 0.01, STEP) * ahead - across * aside
        wanted = jnp.where(is_behind, push, behind)
        wanted = jnp.where(distance < ZONE / 2, state.simulation.target, wanted)
        action = (wanted - state.simulation.target) / STEP
        action = action / jnp.maximum(1.0, jnp.abs(action).max())
        return jnp.clip(action + noise * jax.random.normal(key, (2,)), -1.0, 1.0)

    def render(state: State, width: int, height: int) -> Array:
        simulation = state.simulation
        return render_scene(physics, simulation.physics, scene, "above", width=width, height=height)

    return Env(
        name=f"push/{where}",
        observation_spec={
            "finger": ArraySpec((2,), scale=np.float32(0.15)),
            "ball": ArraySpec((2,), scale=np.float32(0.15)),
            "offset": ArraySpec((2,), scale=np.float32(0.1)),
        },
        action_spec=ActionSpec(2),
        episode_length=EPISODE_LENGTH,
        reset=reset,
        step=step,
        demonstrate=demonstrate,
        render=render,
        info={
            "engine": physics.engine,
            "success": "push",
            "data_env": f"{__name__}:anywhere",
            "report_env": f"{__name__}:anywhere",
        },
    )


FAMILY = Family(make_push, one_of(f"{__name__}:", push_members))
