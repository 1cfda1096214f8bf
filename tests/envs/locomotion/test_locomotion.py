"""Locomotion against gymnasium's own environments, and its tasks against their laws."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.base import same_task, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.types import State

gymnasium = pytest.importorskip("gymnasium")


def as_gymnasium(state: State) -> Any:
    """gymnasium's half-cheetah, at rest where a state is."""
    theirs = gymnasium.make("HalfCheetah-v5", exclude_current_positions_from_observation=False)
    theirs.reset(seed=0)
    qpos, qvel = (np.asarray(x, np.float64) for x in state.simulation.physics[1:3])
    theirs.unwrapped.set_state(qpos, qvel)
    # ours begins with a cold solver
    theirs.unwrapped.data.qacc_warmstart[:] = 0
    return theirs


@pytest.mark.parametrize("member", ["cheetah_velocity", "cheetah_direction"])
def test_the_cheetah_moves_as_gymnasiums_does(member: str) -> None:
    env = make_env(f"locomotion/{member}")
    assert env.tasks is not None
    task = env.tasks.sample(jax.random.key(1), 4)[1]
    state = env.tasks.begin(task, jax.random.key(0))
    theirs, step = as_gymnasium(state), jax.jit(env.step)
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1, 1, 6).astype(np.float32)
        state = step(state, jnp.asarray(action))
        seen, _, _, _, info = theirs.step(action)
        # chaos makes rounding errors grow, so that the comparison begins anew
        np.testing.assert_allclose(state.observation["configuration"], seen[1:9], atol=2e-4)
        np.testing.assert_allclose(state.observation["velocity"], seen[9:], atol=2e-2)
        # of the last physics step's beginning, unless told
        mujoco.mj_kinematics(theirs.unwrapped.model, theirs.unwrapped.data)
        torso = theirs.unwrapped.data.body("torso").xpos
        np.testing.assert_allclose(state.observation["torso"], torso, atol=1e-3)
        speed = info["x_velocity"]
        paid = -abs(speed - float(task)) if member == "cheetah_velocity" else float(task) * speed
        expected = paid - 0.05 * float(np.square(action).sum())
        np.testing.assert_allclose(float(state.reward), expected, atol=5e-3)
        physics = state.simulation.physics
        theirs.unwrapped.set_state(*(np.asarray(x, np.float64) for x in physics[1:3]))
        theirs.unwrapped.data.qacc_warmstart[:] = np.asarray(physics.qacc_warmstart)


def test_episodes_begin_as_gymnasiums_do() -> None:
    env = make_env("locomotion/cheetah_velocity")
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 4000))
    qpos, qvel = (np.asarray(x) for x in states.simulation.physics[1:3])
    assert np.abs(qpos).max() <= 0.1
    np.testing.assert_allclose(qpos.std(0), 0.2 / np.sqrt(12), rtol=0.05)
    np.testing.assert_allclose(qvel.std(0), 0.1, rtol=0.05)
    task = np.asarray(states.simulation.task)
    assert 0 <= task.min() < 0.01
    assert 2.99 < task.max() <= 3


def test_speeds_are_drawn_and_directions_take_turns() -> None:
    speeds = make_env("locomotion/cheetah_velocity").tasks
    directions = make_env("locomotion/cheetah_direction").tasks
    assert speeds is not None
    assert directions is not None
    drawn = np.asarray(speeds.sample(jax.random.key(0), 1000))
    np.testing.assert_allclose([drawn.mean(), drawn.var()], [1.5, 9 / 12], atol=0.08)
    assert directions.sample(jax.random.key(0), 3).tolist() == [1, -1, 1]


def test_an_episode_ends_after_its_length_and_the_next_one_has_the_same_task() -> None:
    env = make_env("locomotion/cheetah_velocity?episode_length=3")
    assert env.tasks is not None
    state = env.tasks.begin(jnp.float32(2.5), jax.random.key(0))
    step = jax.jit(lambda state: step_and_reset(env, state, jnp.zeros(6), same_task(env)))
    for time in (1, 2, 3):
        state, transition, stepped = step(state)
        assert int(stepped.time) == time
        assert bool(transition.truncated) == (time == 3)
        assert not bool(transition.terminated)
    assert int(state.time) == 0
    assert float(state.simulation.task) == 2.5
    assert not np.array_equal(state.simulation.physics.qpos, stepped.simulation.physics.qpos)


def test_engines_agree() -> None:
    action = jax.random.uniform(jax.random.key(1), (6,), minval=-1.0)
    after = []
    for engine in ("c", "mjx"):
        env = make_env("locomotion/cheetah_velocity", engine=engine)
        state = env.reset(jax.random.key(0))
        after.append(jax.jit(env.step)(state, action))
    np.testing.assert_allclose(
        after[0].observation["configuration"], after[1].observation["configuration"], atol=1e-3
    )
    np.testing.assert_allclose(after[0].reward, after[1].reward, atol=1e-2)


@pytest.mark.parametrize("member", ["cheetah_velocity", "ant_goal", "walker_params"])
def test_the_camera_goes_along_and_squares_on_the_floor_show_it(member: str) -> None:
    env = make_env(f"locomotion/{member}", engine="c")
    render = env.render
    assert render is not None
    picture = jax.jit(lambda state: render(state, 48, 36))

    def moved(state: State, by: float) -> State:
        """The same, so many metres ahead."""
        moving = state.simulation
        physics = moving.physics._replace(qpos=moving.physics.qpos.at[0].add(by))
        place = moving.place.at[0].add(by)
        return state._replace(simulation=moving._replace(physics=physics, place=place))

    state = jax.jit(env.reset)(jax.random.key(0))
    here, one, two = (np.asarray(picture(moved(state, by))) for by in (0.0, 1.0, 2.0))
    assert (here.shape, here.dtype) == ((36, 48, 3), np.uint8)
    # squares of a metre: after one they have changed places, after two all is as it was
    body = np.abs(here.astype(int) - two).max(-1) > 2
    assert body.mean() < 0.02
    floor = (here != one).any(-1)
    assert 0.3 < floor.mean() < 0.9
    assert not floor[: 36 // 4].any()  # the sky


def test_what_there_is_not() -> None:
    with pytest.raises(UserError, match="locomotion has: cheetah_velocity, cheetah_direction"):
        make_env("locomotion/horse")
    with pytest.raises(UserError, match="episode_length=0 should be"):
        make_env("locomotion/cheetah_velocity?episode_length=0")
