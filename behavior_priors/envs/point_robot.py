"""Point robots in the plane, whose goal is the task and not observed (PEARL, Rakelly et al. 2019).

`point/dense`: goals anywhere in a square, a reward that grows all the way. `point/sparse`: goals on
a half circle around the start, to be found by a reward that is zero outside of a small radius.
Sizes, laws and rewards are those of the authors' environments (`rlkit/envs/point_robot.py`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import first_state
from behavior_priors.envs.family import Family, one_of, refuse_engine
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, PRNGKey, State, Tasks

STEP = 0.1
"""Units along each axis at an action of 1."""


class Point(NamedTuple):
    """Where the point is `[2]`, and its task: the goal `[2]`."""

    position: Array
    goal: Array


def make_point_robot(
    member: str, *, engine: str = "auto", radius: float = 0.2, episode_length: int = 20
) -> Env:
    """A point robot.

    The reward is minus the distance to the goal. In `sparse` that is what learning may use; what
    the context shows and policies are judged by is zero outside of the radius and one minus the
    distance inside.

    Args:
      member: `dense` or `sparse`.
      engine: there is no choice.
      radius: of the goal: success is to be inside.
      episode_length: steps until an episode is truncated.

    Raises:
      UserError: an engine is asked for, or a radius or a length is not positive.
    """
    refuse_engine(engine, f"point/{member}")
    for name, value in {"radius": radius, "episode_length": episode_length}.items():
        if not value > 0:
            raise UserError(f"point/{member}: {name}={value} should be positive")
    dense = member == "dense"

    def sample(key: PRNGKey, count: int) -> Array:
        if dense:
            return jax.random.uniform(key, (count, 2), minval=-1.0)
        # evenly spaced, and in any order, so that some of them are a fair test of the others
        angle = jax.random.permutation(key, jnp.linspace(0.0, jnp.pi, count))
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    def draw(key: PRNGKey) -> Array:
        if dense:
            return sample(key, 1)[0]
        angle = jax.random.uniform(key, (), maxval=jnp.pi)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def begin(goal: Array, key: PRNGKey) -> State:
        key, start_key = jax.random.split(key)
        start = jax.random.uniform(start_key, (2,), minval=-1.0) if dense else jnp.zeros(2)
        return first_state(key, {"position": start}, Point(start, goal))

    def reset(key: PRNGKey) -> State:
        key, task_key = jax.random.split(key)
        return begin(draw(task_key), key)

    def step(state: State, action: Array) -> State:
        before, goal = state.simulation
        position = before + STEP * jnp.clip(action, -1.0, 1.0)
        distance = jnp.linalg.norm(position - goal)
        time = state.time + 1
        return state._replace(
            observation={"position": position},
            reward=-distance,
            truncated=time >= episode_length,
            time=time,
            success=distance < radius,
            simulation=Point(position, goal),
        )

    def sparse_reward(state: State) -> Array:
        return jnp.where(state.success, 1.0 + state.reward, 0.0)

    return Env(
        name=f"point/{member}",
        observation_spec={"position": ArraySpec((2,))},
        action_spec=ActionSpec(2),
        episode_length=episode_length,
        reset=reset,
        step=step,
        demonstrate=_head_for_the_goal,
        render=functools.partial(_picture, radius),
        info={
            "engine": "jax",
            "data_env": f"point/{member}",
            "report_env": f"point/{member}",
            "goal_radius": radius,
        },
        tasks=Tasks(sample, begin, _goal_of, None if dense else sparse_reward),
    )


def _goal_of(state: State) -> Array:
    return state.simulation.goal


def _head_for_the_goal(state: State, _: PRNGKey) -> Array:
    """What whoever knows the goal does."""
    position, goal = state.simulation
    return jnp.clip((goal - position) / STEP, -1.0, 1.0)


def _picture(radius: float, state: State, width: int, height: int) -> Array:
    """The plane from above, the goal and the point in it: `[height, width, 3]` uint8."""
    scale = 3.0 / min(width, height)
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2) * scale
    y = ((height - 1) / 2 - jnp.arange(height, dtype=jnp.float32)) * scale

    def disc(middle: Array, size: float) -> Array:
        return jnp.square(x - middle[0])[None, :] + jnp.square(y - middle[1])[:, None] < size**2

    position, goal = state.simulation
    shown = jnp.full((height, width, 3), 245, jnp.uint8)
    for where, colour in (
        (disc(goal, radius), (140, 200, 175)),
        (disc(position, 0.04), (213, 94, 0)),
    ):
        shown = jnp.where(where[..., None], jnp.asarray(colour, jnp.uint8), shown)
    return shown


FAMILY = Family(make_point_robot, one_of("point", lambda: ("dense", "sparse")))
