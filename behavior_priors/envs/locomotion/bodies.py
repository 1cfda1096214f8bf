"""Bodies that walk and run: gymnasium's models, where they begin, what is observed of them.

Observations are those of Rakelly et al.'s environments (PEARL, `rlkit/envs`), under names. Forces,
inertias and velocities of bodies are those of the state that is observed; in the authors'
environments they lag behind it by a physics step.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.physics.base import PhysicsState
from behavior_priors.errors import UserError
from behavior_priors.types import Array, ArraySpec, Observation, ObservationSpec, PRNGKey

BeginFn = Callable[[PhysicsState, PRNGKey], PhysicsState]
"""A first state, from the model's own at rest; the key is consumed."""

Readings = Mapping[str, Array]
"""Fields of `mujoco.MjData`, see `physics.base.ReadFn`."""


class Body(NamedTuple):
    """A body, whatever its task is.

    Attributes:
      file: of gymnasium's model.
      frame_skip: physics steps in one of the environment's.
      observation_spec: of what is observed.
      begin: where episodes begin.
      observe: what is observed.
      place: `(physics, readings) -> [2]`, where the body is, in metres ahead and to the left.
      reads: names of the readings that it, or what it is paid for, needs.
    """

    file: str
    frame_skip: int
    observation_spec: ObservationSpec
    begin: BeginFn
    observe: Callable[[PhysicsState, Readings], Observation]
    place: Callable[[PhysicsState, Readings], Array]
    reads: tuple[str, ...] = ()


def load_model(body: Body) -> mujoco.MjModel:
    """Compiles a body's model.

    Raises:
      UserError: gymnasium, which ships it, is missing.
    """
    found = importlib.util.find_spec("gymnasium")
    if found is None or found.origin is None:
        raise UserError(
            "locomotion uses the models that gymnasium ships; install behavior-priors[gym]"
        )
    assets = Path(found.origin).parent / "envs" / "mujoco" / "assets"
    file = str(assets / body.file)
    model = _feeling(file) if "cfrc_ext" in body.reads else mujoco.MjModel.from_xml_path(file)
    if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        # the humanoid's, which MJX lacks; after a step, Newton's is within 1e-5 m and rad of it
        model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return model


def _feeling(file: str) -> mujoco.MjModel:
    """A model with a sensor: for sensors alone MuJoCo computes forces on bodies, else zero."""
    spec = mujoco.MjSpec.from_file(file)
    spec.body("torso").add_site(name="torso")
    spec.add_sensor(
        name="acceleration",
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname="torso",
    )
    return spec.compile()


def _uniform(key: PRNGKey, size: int) -> Array:
    return jax.random.uniform(key, (size,), minval=-1.0)


def _normal(key: PRNGKey, size: int) -> Array:
    return jax.random.normal(key, (size,))


def _spread(
    position: float, velocity: float, draw: Callable[[PRNGKey, int], Array] = _normal
) -> BeginFn:
    """Uniformly around the model's own configuration, with velocities drawn around zero."""

    def begin(rest: PhysicsState, key: PRNGKey) -> PhysicsState:
        position_key, velocity_key = jax.random.split(key)
        moved = rest.qpos + jax.random.uniform(
            position_key, rest.qpos.shape, minval=-position, maxval=position
        )
        return rest._replace(qpos=moved, qvel=velocity * draw(velocity_key, rest.qvel.size))

    return begin


def _floating(begin: BeginFn) -> BeginFn:
    """The same of a body whose torso is free: its orientation is a quaternion, of length 1."""

    def begin_floating(rest: PhysicsState, key: PRNGKey) -> PhysicsState:
        first = begin(rest, key)
        orientation = first.qpos[3:7]
        unit = orientation / jnp.linalg.norm(orientation)
        return first._replace(qpos=first.qpos.at[3:7].set(unit))

    return begin_floating


def _ahead(physics: PhysicsState, _: Readings) -> Array:
    """The place of a body that moves in a plane and never leaves its line."""
    return jnp.stack([physics.qpos[0], jnp.zeros(())])


def _torso(physics: PhysicsState, _: Readings) -> Array:
    return physics.qpos[:2]


def _whole(_: PhysicsState, readings: Readings) -> Array:
    """The body's centre of mass."""
    return readings["subtree_com"][1, :2]


CHEETAH_HEIGHT = 0.7  # metres, of the torso where `rootz` is 0


def _observe_cheetah(physics: PhysicsState, _: Readings) -> Observation:
    x, z = physics.qpos[0], physics.qpos[1] + CHEETAH_HEIGHT
    return {
        "configuration": physics.qpos[1:],
        "velocity": physics.qvel,
        "torso": jnp.stack([x, jnp.zeros(()), z]),
    }


def _observe_runner(physics: PhysicsState, _: Readings) -> Observation:
    return {
        "configuration": physics.qpos[1:],
        "velocity": jnp.clip(physics.qvel, -10.0, 10.0),
    }


def _observe_ant(physics: PhysicsState, _: Readings) -> Observation:
    return {"configuration": physics.qpos[2:], "velocity": physics.qvel}


def _observe_feeling_ant(physics: PhysicsState, readings: Readings) -> Observation:
    return {
        "configuration": physics.qpos[2:],
        "velocity": physics.qvel,
        "torso": physics.qpos[:2],
        "contact_forces": clipped_forces(readings).reshape(-1),
    }


