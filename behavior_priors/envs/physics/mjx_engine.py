"""MJX behind the physics interface: MuJoCo as a JAX program, for accelerators.

Scenes are one MJX model and, stacked, the arrays in which the scenes differ; a step gathers its own
by number. MJX sets aside room for every contact that may ever be, so that models should list their
contact pairs, and bound the contacts of a step by MJX's `max_contact_points`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.physics.base import (
    VISIBLE_GROUPS,
    Physics,
    PhysicsState,
    RayHits,
    initial_physics_state,
)
from behavior_priors.envs.physics.mjx_line_search import sound_line_search
from behavior_priors.envs.physics.rays import Shapes, cast_rays
from behavior_priors.errors import UserError
from behavior_priors.types import Array

with contextlib.redirect_stdout(io.StringIO()):  # it prints that Warp is not there
    from mujoco import mjx

Impl = Literal["jax", "warp"]

_LIMIT = float(mujoco.mjMAXVAL)
"""Positions, velocities and accelerations beyond it are what MuJoCo calls unstable."""

LINE_SEARCH_STEPS = 20
"""MJX takes at most so many: under `vmap` all of a batch take as many as the slowest."""

WARP_CONTACTS = 262_144
"""Contacts of all simulations of a batch together, for which Warp sets memory aside: those of 4096
scenes with 64 contacts each."""

WARP_ROWS = 400
"""Rows of constraints of one simulation, likewise; a contact has up to four, and Warp would guess
their number from the model's default configuration."""


def make_mjx_physics(
    models: Sequence[mujoco.MjModel], substeps: int, impl: Impl = "jax"
) -> Physics:
    """Builds the `mjx` engine, or `warp`, which is MJX on NVIDIA's Warp.

    Args:
      models: one model a scene, of equal layout. What differs may do so in numbers only, save for
        the types of geoms that collide with nothing.
      substeps: calls of `mjx.step` in one control step.
      impl: what MJX computes with.

    Returns:
      A `Physics` whose functions work under `jit`, `vmap` and `scan`, in float32.

    Raises:
      UserError: Warp or a GPU for it is missing.
      ValueError: scenes that differ in more than numbers.
    """
    models = tuple(models)
    if impl == "warp":
        _check_warp()
    neutral = [_neutral(model) for model in models]
    if impl == "jax":
        for model in neutral:
            model.opt.ls_iterations = min(model.opt.ls_iterations, LINE_SEARCH_STEPS)
    select = _stack(neutral, impl)
    room = {"naconmax": WARP_CONTACTS, "naccdmax": WARP_CONTACTS, "njmax": WARP_ROWS}
    data = mjx.make_data(neutral[0], impl=impl, **(room if impl == "warp" else {}))
    blank = jax.tree.map(np.asarray, data)
    advance = _advance if impl == "jax" else mjx.step

    def step(state: PhysicsState, ctrl: Array, scene: Array) -> tuple[PhysicsState, Array]:
        model = select(scene)
        data = jax.tree.map(jnp.asarray, blank).replace(ctrl=ctrl)
        rest = initial_physics_state(models[0], model.qpos0)

        def substep(carry: tuple[PhysicsState, Array], _: None) -> tuple[Any, None]:
            state, diverged = carry
            after = advance(model, data.replace(**state._asdict()))
            state = PhysicsState(*(getattr(after, name) for name in PhysicsState._fields))
            unstable = _unstable(state)
            return (_select(unstable, rest, state), diverged | unstable), None

        # as MuJoCo does, so that one broken simulation costs the others of its batch no time
        unstable = _unstable(state)
        start = (_select(unstable, rest, state), unstable)
        return jax.lax.scan(substep, start, length=substeps)[0]

    def read(
        state: PhysicsState, ctrl: Array, scene: Array, names: tuple[str, ...]
    ) -> dict[str, Array]:
        data = jax.tree.map(jnp.asarray, blank).replace(ctrl=ctrl, **state._asdict())
        data = _forward(select(scene), data)
        public = {field.name for field in dataclasses.fields(data)}
        return {name: getattr(data if name in public else data._impl, name) for name in names}

    return Physics(
        engine="mjx" if impl == "jax" else "warp",
        models=models,
        substeps=substeps,
        step=step,
        ray=_make_ray(models, select if impl == "jax" else _stack(neutral, "jax")),
        read=read,
    )


def _advance(model: Any, data: Any) -> Any:
    """What `mjx.step` does, on any number of processors.

    In `mjx.step` the integrator's Cholesky factorisation needs nothing of the solver's, so that
    both may run at the same time. On a CPU each splits its batch over a pool of one thread a core
    and waits for the pool: two of them on two cores wait for ever (jaxlib 0.10). A time step to
    which the solver's result adds nothing makes the one wait for the other.
    """
    data = _forward(model, data)
    # not folded at compilation, because it would be NaN for an infinite acceleration
    nothing = 0.0 * data.qacc.sum()
    model = model.tree_replace({"opt.timestep": model.opt.timestep + nothing})
    with jax.numpy_dtype_promotion("standard"):
        return _INTEGRATE[model.opt.integrator](model, data)


def _forward(model: Any, data: Any) -> Any:
    with sound_line_search(), jax.numpy_dtype_promotion("standard"):
        return mjx.forward(model, data)


_INTEGRATE = {
    mjx.IntegratorType.EULER: mjx.euler,
    mjx.IntegratorType.RK4: mjx.rungekutta4,
    mjx.IntegratorType.IMPLICITFAST: mjx.implicit,
}


