"""Ants, humanoids, walkers and hoppers against gymnasium's own, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.base import same_task, step_and_reset
from behavior_priors.envs.locomotion.bodies import BODIES, load_model
from behavior_priors.envs.locomotion.families import TASK_FAMILIES
from behavior_priors.envs.locomotion.parameters import BASES, random_models
from behavior_priors.envs.registry import make_env
from behavior_priors.types import State

gymnasium = pytest.importorskip("gymnasium")


class Taken(NamedTuple):
    """A step of gymnasium's: actions, and places in metres before and after."""

    action: np.ndarray
    before: np.ndarray
    after: np.ndarray
    seconds: float


def heading(task: Any, taken: Taken) -> float:
    speed = (taken.after - taken.before) / taken.seconds
    return float(np.cos(task) * speed[0] + np.sin(task) * speed[1])


def effort(taken: Taken) -> float:
    return float(np.square(taken.action).sum())


def felt(data: Any) -> float:
    return 5e-4 * float(np.square(np.clip(data.cfrc_ext, -1, 1)).sum())


# What each pays, of a task, a step and MuJoCo's data where it led.
PAYS: Mapping[str, Callable[[Any, Taken, Any], float]] = {
    "ant_direction": lambda t, s, d: heading(t, s) - 0.5 * effort(s) - felt(d) + 1,
    "ant_goal": lambda t, s, d: -float(np.abs(s.after - t).sum()) - 0.1 * effort(s) - felt(d),
    "humanoid_direction": lambda t, s, d: (
        1.25 * heading(t, s)
        - 0.1 * effort(s._replace(action=0.4 * s.action))
        - min(5e-7 * float(np.square(d.cfrc_ext).sum()), 10)
        + 5
    ),
    "walker_params": lambda t, s, d: heading(0, s) + 1 - 1e-3 * effort(s),
    "hopper_params": lambda t, s, d: heading(0, s) + 1 - 1e-3 * effort(s),
}

THEIRS = {
    "ant_direction": "Ant-v5",
    "ant_goal": "Ant-v5",
    "humanoid_direction": "Humanoid-v5",
    "walker_params": "Walker2d-v5",
    "hopper_params": "Hopper-v5",
}


def put(theirs: Any, state: State, control: np.ndarray) -> None:
    """Brings gymnasium's environment to where a state is, with the forces that act there."""
    model, data = theirs.unwrapped.model, theirs.unwrapped.data
    physics = jax.tree.map(np.asarray, state.simulation.physics)
    data.ctrl[:] = control
    theirs.unwrapped.set_state(physics.qpos.astype(float), physics.qvel.astype(float))
    mujoco.mj_rnePostConstraint(model, data)
    data.qacc_warmstart[:] = physics.qacc_warmstart


def place(theirs: Any, member: str) -> np.ndarray:
    model, data = theirs.unwrapped.model, theirs.unwrapped.data
    if member == "humanoid_direction":  # of the state, which MuJoCo's own lags behind
        mujoco.mj_kinematics(model, data)
        return (model.body_mass @ data.xipos / model.body_mass.sum())[:2]
    if member in ("walker_params", "hopper_params"):
        return np.array([data.qpos[0], 0])
    return data.qpos[:2].copy()


def check_observation(state: State, data: Any, member: str) -> None:
    """What is observed is what MuJoCo computes in that state."""
    plane = member in ("walker_params", "hopper_params")
    expected = {
        "configuration": data.qpos[1 if plane else 2 :],
        "velocity": np.clip(data.qvel, -10, 10) if plane else data.qvel,
    }
    if member == "ant_goal":
        forces = np.clip(data.cfrc_ext, -1, 1)
        expected |= {"torso": data.qpos[:2], "contact_forces": forces}
    if member == "humanoid_direction":
        expected |= {
            "body_inertias": data.cinert,
            "body_velocities": data.cvel,
            "actuator_forces": data.qfrc_actuator,
            "contact_forces": data.cfrc_ext,
        }
    assert expected.keys() == state.observation.keys()
    for name, value in expected.items():
        # solvers stop within a tolerance: forces of a hundred newtons agree to a few digits
        limit = 1e-3 * max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(state.observation[name], value.ravel(), atol=limit)