def clipped_forces(readings: Readings) -> Array:
    """Torques and forces of contacts on each body `[bodies, 6]`, in N m and N, at most 1 of each.

    The first row is the world's, and zero.
    """
    return jnp.clip(readings["cfrc_ext"], -1.0, 1.0)


def _observe_humanoid(physics: PhysicsState, readings: Readings) -> Observation:
    return {
        "configuration": physics.qpos[2:],
        "velocity": physics.qvel,
        "body_inertias": readings["cinert"].reshape(-1),
        "body_velocities": readings["cvel"].reshape(-1),
        "actuator_forces": readings["qfrc_actuator"],
        "contact_forces": readings["cfrc_ext"].reshape(-1),
    }


ANT_BODIES = HUMANOID_BODIES = 14
"""The world is one of them."""


def _scales(*runs: tuple[float, int]) -> np.ndarray:
    """Each value as often as is said."""
    values, counts = zip(*runs, strict=True)
    return np.repeat(np.array(values, np.float32), counts)


def _each(count: int, *values: float) -> np.ndarray:
    """The values again for each body."""
    return np.tile(np.array(values, np.float32), count)


ANT = Body(
    file="ant.xml",
    frame_skip=5,
    observation_spec={
        "configuration": ArraySpec(
            (13,),
            location=np.array([0.7, 1, 0, 0, 0, 0, 0.9, 0, -0.9, 0, -0.9, 0, 0.9], np.float32),
            scale=np.array([0.2, *12 * [0.4]], np.float32),
        ),
        "velocity": ArraySpec((14,), scale=_scales((1, 3), (2, 3), (4.5, 8))),
    },
    begin=_floating(_spread(0.1, 0.1)),
    observe=_observe_ant,
    place=_torso,
    reads=("cfrc_ext",),
)

BODIES: Mapping[str, Body] = {
    "cheetah": Body(
        file="half_cheetah.xml",
        frame_skip=5,
        observation_spec={
            "configuration": ArraySpec((8,)),
            "velocity": ArraySpec(
                (9,), scale=np.array([3, 1, 3, 10, 10, 10, 10, 10, 10], np.float32)
            ),
            "torso": ArraySpec((3,), scale=np.array([10, 1, 1], np.float32)),
        },
        begin=_spread(0.1, 0.1),
        observe=_observe_cheetah,
        place=_ahead,
    ),
    "ant": ANT,
    "feeling_ant": ANT._replace(
        observation_spec={
            **ANT.observation_spec,
            "torso": ArraySpec((2,), scale=2.0),
            "contact_forces": ArraySpec((6 * ANT_BODIES,), scale=0.5),
        },
        observe=_observe_feeling_ant,
    ),
    "humanoid": Body(
        file="humanoid.xml",
        frame_skip=5,
        observation_spec={
            "configuration": ArraySpec(
                (22,),
                location=np.array([1.3, 1, *20 * [0]], np.float32),
                scale=_scales((0.2, 5), (0.4, 17)),
            ),
            "velocity": ArraySpec((23,), scale=_scales((1, 3), (2, 3), (4, 17))),
            # about the body's centre of mass: 6 of the inertia, mass times place, and the mass
            "body_inertias": ArraySpec(
                (10 * HUMANOID_BODIES,),
                location=_each(HUMANOID_BODIES, 0.5, 0.5, 0.1, *6 * [0], 3),
                scale=_each(HUMANOID_BODIES, 0.5, 0.5, 0.1, *3 * [0.1], 0.3, 0.3, 1.4, 2.5),
            ),
            # turning, moving
            "body_velocities": ArraySpec(
                (6 * HUMANOID_BODIES,), scale=_each(HUMANOID_BODIES, 3, 3, 3, 1, 1, 1)
            ),
            "actuator_forces": ArraySpec(
                (23,),
                scale=_scales((1, 6), (25, 5), (70, 1), (45, 1), (25, 2), (70, 1), (45, 1), (6, 6)),
            ),
            # torques, forces
            "contact_forces": ArraySpec(
                (6 * HUMANOID_BODIES,), scale=_each(HUMANOID_BODIES, 50, 50, 10, 100, 50, 300)
            ),
        },
        begin=_floating(_spread(0.01, 0.01, _uniform)),
        observe=_observe_humanoid,
        place=_whole,
        reads=("cinert", "cvel", "qfrc_actuator", "cfrc_ext", "subtree_com"),
    ),
    "walker": Body(
        file="walker2d_v5.xml",
        frame_skip=5,  # as in PEARL's environment; gymnasium's has 4
        observation_spec={
            "configuration": ArraySpec((8,), location=_scales((1.2, 1), (0, 7))),
            "velocity": ArraySpec((9,), scale=_scales((2, 2), (5, 7))),
        },
        begin=_spread(0.005, 0.005, _uniform),
        observe=_observe_runner,
        place=_ahead,
    ),
    "hopper": Body(
        file="hopper.xml",
        frame_skip=4,
        observation_spec={
            "configuration": ArraySpec(
                (5,), location=_scales((1.2, 1), (0, 4)), scale=_scales((0.2, 2), (0.4, 3))
            ),
            "velocity": ArraySpec((6,), scale=_scales((1.5, 2), (4, 4))),
        },
        begin=_spread(0.005, 0.005, _uniform),
        observe=_observe_runner,
        place=_ahead,
    ),
}
"""By name."""
