"""Bodies that walk and run: gymnasium's models, where they begin, what is observed of them.

Observations are those of Rakelly et al.'s environments (PEARL, `rlkit/envs`), under names.
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
from behavior_priors.types import Array, ArraySpec, Observation, ObservationSpec, PRNGKey, UserError

BeginFn = Callable[[Array, PRNGKey], tuple[Array, Array]]
"""`(qpos0 [nq], key) -> (qpos [nq], qvel [nv])` of a first state; the key is consumed."""


class Body(NamedTuple):
    """A body, whatever its task is.

    Attributes:
      file: of gymnasium's model.
      frame_skip: physics steps in one of the environment's.
      observation_spec: of what is observed.
      begin: where episodes begin.
      observe: what is observed.
      place: `(physics) -> [2]`, where the torso is, in metres ahead and to the left.
    """

    file: str
    frame_skip: int
    observation_spec: ObservationSpec
    begin: BeginFn
    observe: Callable[[PhysicsState], Observation]
    place: Callable[[PhysicsState], Array]


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
    return mujoco.MjModel.from_xml_path(str(assets / body.file))


def _spread(position: float, velocity: float) -> BeginFn:
    """Uniformly around the model's own configuration, with normally distributed velocities."""

    def begin(qpos: Array, key: PRNGKey) -> tuple[Array, Array]:
        position_key, velocity_key = jax.random.split(key)
        moved = qpos + jax.random.uniform(
            position_key, qpos.shape, minval=-position, maxval=position
        )
        return moved, velocity * jax.random.normal(velocity_key, qpos.shape)

    return begin


CHEETAH_HEIGHT = 0.7  # metres, of the torso where `rootz` is 0


def _observe_cheetah(physics: PhysicsState) -> Observation:
    x, z = physics.qpos[0], physics.qpos[1] + CHEETAH_HEIGHT
    return {
        "configuration": physics.qpos[1:],
        "velocity": physics.qvel,
        "torso": jnp.stack([x, jnp.zeros(()), z]),
    }


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
        place=lambda physics: jnp.stack([physics.qpos[0], jnp.zeros(())]),
    ),
}
"""By name."""