@pytest.mark.parametrize("member", THEIRS)
def test_they_move_and_are_paid_as_gymnasiums(member: str) -> None:
    env = make_env(f"locomotion/{member}", engine="c")
    assert env.tasks is not None
    task = env.tasks.sample(jax.random.key(1), 4)[3]
    state = env.tasks.begin(task, jax.random.key(0))
    skipped = BODIES[TASK_FAMILIES[member].body].frame_skip
    theirs = gymnasium.make(THEIRS[member], frame_skip=skipped)
    theirs.reset(seed=0)
    model, data = theirs.unwrapped.model, theirs.unwrapped.data
    if member.endswith("_params"):
        own = random_models(load_model(BODIES[TASK_FAMILIES[member].body]), 50, 0)[int(task)]
        for name in BASES:
            getattr(model, name)[:] = getattr(own, name)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    put(theirs, state, np.zeros(model.nu))
    data.qacc_warmstart[:] = 0
    check_observation(state, data, member)
    step, rng, touched = jax.jit(env.step), np.random.default_rng(0), 0.0
    high = model.actuator_ctrlrange[:, 1]
    for _ in range(15):
        action = rng.uniform(-1, 1, model.nu).astype(np.float32)
        before = place(theirs, member)
        state = step(state, jnp.asarray(action))
        theirs.step((high * action).astype(np.float32))
        np.testing.assert_allclose(state.simulation.physics.qpos, data.qpos, atol=5e-4)
        np.testing.assert_allclose(state.simulation.physics.qvel, data.qvel, atol=5e-2)
        # chaos makes rounding errors grow, so that the comparison begins anew
        put(theirs, state, high * action)
        taken = Taken(action, before, place(theirs, member), theirs.unwrapped.dt)
        check_observation(state, data, member)
        paid = PAYS[member](np.asarray(task), taken, data)
        np.testing.assert_allclose(float(state.reward), paid, atol=3e-4)
        assert bool(state.terminated) == (member != "ant_goal" and not theirs.unwrapped.is_healthy)
        touched = max(touched, float(np.abs(data.cfrc_ext).max()))
    assert touched > 1  # else the forces above were all zero


def moved(state: State, qpos: Mapping[int, float], qvel: Mapping[int, float] = {}) -> State:
    """The state with some of its positions and velocities replaced."""
    physics = state.simulation.physics
    for number, value in qpos.items():
        physics = physics._replace(qpos=physics.qpos.at[number].set(value))
    for number, value in qvel.items():
        physics = physics._replace(qvel=physics.qvel.at[number].set(value))
    return state._replace(simulation=state.simulation._replace(physics=physics))


@pytest.mark.parametrize(
    ("member", "qpos", "qvel", "ends"),
    [
        ("ant_direction", {2: 0.7}, {}, False),
        ("ant_direction", {2: 1.3}, {}, True),
        ("ant_goal", {2: 1.3}, {}, False),
        ("humanoid_direction", {2: 1.4}, {}, False),
        ("humanoid_direction", {2: 2.2}, {}, True),
        ("humanoid_direction", {2: 0.9}, {}, True),
        ("walker_params", {2: 0.9}, {}, False),
        ("walker_params", {2: 1.1}, {}, True),
        ("walker_params", {1: 0.7}, {}, True),
        ("walker_params", {1: 2.1}, {}, True),
        ("hopper_params", {1: 2.1}, {}, False),
        ("hopper_params", {1: 0.6}, {}, True),
        ("hopper_params", {2: -0.25}, {}, True),
        ("hopper_params", {1: 2.1}, {1: 150.0}, True),
    ],
)
def test_episodes_end_where_a_body_falls(
    member: str, qpos: dict[int, float], qvel: dict[int, float], ends: bool
) -> None:
    env = make_env(f"locomotion/{member}?episode_length=1", engine="c")
    state = moved(env.reset(jax.random.key(0)), qpos, qvel)
    after = env.step(state, jnp.zeros(env.action_spec.size))
    assert bool(after.terminated) == ends
    assert bool(after.truncated) == (not ends)
    assert not bool(after.diverged)


