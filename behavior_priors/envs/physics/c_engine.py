"""MuJoCo's C engine behind the physics interface: the fast one on a CPU.

`mujoco.batch.Batch` steps many simulations on a thread pool; `jax.pure_callback` makes that a JAX
function. Nested `vmap`s arrive as one call with leading axes, which are flattened here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.batch import Batch

from behavior_priors.envs.host_calls import call_host
from behavior_priors.envs.physics.base import VISIBLE_GROUPS, Physics, PhysicsState, RayHits

_DIVERGED = [
    mujoco.mjtWarning.mjWARN_BADQPOS.value,
    mujoco.mjtWarning.mjWARN_BADQVEL.value,
    mujoco.mjtWarning.mjWARN_BADQACC.value,
]


class _Loan:
    """A batch, and live views `[simulations, width]` of what goes into its simulations.

    To look these up takes longer than to copy them, so that it is done once for each batch.
    """

    def __init__(self, batch: Batch):
        self.batch = batch
        self.state = [self.view(name) for name in PhysicsState._fields]
        self.ctrl = self.view("ctrl")

    def view(self, name: str) -> np.ndarray:
        """A field of every simulation, in one row each."""
        return self.batch.bind(name).reshape(self.batch.nsim, -1)

    def write(self, *values: Any) -> None:
        """Sets the fields of `PhysicsState`, and the controls where they are given."""
        for field, value in zip((*self.state, self.ctrl), values, strict=False):
            field[:] = value.reshape(field.shape)


class _Batches:
    """Batches of each size, lent to one call at a time.

    JAX runs the callbacks of several devices at the same time, and a `Batch` shared between them
    returns another simulation's rows without saying so.
    """

    def __init__(self, models: Sequence[mujoco.MjModel]):
        self.models = models
        self.idle: dict[int, list[_Loan]] = defaultdict(list)

    @contextlib.contextmanager
    def lend(self, scene: np.ndarray) -> Iterator[_Loan]:
        """A batch whose simulation `i` runs on the model of `scene[i]`."""
        idle = self.idle[scene.size]
        try:
            loan = idle.pop()  # atomic, unlike a test for emptiness before it
        except IndexError:
            loan = _Loan(Batch(self.models[0], scene.size))
        try:
            if len(self.models) > 1:
                loan.batch.set_models([self.models[i] for i in scene])
            yield loan
        finally:
            idle.append(loan)


def _pack(state: PhysicsState) -> jax.Array:
    """A state as one row: every array that crosses to the host costs time of its own."""
    return jnp.concatenate([jnp.atleast_1d(x) for x in state])


def _unpack(row: jax.Array, model: mujoco.MjModel) -> PhysicsState:
    time, *others = jnp.split(row, np.cumsum([1, model.nq, model.nv, model.na]))
    return PhysicsState(time[0], *others)


def _digest(models: Sequence[mujoco.MjModel]) -> str:
    """A name for models: those with the same numbers in them have the same."""
    digest = hashlib.blake2b(mujoco.__version__.encode(), digest_size=16)
    for model in models:
        content = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
        mujoco.mj_saveModel(model, None, content)
        digest.update(content.data)
    return digest.hexdigest()


def make_c_physics(models: Sequence[mujoco.MjModel], substeps: int) -> Physics:
    """Builds the `c` engine.

    Args:
      models: one model a scene, of equal layout.
      substeps: calls of `mj_step` in one control step.

    Returns:
      A `Physics` whose functions work under `jit`, `vmap` and `scan`, on the CPU.
    """
    models = tuple(models)
    batches = _Batches(models)
    content = functools.cache(lambda: _digest(models))

    model = models[0]
    # of a request: the fields of PhysicsState, the control, and the number of the scene
    widths = [1, model.nq, model.nv, model.na, model.nv, model.nu, 1]
    columns = [
        slice(end - width, end) for width, end in zip(widths, np.cumsum(widths), strict=True)
    ]
    size = sum(widths[:5])

    def lend(rows: np.ndarray) -> contextlib.AbstractContextManager[_Loan]:
        return batches.lend(rows[:, -1].astype(np.int32))

    def load(loan: _Loan, rows: np.ndarray) -> None:
        loan.write(*(rows[:, span] for span in columns[:-1]))

    def step_on_host(request: Any) -> np.ndarray:
        request = np.asarray(request)
        rows = request.reshape(-1, request.shape[-1])
        with lend(rows) as loan:
            load(loan, rows)
            batch = loan.batch
            batch.warning[:] = 0
            batch.step(nstep=substeps)
            diverged = batch.warning[:, _DIVERGED].any((1, 2))
            answer = np.concatenate(
                [*loan.state, diverged[:, None]], axis=-1, dtype=np.float32, casting="same_kind"
            )
        answer[:, -1] += ~np.isfinite(answer).all(-1)
        return answer.reshape(*request.shape[:-1], -1)

    def ask(state: PhysicsState, ctrl: jax.Array, scene: jax.Array) -> jax.Array:
        # as a float a scene's number is exact up to 2^24
        return jnp.concatenate([_pack(state), ctrl, jnp.atleast_1d(scene).astype(jnp.float32)])

    def step(state: PhysicsState, ctrl: jax.Array, scene: jax.Array) -> tuple[PhysicsState, Any]:
        request = ask(state, ctrl, scene)
        result = jax.ShapeDtypeStruct((size + 1,), jnp.float32)
        name = f"step/{substeps}/{content()}"
        answer = call_host(step_on_host, request, result, name=name)
        return _unpack(answer[:-1], model), answer[-1] != 0

    def ray_on_host(state: PhysicsState, scene: Any, origins: Any, directions: Any) -> RayHits:
        state, scene, origins, directions = jax.tree.map(
            np.asarray, (state, scene, origins, directions)
        )
        with batches.lend(scene.reshape(-1)) as loan:
            loan.write(*state)
            shape = (loan.batch.nsim, -1, 3)
            distance, geom, normal = loan.batch.ray(
                origins.reshape(shape), directions.reshape(shape), VISIBLE_GROUPS, normal=True
            )
        return RayHits(
            distance.astype(np.float32).reshape(origins.shape[:-1]),
            geom.astype(np.int32).reshape(origins.shape[:-1]),
            normal.astype(np.float32).reshape(origins.shape),
        )

    def ray(
        state: PhysicsState, scene: jax.Array, origins: jax.Array, directions: jax.Array
    ) -> RayHits:
        rays = origins.shape[:-1]
        result: Any = RayHits(
            jax.ShapeDtypeStruct(rays, jnp.float32),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct(rays, jnp.int32),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct((*rays, 3), jnp.float32),  # type: ignore[arg-type]
        )
        return jax.pure_callback(
            ray_on_host, result, state, scene, origins, directions, vmap_method="broadcast_all"
        )

    def read_on_host(names: tuple[str, ...], request: Any) -> np.ndarray:
        request = np.asarray(request)
        rows = request.reshape(-1, request.shape[-1])
        with lend(rows) as loan:
            load(loan, rows)
            # before it computes, because nothing else is copied out
            fields = [loan.view(name) for name in names]
            loan.batch.forward()
            answer = np.concatenate(fields, axis=-1, dtype=np.float32, casting="same_kind")
        return answer.reshape(*request.shape[:-1], -1)

    def read(
        state: PhysicsState, ctrl: jax.Array, scene: jax.Array, names: tuple[str, ...]
    ) -> dict[str, jax.Array]:
        data = mujoco.MjData(model)
        shapes = [getattr(data, name).shape for name in names]
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
        result = jax.ShapeDtypeStruct((int(ends[-1]),), jnp.float32)
        on_host = functools.partial(read_on_host, names)
        name = f"read/{','.join(names)}/{content()}"
        answer = call_host(on_host, ask(state, ctrl, scene), result, name=name)
        fields = jnp.split(answer, ends[:-1])
        return {
            name: field.reshape(shape)
            for name, field, shape in zip(names, fields, shapes, strict=True)
        }

    return Physics("c", models, substeps, step, ray, read)
