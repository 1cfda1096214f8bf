"""MJX against the C engine: the same scenes, states and controls, so the same motion."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.manipulation import containers, objects, scene, tabletop
from behavior_priors.envs.manipulation.task import SUCCESS_HEIGHT
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import Physics, PhysicsState
from behavior_priors.envs.physics.mjx_engine import make_mjx_physics, mjx
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rendering import camera_rays
from behavior_priors.errors import UserError
from behavior_priors.types import Env, State

COUNT = 8
CHUNK = 5
"""Control steps in one call of the one program that these tests compile for MJX."""

OTHER = ("block_2", "cap", "hammer_3")

Run = Callable[[PhysicsState, jax.Array, jax.Array], tuple[PhysicsState, jax.Array]]
"""`(states [N], controls [T, N, nu], scenes [N]) -> (states [T, N], diverged [T, N])`"""


class Engines(NamedTuple):
    c: Physics
    mjx: Physics
    run_c: Run
    run_mjx: Run

    def run_both(
        self, states: PhysicsState, controls: np.ndarray, scenes: np.ndarray
    ) -> list[PhysicsState]:
        """States `[T, N]` of both engines; `T` is a multiple of `CHUNK`."""
        both = []
        for run in (self.run_c, self.run_mjx):
            now, parts = states, []
            for start in range(0, len(controls), CHUNK):
                part, diverged = run(now, jnp.asarray(controls[start : start + CHUNK]), scenes)
                assert not bool(diverged.any())
                now = jax.tree.map(lambda x: x[-1], part)
                parts.append(part)
            both.append(jax.tree.map(lambda *x: np.concatenate(x), *parts))
        return both


def simulate(physics: Physics) -> Run:
    def run(states: PhysicsState, controls: jax.Array, scenes: jax.Array) -> Any:
        def step(states: PhysicsState, control: jax.Array) -> Any:
            states, diverged = jax.vmap(physics.step)(states, control, scenes)
            return states, (states, diverged)

        return jax.lax.scan(step, states, controls)[1]

    return jax.jit(run)


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("grasp/mug", engine="c", demonstrator_noise=0.0)


@pytest.fixture(scope="module")
def engines(env: Env) -> Engines:
    """Two scenes: that of `grasp/mug`, and one of other objects."""
    models = [
        scene.build_model([objects.OBJECTS[name] for name in slots])
        for slots in (env.info["scenes"][0], OTHER)
    ]
    c, on_mjx = (make_physics(name, models, tabletop.SUBSTEPS) for name in ("c", "mjx"))
    return Engines(c, on_mjx, simulate(c), simulate(on_mjx))


@pytest.fixture(scope="module")
def initial(env: Env) -> State:
    return jax.jit(functools.partial(reset_many, env, count=COUNT))(jax.random.key(100))


def record(env: Env, initial: State, act: Callable[[State], jax.Array], steps: int) -> np.ndarray:
    """Controls `[steps, N, nu]` that lead the arm where actions `[N, 7]` say."""

    def step(states: State, _: None) -> tuple[State, jax.Array]:
        states = jax.vmap(env.step)(states, act(states))
        simulation = states.simulation
        span = tabletop.FINGER_OPEN - tabletop.FINGER_CLOSED
        finger = tabletop.FINGER_CLOSED + simulation.gripper[:, None] * span
        return states, jnp.concatenate([simulation.joints, finger, finger], axis=-1)

    return np.asarray(jax.jit(lambda s: jax.lax.scan(step, s, length=steps)[1])(initial))


def bodies(model: mujoco.MjModel, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions `[..., bodies, 3]`, metres, and rotation matrices `[..., bodies, 9]`."""
    data = mujoco.MjData(model)
    places, facings = [], []
    for row in qpos.reshape(-1, model.nq):
        data.qpos[:] = row
        mujoco.mj_kinematics(model, data)
        places.append(data.xpos.copy())
        facings.append(data.xmat.copy())
    shape = (*qpos.shape[:-1], model.nbody)
    return np.reshape(places, (*shape, 3)), np.reshape(facings, (*shape, 9))


