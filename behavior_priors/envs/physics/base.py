"""What a task may ask of a physics engine.

A task is written against this interface alone, so that the engine is a flag. Engines are pure:
everything that a simulation remembers is in `PhysicsState`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from behavior_priors.types import Array

VISIBLE_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)
"""MuJoCo's geom groups that rays meet; group 3 holds shapes that only collide."""


class PhysicsState(NamedTuple):
    """One simulation's integration state, in MuJoCo's conventions and units, float32.

    Attributes:
      time: `[]`, seconds.
      qpos: `[nq]`, generalised positions.
      qvel: `[nv]`, generalised velocities.
      act: `[na]`, actuator activations.
      qacc_warmstart: `[nv]`, where the constraint solver starts; part of the state because results
        depend on it in the last bits.
    """

    time: Array
    qpos: Array
    qvel: Array
    act: Array
    qacc_warmstart: Array


class RayHits(NamedTuple):
    """Where rays first meet a geom.

    Attributes:
      distance: `[rays]`, in units of the ray's length; -1 where nothing is hit.
      geom: `[rays]` int32, -1 where nothing is hit.
      normal: `[rays, 3]`, the surface's, 0 where nothing is hit.
    """

    distance: Array
    geom: Array
    normal: Array


PhysicsStepFn = Callable[[PhysicsState, Array, Array], tuple[PhysicsState, Array]]
"""`(state, ctrl [nu], scene []) -> (state, diverged [] bool)`: one control step."""

RayFn = Callable[[PhysicsState, Array, Array, Array], RayHits]
"""`(state, scene [], origins [rays, 3], directions [rays, 3]) -> hits`, in the world's frame."""

ReadFn = Callable[[PhysicsState, Array, Array, tuple[str, ...]], Mapping[str, Array]]
"""`(state, ctrl [nu], scene [], names) -> readings`: fields of `mujoco.MjData`, such as `cvel`, in
that state and under that control, float32. Forces on bodies (`cfrc_ext`) are there if the model has
a sensor that needs them, such as an accelerometer; without one MuJoCo does not compute them."""


class Physics(NamedTuple):
    """A table of scenes, and how to simulate any of them.

    Scenes are MuJoCo models of equal layout: they differ in numbers only. Functions are unbatched;
    `jax.vmap` reaches the engine as one call.

    Attributes:
      engine: the engine's name.
      models: one `mujoco.MjModel` a scene.
      substeps: physics steps in one control step.
      step: one control step under constant control.
      ray: ray casting, for images.
      read: what follows from a state, such as forces of contacts, at the cost of one evaluation of
        the dynamics; a step makes as many as it has substeps, or four times that with Runge-Kutta.
    """

    engine: str
    models: tuple[Any, ...]
    substeps: int
    step: PhysicsStepFn
    ray: RayFn
    read: ReadFn


def initial_physics_state(model: Any, qpos: Array) -> PhysicsState:
    """A simulation at rest in the given configuration `[nq]`, with cold solver."""
    return PhysicsState(
        time=jnp.zeros(()),
        qpos=qpos,
        qvel=jnp.zeros(model.nv),
        act=jnp.zeros(model.na),
        qacc_warmstart=jnp.zeros(model.nv),
    )