def test_a_broken_simulation_is_truncated() -> None:
    env = make_env("locomotion/hopper_params", engine="c")
    state = moved(env.reset(jax.random.key(0)), {}, {0: 1e12})
    after = env.step(state, jnp.zeros(3))
    assert bool(after.diverged)
    assert bool(after.truncated)
    assert not bool(after.terminated)


@pytest.mark.parametrize("member", ["ant_direction", "hopper_params"])
def test_the_next_episode_has_the_same_task(member: str) -> None:
    env = make_env(f"locomotion/{member}", engine="c")
    assert env.tasks is not None
    tasks = env.tasks.sample(jax.random.key(0), 2)
    states = jax.vmap(env.tasks.begin)(tasks, jax.random.split(jax.random.key(1), 2))
    # one of them leaps too high, or falls
    high, height = (2, 1.5) if member == "ant_direction" else (1, 0.1)
    fallen = states.simulation.physics.qpos.at[0, high].set(height)
    physics = states.simulation.physics._replace(qpos=fallen)
    states = states._replace(simulation=states.simulation._replace(physics=physics))
    act = jax.jit(jax.vmap(lambda s, a: step_and_reset(env, s, a, same_task(env))))
    following, transition, _ = act(states, jnp.zeros((2, env.action_spec.size)))
    assert transition.terminated.tolist() == [True, False]
    assert following.time.tolist() == [0, 1]
    np.testing.assert_array_equal(following.simulation.task, tasks)
    assert 0.6 < float(following.simulation.physics.qpos[0, high]) < 1.3
    if member == "ant_direction":  # where the new episode is, not where the last one was
        np.testing.assert_array_equal(
            following.simulation.place, following.simulation.physics.qpos[:, :2]
        )


@pytest.mark.parametrize("member", THEIRS)
def test_they_begin_as_gymnasiums_do(member: str) -> None:
    env = make_env(f"locomotion/{member}", engine="c")
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2000))
    qpos, qvel = (np.asarray(x) for x in states.simulation.physics[1:3])
    model = load_model(BODIES[TASK_FAMILIES[member].body])
    spread = {"ant": 0.1, "hum": 0.01, "wal": 0.005, "hop": 0.005}[member[:3]]
    away = qpos - model.qpos0
    if member[:3] in ("ant", "hum"):
        np.testing.assert_allclose(np.linalg.norm(qpos[:, 3:7], axis=1), 1, atol=1e-6)
        away = np.delete(away, np.s_[3:7], axis=1)
    assert np.abs(away).max() <= spread + 1e-6
    np.testing.assert_allclose(away.std(0), spread / np.sqrt(3), rtol=0.06)
    around = spread if member[:3] == "ant" else spread / np.sqrt(3)
    np.testing.assert_allclose(qvel.std(0), around, rtol=0.06)
    assert (np.abs(qvel).max() > 3 * spread) == (member[:3] == "ant")  # normal, or uniform


def drawn(name: str, count: int = 4000) -> np.ndarray:
    env = make_env(f"locomotion/{name}", engine="c")
    assert env.tasks is not None
    return np.asarray(env.tasks.sample(jax.random.key(0), count))


def test_tasks_follow_their_laws() -> None:
    np.testing.assert_allclose(drawn("ant_direction", 3), [0, np.pi, 0])
    for name in ("ant_direction?headings=any", "humanoid_direction"):
        angle = drawn(name)
        assert 0 <= angle.min() < 0.02
        assert 2 * np.pi - 0.02 < angle.max() < 2 * np.pi
        np.testing.assert_allclose([angle.mean(), angle.std()], [np.pi, 1.814], atol=0.1)
    goals = drawn("ant_goal")
    squares = np.square(goals).sum(1)  # uniform, where goals are evenly spread over the disc
    assert squares.max() <= 9.0001
    np.testing.assert_allclose([squares.mean(), squares.std()], [4.5, 9 / np.sqrt(12)], atol=0.1)
    np.testing.assert_allclose(goals.mean(0), 0, atol=0.1)