def test_poses_agree_while_the_gripper_touches_nothing(
    env: Env, engines: Engines, initial: State
) -> None:
    # sideways and up, away from what rests on the table
    rng = np.random.default_rng(0)
    action = np.concatenate(
        [rng.uniform(-0.4, 0.4, (COUNT, 2)), rng.uniform(0, 0.2, (COUNT, 5))], axis=1
    )
    controls = record(env, initial, lambda _: jnp.asarray(action, jnp.float32), 2 * CHUNK)
    scenes = np.zeros(COUNT, np.int32)
    ours, theirs = engines.run_both(initial.simulation.physics, controls, scenes)
    (place, facing), (expected, expected_facing) = (
        bodies(engines.c.models[0], np.asarray(states.qpos)) for states in (theirs, ours)
    )
    apart = np.linalg.norm(place - expected, axis=-1)
    assert apart.max() < 1e-3
    assert np.abs(facing - expected_facing).max() < 0.02
    # the hand has gone somewhere, and so has not every body
    hand = engines.c.models[0].body("hand").id
    moved = np.linalg.norm(expected[-1] - expected[0], axis=-1)
    assert moved[:, hand].min() > 0.02
    assert moved[:, -3:].max() < 1e-3
    np.testing.assert_allclose(theirs.time[-1], 10 / 24, rtol=1e-5)


def test_what_the_gripper_holds_stays_in_it(env: Env, engines: Engines, initial: State) -> None:
    demonstrate = env.demonstrate
    assert demonstrate is not None
    key = jax.random.key(0)
    controls = record(env, initial, jax.vmap(lambda state: demonstrate(state, key)), 25)
    mug = slice(8, 11)
    both = engines.run_both(initial.simulation.physics, controls, np.zeros(COUNT, np.int32))
    for states in both:
        qpos = np.asarray(states.qpos)
        lifted = qpos[-1, :, mug][:, 2] - objects.OBJECTS["mug"].rest_height
        assert (lifted > SUCCESS_HEIGHT).all()
        assert np.abs(qpos).max() < 4.0
        assert np.abs(np.asarray(states.qvel)[-5:]).max() < 5.0
    apart = np.linalg.norm(both[0].qpos[-1, :, mug] - both[1].qpos[-1, :, mug], axis=-1)
    assert np.median(apart) < 2e-3


def test_a_scene_is_chosen_by_its_number(env: Env, engines: Engines, initial: State) -> None:
    # dropped from 1 cm above the place where the taller object of the slot rests
    table = np.array(
        [
            [objects.OBJECTS[name].rest_height for name in slots]
            for slots in (env.info["scenes"][0], OTHER)
        ]
    )
    states = initial.simulation.physics
    heights = np.arange(10, 31, 7)
    qpos = states.qpos.at[:, heights].set(jnp.asarray(table.max(0) + 0.01, jnp.float32))
    controls = np.tile(states.qpos[:, :8], (3 * CHUNK, 1, 1))
    scenes = np.arange(COUNT, dtype=np.int32) % 2
    ours, theirs = (
        np.asarray(result.qpos)[-1][:, heights]
        for result in engines.run_both(states._replace(qpos=qpos), controls, scenes)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-3)
    np.testing.assert_allclose(theirs, table[scenes], atol=2e-3)
    assert np.abs(table[0] - table[1]).max() > 0.005


def test_a_broken_simulation_is_reported_and_begins_anew(engines: Engines, initial: State) -> None:
    states = initial.simulation.physics
    controls = jnp.tile(states.qpos[:, :8], (CHUNK, 1, 1))
    scenes = np.zeros(COUNT, np.int32)
    # MuJoCo resets what has broken to the model's default, and goes on from there
    rows = np.array([1, 3, 5])
    anew = states._replace(
        qpos=states.qpos.at[rows].set(jnp.asarray(engines.c.models[0].qpos0, jnp.float32))
    )
    expected, diverged = engines.run_mjx(anew, controls, scenes)
    assert not bool(diverged.any())
    broken = states._replace(
        qpos=states.qpos.at[1, 9].set(jnp.nan),
        qvel=states.qvel.at[3, 0].set(1e12).at[5, 2].set(jnp.inf),
    )
    after, diverged = engines.run_mjx(broken, controls, scenes)
    reported = np.zeros((CHUNK, COUNT), bool)
    reported[0, rows] = True
    np.testing.assert_array_equal(diverged, reported)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), after, expected)


