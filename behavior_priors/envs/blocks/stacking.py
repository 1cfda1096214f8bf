"""Block stacking (SPiRL, Pertsch et al. 2020): a planar gripper builds towers of equal cubes.

Data come from `blocks/train`, five blocks at random places, of which the demonstrator makes one
tower; the new task is `blocks/test`, eleven blocks in a row on a longer table, whose reward is the
height of the highest tower, of nine blocks at most: the gripper gets no higher. Settings are chosen
in `blocks/validation`, nine blocks in a wider row. Sizes, rewards and thresholds are those of the
authors' environment (`spirl/data/block_stacking/src`), except for `GAP`, the speeds, and that a row
is not the same to a hair in each episode: a policy without noise is judged by more than one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.envs.blocks import scripted, towers
from behavior_priors.envs.blocks.rewards import (
    dense_reward,
    highest_rise,
    sparse_reward,
    tower_height,
)
from behavior_priors.envs.blocks.scene import FINGER_OPEN, HALF, build_model
from behavior_priors.envs.blocks.state import (
    StackState,
    held_blocks,
    observation_spec,
    observe,
    poses_of,
)
from behavior_priors.envs.family import Family, one_of
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import initial_physics_state
from behavior_priors.envs.rendering import render_scene
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, Array, Env, PRNGKey, State

SUBSTEPS = 6
STEP = 0.04  # metres at an action of 1
LEASH = 0.08  # metres by which the commanded pose may be away from where the gripper is
LOWEST, HIGHEST = 0.03, 0.75  # of the gripper's middle, metres
START_HEIGHT = 0.30  # metres
GAP = 0.13  # between the middles of blocks at random places, so that fingers fit, metres
ROW_JITTER = 0.01  # metres by which the blocks of a row are moved, another way in each episode
ROW_START = 0.1  # metres from the row's middle, within which the gripper begins

Reward = Literal["dense", "sparse"]


class Member(NamedTuple):
    """What distinguishes one stacking environment from another.

    Attributes:
      blocks: how many there are.
      half_length: of the table, metres; the gripper stays above it.
      spacing: of blocks in a row, metres; None for random places.
      episode_length: steps until an episode is truncated.
      success_height: of the tower above its first layer, in blocks.
    """

    blocks: int
    half_length: float
    spacing: float | None
    episode_length: int
    success_height: int


MEMBERS = {
    "train": Member(5, 0.6, None, 250, success_height=4),
    "validation": Member(9, 1.0, 0.22, 1000, success_height=3),
    "test": Member(11, 1.2, 0.2, 1000, success_height=3),
}
_REWARDS: dict[str, Callable[[StackState], Array]] = {
    "dense": dense_reward,
    "sparse": sparse_reward,
}


def place_blocks(member: Member, uniform: Array) -> tuple[Array, Array, Array]:
    """Where an episode begins: places `[blocks]` along the table, the plan, the gripper's place.

    Random places are all that keep the blocks apart, equally likely; a row is built upon from its
    middle outwards.

    Args:
      member: which environment.
      uniform: `[3 * blocks + 1]`, random numbers in [0, 1).
    """
    count = member.blocks
    if member.spacing is not None:
        row = member.spacing * (np.arange(count) - (count - 1) / 2)
        outwards = np.argsort(np.abs(row), kind="stable")
        places = jnp.asarray(row, jnp.float32) + ROW_JITTER * (2.0 * uniform[:count] - 1.0)
        return places, jnp.asarray(outwards, jnp.int32), ROW_START * (2.0 * uniform[-1] - 1.0)
    reach = member.half_length - 2 * HALF
    # sorted places of points, and the room that each needs put between them
    room = 2 * reach - (count - 1) * GAP
    first = jnp.asarray(GAP * np.arange(count) - reach, jnp.float32)
    sorted_places = jnp.sort(uniform[:count]) * room + first
    places = sorted_places[jnp.argsort(uniform[count : 2 * count])]
    plan = jnp.argsort(uniform[2 * count : 3 * count]).astype(jnp.int32)
    return places, plan, reach * (2.0 * uniform[-1] - 1.0)


def make_stacking(
    what: str,
    *,
    engine: str = "auto",
    reward: Reward = "dense",
    episode_length: int | None = None,
    terminate: bool = False,
    demonstrator_noise: float = scripted.NOISE,
) -> Env:
    """Builds a stacking environment.

    Args:
      what: `train`, `validation` or `test`.
      engine: the physics engine.
      reward: `dense` or `sparse`, as in the authors' environment.
      episode_length: steps until an episode is truncated; None for the member's own.
      terminate: whether success ends an episode; demonstrations then end with the last block.
      demonstrator_noise: standard deviation on every action dimension of the demonstrator.

    Raises:
      UserError: an unknown engine or reward, a length below 1, or what is neither true nor false.
    """
    if reward not in _REWARDS:
        raise UserError(f"--reward={reward} is unknown; use one of: {', '.join(_REWARDS)}")
    member = MEMBERS[what]
    length = member.episode_length if episode_length is None else episode_length
    if not isinstance(length, int) or length < 1:
        raise UserError(f"episode_length={length} should be a whole number of at least 1")
    if not isinstance(terminate, bool):
        raise UserError(f"terminate={terminate} should be true or false")
    model = build_model(member.blocks, member.half_length)
    physics = make_physics(engine, [model], SUBSTEPS)
    scene = jnp.zeros((), jnp.int32)
    low = np.array([-member.half_length, LOWEST], np.float32)
    high = np.array([member.half_length, HIGHEST], np.float32)

    def reset(key: PRNGKey) -> State:
        key, reset_key = jax.random.split(key)
        uniform = jax.random.uniform(reset_key, (3 * member.blocks + 1,))
        places, plan, y = place_blocks(member, uniform)
        poses = jnp.stack([places, jnp.full_like(places, HALF), jnp.zeros_like(places)], -1)
        position = jnp.stack([y, jnp.float32(START_HEIGHT)])
        qpos = jnp.concatenate([position, jnp.full(2, FINGER_OPEN), poses.reshape(-1)])
        simulation = StackState(
            physics=initial_physics_state(model, qpos),
            position=position,
            gripper=jnp.ones(()),
            lifted=jnp.zeros(member.blocks, bool),
            delivered=jnp.zeros(member.blocks, bool),
            plan=plan,
        )
        return first_state(key, observe(simulation), simulation)

    def command(simulation: StackState, action: Array) -> StackState:
        action = jnp.clip(action, -1.0, 1.0)
        measured = simulation.physics.qpos[:2]
        position = simulation.position + STEP * action[:2]
        # a gripper that is held up by something comes back at once when it is told to
        position = jnp.clip(position, measured - LEASH, measured + LEASH)
        gripper = jnp.where(
            action[2] > 0.5, 1.0, jnp.where(action[2] < -0.5, 0.0, simulation.gripper)
        )
        return simulation._replace(position=jnp.clip(position, low, high), gripper=gripper)

    def remember(simulation: StackState) -> StackState:
        poses = poses_of(simulation)
        lifted = simulation.lifted | (held_blocks(simulation) & towers.lifted(poses))
        delivered = simulation.delivered | (lifted & towers.above_another(poses))
        return simulation._replace(lifted=lifted, delivered=delivered)

    def step(state: State, action: Array) -> State:
        simulation = command(state.simulation, action)
        fingers = jnp.full(2, FINGER_OPEN * simulation.gripper)
        ctrl = jnp.concatenate([simulation.position, fingers])
        after, diverged = physics.step(simulation.physics, ctrl, scene)
        simulation = remember(simulation._replace(physics=after))
        time = state.time + 1
        # blocks yield a little: a tower of n layers is not quite n blocks high
        needed = 2 * HALF * member.success_height - HALF / 2
        success = (highest_rise(simulation) > needed) & ~diverged
        terminated = success & terminate
        return State(
            key=state.key,
            observation=observe(simulation),
            reward=_REWARDS[reward](simulation),
            terminated=terminated,
            truncated=((time >= length) & ~terminated) | diverged,
            diverged=diverged,
            time=time,
            success=success,
            simulation=simulation,
        )

    demonstrator = functools.partial(scripted.scripted_stack, noise=demonstrator_noise)

    def demonstrate(state: State, key: PRNGKey) -> Array:
        return demonstrator(state.observation, state.simulation.plan, key)

    def render(state: State, width: int, height: int) -> Array:
        return render_scene(
            physics, state.simulation.physics, scene, "front", width=width, height=height
        )

    return Env(
        name=f"blocks/{what}",
        observation_spec=observation_spec(member.blocks, member.half_length),
        action_spec=ActionSpec(3),
        episode_length=length,
        reset=reset,
        step=step,
        demonstrate=demonstrate,
        render=render,
        scores={"height": tower_height},
        info={
            "engine": physics.engine,
            "success": "stack",
            "data_env": "blocks/train",
            "report_env": f"blocks/{'test' if what == 'train' else what}",
            "scenes": [[f"block_{number}" for number in range(member.blocks)]],
            "control_hz": round(1.0 / (SUBSTEPS * model.opt.timestep), 3),
        },
    )


FAMILY = Family(make_stacking, one_of("blocks/", lambda: tuple(MEMBERS)))
