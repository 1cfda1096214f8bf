"""What all tabletop tasks share: the arm's actions, the scene's observations, random placements.

A task adds only its condition. Constants follow the WidowX suite of PARROT (Singh et al. 2021)
where this arm allows: 24 control steps a second, rotations of up to 20 degrees a step, a gripper
that opens above 0.5 and closes below -0.5, a commanded pose that is clipped to a box.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.base import first_state
from behavior_priors.envs.manipulation import kinematics, objects, scene
from behavior_priors.envs.manipulation.layouts import (
    PLACEMENT_TRIES,
    find_container,
    make_scenes,
    place_objects,
)
from behavior_priors.envs.manipulation.task import Task, Wanted
from behavior_priors.envs.physics import make_physics, rotations
from behavior_priors.envs.physics.base import PhysicsState, initial_physics_state
from behavior_priors.envs.rendering import point_down, render_scene
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, PRNGKey, State, Tasks

SUBSTEPS = 6
POSITION_STEP = 0.05  # metres at an action of 1
ROTATION_STEP = np.deg2rad(20.0)  # radians at an action of 1
FINGER_OPEN = 0.045  # metres from the middle
FINGER_CLOSED = -0.01  # beyond the stop, so that closed fingers press
WORKSPACE = np.array([[0.20, -0.22, 0.025], [0.50, 0.22, 0.30]], np.float32)
HOME = np.array([0.30, 0.0, 0.26], np.float32)
HOME_ORIENTATION = np.array([np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0], np.float32)  # pointing down
HOME_JOINTS = np.array(
    [0.0, -0.19802865386009216, 0.1947181075811386, 0.0, 1.5741068124771118, 0.0], np.float32
)
"""Joints of the home pose, radians, as `kinematics.inverse` finds them in seconds of compiling."""
HOME_ROTATION = np.array([0.0, 0.0, -1.0, 0.0, 1.0, 0.0], np.float32)  # its first two columns
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], np.float32)
MAX_YAW = 0.4  # of objects at a reset, radians
POINTER_GAP = 0.02  # metres between the wanted object and what points at it in pictures


class TabletopState(NamedTuple):
    """What a tabletop environment remembers between steps.

    Attributes:
      physics: the simulation.
      scene: `[]` int32, which models and objects.
      position: `[3]`, commanded pose of the end effector: measured poses sag, this one does not.
      orientation: `[4]`, commanded.
      joints: `[6]`, the joint targets that go with them.
      gripper: `[]`, commanded: 1 open, 0 closed.
      slot: `[]` int32, the task's object; never observed.
    """

    physics: PhysicsState
    scene: Array
    position: Array
    orientation: Array
    joints: Array
    gripper: Array
    slot: Array


def observation_spec(slots: int) -> dict[str, ArraySpec]:
    """Names, shapes and typical values; the same in every task, so that all share their data.

    What is absent, an object or the container, is zero in all of its arrays, `_present` included.
    """
    center, half = WORKSPACE.mean(0), (WORKSPACE[1] - WORKSPACE[0]) / 2
    return {
        "ee_position": ArraySpec((3,), location=center, scale=half),
        "ee_rotation": ArraySpec((6,), location=HOME_ROTATION, scale=np.float32(0.3)),
        "gripper": ArraySpec((2,), location=np.float32(0.5), scale=np.float32(0.5)),
        "object_position": ArraySpec((slots, 3), location=center, scale=half),
        "object_rotation": ArraySpec((slots, 6), location=UPRIGHT, scale=np.float32(0.3)),
        "object_size": ArraySpec((slots, 3), location=np.float32(0.03), scale=np.float32(0.015)),
        "object_offset": ArraySpec((slots, 3), scale=np.float32(0.1)),
        "object_present": ArraySpec((slots,)),
        "container_position": ArraySpec((3,), location=center, scale=half),
        "container_size": ArraySpec((3,), location=np.float32(0.04), scale=np.float32(0.03)),
        "container_offset": ArraySpec((3,), scale=np.float32(0.1)),
        "container_present": ArraySpec((1,)),
    }


def make_tabletop(task: Task, *, engine: str = "auto", episode_length: int = 25) -> Env:
    """Builds a tabletop environment.

    Args:
      task: scenes, condition, reward and demonstrator.
      engine: which physics engine simulates.
      episode_length: steps after which an episode is truncated.

    Raises:
      UserError: an unknown object or engine.
    """
    scenes = make_scenes(task.scenes)
    count = scenes.objects
    models = [
        scene.build_model(
            [objects.OBJECTS[name] for name in layout.objects], find_container(layout), layout.at
        )
        for layout in scenes.layouts
    ]
    family = task.name.partition("/")[0]
    physics = make_physics(engine, models, SUBSTEPS)
    chain = kinematics.chain_from_model(models[0], scene.ARM_DOFS, "grip")
    fingers = slice(scene.ARM_DOFS, scene.ARM_DOFS + 2)

    def observe(simulation: TabletopState) -> dict[str, Array]:
        qpos = simulation.physics.qpos
        position, rotation, _ = kinematics.forward(chain, qpos[: scene.ARM_DOFS])
        poses = qpos[scene.ARM_DOFS + 2 :].reshape(count, 7)
        opening = qpos[fingers].mean() / FINGER_OPEN
        container = jnp.asarray(scenes.container_position)[simulation.scene]
        has_container = jnp.float32(scenes.has_containers)
        return {
            "ee_position": position,
            "ee_rotation": rotations.first_columns(rotation),
            "gripper": jnp.stack([opening, simulation.gripper]),
            "object_position": with_absent(poses[:, :3]),
            "object_rotation": with_absent(
                rotations.first_columns(rotations.to_matrix(poses[:, 3:]))
            ),
            "object_size": jnp.asarray(scenes.half_extents)[simulation.scene],
            "object_offset": with_absent(poses[:, :3] - position),
            "object_present": jnp.asarray(scenes.present, jnp.float32)[simulation.scene],
            "container_position": container,
            "container_size": jnp.asarray(scenes.container_size)[simulation.scene],
            "container_offset": has_container * (container - position),
            "container_present": has_container[None],
        }

    def with_absent(array: Array) -> Array:
        """Zeros for the slots without an object, which come last."""
        return jnp.pad(array, ((0, scenes.slots - count), (0, 0)))

    def which(uniform: Array) -> Wanted:
        """Of random numbers `[..., 2]` in [0, 1)."""
        number = uniform[..., 0] * len(models)
        slot = uniform[..., 1] * (count if task.random_slot else 0)
        return Wanted(number.astype(jnp.int32), slot.astype(jnp.int32))

    def draw(key: PRNGKey) -> Array:
        # one draw for everything: each call of the generator costs a second of compilation
        return jax.random.uniform(key, (2 + count + PLACEMENT_TRIES * count * 2 + 1,))

    def reset(key: PRNGKey) -> State:
        key, reset_key = jax.random.split(key)
        uniform = draw(reset_key)
        return lay_out(which(uniform[:2]), uniform, key)

    def begin(wanted: Wanted, key: PRNGKey) -> State:
        key, reset_key = jax.random.split(key)
        return lay_out(wanted, draw(reset_key), key)

    def lay_out(wanted: Wanted, uniform: Array, key: PRNGKey) -> State:
        number, slot = wanted
        xy = place_objects(
            uniform[2 + count :],
            jnp.asarray(scenes.radius)[number, :count],
            jnp.asarray(scenes.container_position)[number, :2],
            jnp.asarray(scenes.container_radius)[number],
        )
        z = jnp.asarray(scenes.rest_height)[number, :count, None]
        yaw = MAX_YAW * (2.0 * uniform[2 : 2 + count] - 1.0)
        poses = jnp.concatenate([xy, z, rotations.from_yaw(yaw)], axis=-1)
        joints = jnp.asarray(HOME_JOINTS)
        qpos = jnp.concatenate([joints, jnp.full(2, FINGER_OPEN), poses.reshape(-1)])
        simulation = TabletopState(
            physics=initial_physics_state(models[0], qpos),
            scene=number,
            position=jnp.asarray(HOME),
            orientation=jnp.asarray(HOME_ORIENTATION),
            joints=joints,
            gripper=jnp.ones(()),
            slot=slot,
        )
        return first_state(key, observe(simulation), simulation)

    def command(simulation: TabletopState, action: Array) -> TabletopState:
        action = jnp.clip(action, -1.0, 1.0)
        position = simulation.position + POSITION_STEP * action[:3]
        position = jnp.clip(position, WORKSPACE[0], WORKSPACE[1])
        turn = rotations.from_rotation_vector(jnp.float32(ROTATION_STEP) * action[3:6])
        orientation = rotations.multiply(turn, simulation.orientation)
        orientation = orientation / jnp.linalg.norm(orientation)
        gripper = jnp.where(
            action[6] > 0.5, 1.0, jnp.where(action[6] < -0.5, 0.0, simulation.gripper)
        )
        joints = kinematics.inverse(
            chain, simulation.joints, position, rotations.to_matrix(orientation)
        )
        return simulation._replace(
            position=position, orientation=orientation, gripper=gripper, joints=joints
        )

    def step(state: State, action: Array) -> State:
        simulation = command(state.simulation, action)
        finger = FINGER_CLOSED + simulation.gripper * (FINGER_OPEN - FINGER_CLOSED)
        ctrl = jnp.concatenate([simulation.joints, jnp.full(2, finger)])
        after, diverged = physics.step(simulation.physics, ctrl, simulation.scene)
        simulation = simulation._replace(physics=after)
        observation = observe(simulation)
        rest = jnp.asarray(scenes.rest_height)[simulation.scene]
        success = task.success(observation, rest, simulation.slot) & ~diverged
        time = state.time + 1
        return State(
            key=state.key,
            observation=observation,
            reward=task.reward(observation, rest, simulation.slot, success),
            terminated=jnp.zeros((), bool),
            truncated=(time >= episode_length) | diverged,
            diverged=diverged,
            time=time,
            success=success,
            simulation=simulation,
        )

    def demonstrate(state: State, key: PRNGKey) -> Array:
        rest = jnp.asarray(scenes.rest_height)[state.simulation.scene]
        return task.demonstrator(state.observation, rest, state.simulation.slot, key)

    def render(state: State, width: int, height: int) -> Array:
        simulation = state.simulation
        image = render_scene(
            physics, simulation.physics, simulation.scene, "front", width=width, height=height
        )
        if not task.slot_counts:
            return image
        # which object is wanted is nothing that the others' looks tell
        above = state.observation["object_position"][simulation.slot]
        half = jnp.asarray(scenes.half_extents)[simulation.scene, simulation.slot, 2]
        place = above + jnp.array([0.0, 0.0, 1.0]) * (half + POINTER_GAP)
        return point_down(image, models[0], "front", place)

    def sample(key: PRNGKey, count: int) -> Wanted:
        return which(jax.random.uniform(key, (count, 2)))

    def wanted_of(state: State) -> Wanted:
        return Wanted(state.simulation.scene, state.simulation.slot)

    return Env(
        name=task.name,
        observation_spec=observation_spec(scenes.slots),
        action_spec=ActionSpec(7),
        episode_length=episode_length,
        reset=reset,
        step=step,
        demonstrate=demonstrate,
        render=render,
        info={
            "engine": physics.engine,
            "success": family,
            "data_env": f"{family}/train",
            "report_env": f"{family}/test",
            "scenes": [layout.describe() for layout in scenes.layouts],
            "control_hz": round(1.0 / (SUBSTEPS * models[0].opt.timestep), 3),
        },
        tasks=Tasks(sample, begin, wanted_of) if task.random_slot and task.slot_counts else None,
    )