@pytest.mark.parametrize("number", [0, 1])
def test_rays_meet_what_they_meet_on_the_c_engine(
    engines: Engines, initial: State, number: int
) -> None:
    state = jax.tree.map(lambda x: x[number], initial.simulation.physics)
    model = engines.c.models[number]
    origin, directions = camera_rays(model, "front", 64, 48)
    rng = np.random.default_rng(0)
    # a camera's rays, rays of other lengths, and rays that begin inside of shapes
    inside = rng.normal([0.3, 0.0, 0.15], 0.1, (2000, 3))
    origins = np.concatenate([np.broadcast_to(origin, directions.shape), inside])
    directions = np.concatenate([directions, rng.normal(0.0, 1.0, (2000, 3))])
    rays = (jnp.asarray(origins, jnp.float32), jnp.asarray(directions, jnp.float32))
    ours, theirs = (
        jax.device_get(jax.jit(physics.ray)(state, jnp.int32(number), *rays))
        for physics in (engines.c, engines.mjx)
    )
    same = theirs.geom == ours.geom
    assert same.mean() > 0.998
    np.testing.assert_allclose(theirs.distance[same], ours.distance[same], atol=1e-3)
    np.testing.assert_allclose(theirs.normal[same], ours.normal[same], atol=1e-3)
    assert theirs.distance.dtype == np.float32
    assert theirs.geom.dtype == np.int32
    # nothing, planes, capsules, cylinders and boxes are all among what is met
    assert (theirs.geom == -1).sum() > 100
    np.testing.assert_array_equal(theirs.distance[theirs.geom == -1], -1.0)
    np.testing.assert_array_equal(theirs.normal[theirs.geom == -1], 0.0)
    met = Counter(model.geom_type[theirs.geom[same & (theirs.geom >= 0)]].tolist())
    assert all(met[kind] > 20 for kind in (0, 3, 5, 6))


def test_the_number_of_contacts_is_bounded() -> None:
    grasp = scene.build_model([objects.OBJECTS[name] for name in ("mug", "lamp_1", "bar")])
    place = scene.build_model(
        [objects.OBJECTS[name] for name in ("can", "mug")],
        containers.CONTAINERS["pan"],
        (0.35, 0.15),
    )
    assert (grasp.npair, place.npair) == (66, 81)
    for model, rows in ((grasp, 232), (place, 232)):
        data = mjx.make_data(model, impl="jax")._impl
        # scripted episodes make up to 24 contacts in 3 directions, and 16 in 4
        assert Counter(np.asarray(data.contact.dim).tolist()) == {3: 32, 4: 32}
        assert data.efc_J.shape == (rows, model.nv)


def test_mjx_keeps_what_the_scenes_say_about_contact() -> None:
    model = scene.build_model([objects.OBJECTS["mug"]])
    option = mjx.put_model(model, impl="jax").opt
    assert option.cone == mjx.ConeType.ELLIPTIC
    assert option.integrator == mjx.IntegratorType.IMPLICITFAST
    assert option.solver == mjx.SolverType.NEWTON
    assert (float(option.impratio), int(option.iterations)) == (10.0, 20)


def test_scenes_that_differ_in_more_than_numbers_are_refused() -> None:
    models = [scene.build_model([objects.OBJECTS["mug"]]) for _ in range(2)]
    models[1].pair_dim[0] = 4
    with pytest.raises(ValueError, match="scenes 0 and 1 differ in more than numbers: pair_dim"):
        make_mjx_physics(models, 1)


def test_engines_are_found_by_name() -> None:
    models = [scene.build_model([objects.OBJECTS["mug"]])]
    assert make_physics("auto", models, 1).engine == "c"  # these tests compute on the CPU
    assert make_physics("mjx", models, 1).engine == "mjx"
    with pytest.raises(UserError, match=r"^--engine=warp needs .*\n?$"):
        make_physics("warp", models, 1)


def test_importing_the_engine_prints_nothing() -> None:
    program = "import behavior_priors.envs.physics.mjx_engine"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")