def _check_warp() -> None:
    if importlib.util.find_spec("warp") is None:
        raise UserError("--engine=warp needs NVIDIA's Warp; install behavior-priors[warp]")
    if jax.default_backend() not in ("cuda", "gpu"):
        raise UserError(
            f"--engine=warp needs a GPU of NVIDIA, and JAX computes on {jax.default_backend()}; "
            "use one of: auto, c, mjx"
        )


def _neutral(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy without what depends on numbers or looks, but would be fixed at compilation.

    The `sameframe` fields only say where the C engine may take a shorter way, and `dof_length` how
    slow is slow enough to sleep, where sleeping is allowed. The types of geoms that collide with
    nothing matter to rays alone, which look them up themselves.
    """
    neutral = copy.copy(model)
    if not model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP:
        neutral.dof_length[:] = 1.0
    neutral.body_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    neutral.geom_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    paired = np.isin(np.arange(model.ngeom), [*model.pair_geom1, *model.pair_geom2])
    colliding = paired | (model.geom_contype > 0) | (model.geom_conaffinity > 0)
    neutral.geom_type[~colliding] = mujoco.mjtGeom.mjGEOM_BOX
    return neutral


def _stack(models: Sequence[mujoco.MjModel], impl: Impl) -> Callable[[Array], Any]:
    """A function from a scene's number `[]` to its MJX model.

    Raises:
      ValueError: the models differ in what is fixed at compilation.
    """
    # on the host: models are compared array by array
    device = jax.local_devices(backend="cpu")[0] if impl == "jax" else None
    scenes = [mjx.put_model(model, device=device, impl=impl) for model in models]
    if impl == "jax" and models[0].nhfield == 0:
        # bounds of geoms for height fields, of which there are none
        unused = {"_impl.geom_rbound_hfield": np.zeros(models[0].ngeom)}
        scenes = [scene.tree_replace(unused) for scene in scenes]
    structure: Any = jax.tree.structure(scenes[0])
    for number, scene in enumerate(scenes):
        if jax.tree.structure(scene) != structure:
            fields = _static_differences(scenes[0], scene)
            more = ", ..." if len(fields) > 5 else ""
            raise ValueError(
                f"scenes 0 and {number} differ in more than numbers: {', '.join(fields[:5])}{more}"
            )
    columns = zip(*map(jax.tree.leaves, scenes), strict=True)
    stacked = [np.stack([np.asarray(leaf) for leaf in column]) for column in columns]
    varies = [not (column == column[0]).all() for column in stacked]

    def select(scene: Array) -> Any:
        leaves = [
            jnp.asarray(column)[scene] if own else jnp.asarray(column[0])
            for column, own in zip(stacked, varies, strict=True)
        ]
        return jax.tree.unflatten(structure, leaves)

    return select


def _static_differences(one: Any, other: Any) -> list[str]:
    """Names of the fields of two MJX models whose values are fixed at compilation and differ."""

    def fixed(value: Any) -> Any:
        if isinstance(value, jax.Array):
            return value.shape
        return jax.tree.structure(value) if dataclasses.is_dataclass(value) else value

    pairs = {name: (fixed(x), fixed(vars(other)[name])) for name, x in vars(one).items()}
    return [name for name, pair in pairs.items() if not np.array_equal(*pair)]


def _unstable(state: PhysicsState) -> Array:
    """Whether MuJoCo would call positions, velocities or accelerations bad."""
    values = jnp.concatenate([state.qpos, state.qvel, state.qacc_warmstart])
    return ~(jnp.abs(values) <= _LIMIT).all()  # NaN is not below any limit


def _select(condition: Array, yes: PhysicsState, no: PhysicsState) -> PhysicsState:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _make_ray(models: tuple[mujoco.MjModel, ...], select: Callable[[Array], Any]) -> Any:
    """Ray casting in the scenes; `select` is of MJX's own models."""
    group = np.clip(models[0].geom_group, 0, mujoco.mjNGROUP - 1)
    (seen,) = np.nonzero(VISIBLE_GROUPS[group])
    kinds = np.stack([np.where(_opaque(m), m.geom_type, -1)[seen] for m in models])
    possible = {
        int(kind): np.nonzero((kinds == kind).any(0))[0] for kind in np.unique(kinds[kinds >= 0])
    }
    blank = jax.tree.map(np.asarray, mjx.make_data(_neutral(models[0]), impl="jax"))

    def ray(state: PhysicsState, scene: Array, origins: Array, directions: Array) -> RayHits:
        model = select(scene)
        data = jax.tree.map(jnp.asarray, blank).replace(qpos=state.qpos)
        with jax.numpy_dtype_promotion("standard"):
            data = mjx.kinematics(model, data)
        shapes = Shapes(
            kind=jnp.asarray(kinds)[scene],
            size=model.geom_size[seen],
            position=data.geom_xpos[seen],
            rotation=data.geom_xmat[seen],
        )
        hits = cast_rays(shapes, origins, directions, possible)
        geom = jnp.where(hits.geom >= 0, jnp.asarray(seen, jnp.int32)[hits.geom], -1)
        return hits._replace(geom=geom)

    return ray


def _opaque(model: mujoco.MjModel) -> np.ndarray:
    """Which geoms are not wholly transparent, `[ngeom]` bool: rays pass through the others."""
    alpha = model.geom_rgba[:, 3].copy()
    textured = model.geom_matid >= 0
    alpha[textured] = model.mat_rgba[model.geom_matid[textured], 3]
    return alpha > 0.0
