from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.blocks import rewards, stacking, towers
from behavior_priors.envs.blocks.scene import FINGER_OPEN, HALF
from behavior_priors.envs.blocks.state import NEAR_BLOCKS, StackState
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Env, State

Step = Callable[[State, jax.Array], State]


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("blocks/train")


@pytest.fixture(scope="module")
def test_env() -> Env:
    return make_env("blocks/test", episode_length=100)


@pytest.fixture(scope="module")
def start(env: Env) -> State:
    return jax.jit(env.reset)(jax.random.key(0))


@pytest.fixture(scope="module")
def step(env: Env) -> Step:
    return jax.jit(env.step)


def arrange(
    state: State, poses: np.ndarray, gripper: tuple[float, float], gap: float, closed: bool
) -> StackState:
    """A simulation with blocks and gripper at given places, with nothing remembered of blocks."""
    simulation = state.simulation
    qpos = np.concatenate([gripper, [gap, gap], poses.reshape(-1)])
    return simulation._replace(
        physics=simulation.physics._replace(qpos=jnp.asarray(qpos, jnp.float32)),
        position=jnp.asarray(gripper, jnp.float32),
        gripper=jnp.float32(not closed),
    )


TOWER = np.array(
    # three blocks on top of each other, the last one tilted; one apart; one in the air above that
    [[0.0, 0.04, 0.0], [0.01, 0.12, 0.0], [0.0, 0.20, 0.9], [0.3, 0.04, 0.0], [0.3, 0.30, 0.0]]
)


def test_geometry_of_a_tower() -> None:
    poses = jnp.asarray(TOWER, jnp.float32)
    np.testing.assert_allclose(towers.rises(poses), [0.0, 0.08, 0.16, 0.0, 0.26], atol=1e-6)
    np.testing.assert_array_equal(towers.lifted(poses), [False, True, True, False, True])
    np.testing.assert_array_equal(towers.upright(poses), [True, True, False, True, True])
    np.testing.assert_array_equal(towers.above_another(poses), [False, True, True, False, True])
    np.testing.assert_array_equal(towers.supported(poses), [True, True, True, True, False])
    # without the lower block the upper one hangs in the air, and so does one beside a tower
    np.testing.assert_array_equal(towers.supported(poses.at[1, 0].set(0.5))[2], False)
    np.testing.assert_array_equal(towers.supported(poses.at[2, 0].set(0.095))[2], False)


def test_heights_and_rewards_of_a_tower(start: State) -> None:
    away = arrange(start, TOWER, (0.3, 0.3), 0.04, closed=True)
    away = away._replace(
        lifted=jnp.asarray([False, True, True, False, True]),
        delivered=jnp.asarray([False, True, True, False, False]),
    )
    # 50 * 0.16 m, two delivered blocks and a lifted one; the tilted block is not upright
    np.testing.assert_allclose(rewards.dense_reward(away), 8.0 + 2 * 2.0 + 1.0, rtol=1e-5)
    np.testing.assert_allclose(rewards.sparse_reward(away), 4.0, rtol=1e-5)
    height = rewards.tower_height(start._replace(simulation=away))
    np.testing.assert_allclose(height, 2.0, rtol=1e-5)
    # a block in the fingers does not count, in open ones it does
    holds = arrange(start, TOWER, (0.0, 0.21), 0.04, closed=True)
    holds = holds._replace(lifted=away.lifted, delivered=away.delivered)
    np.testing.assert_allclose(rewards.dense_reward(holds), 4.0 + 5.0, rtol=1e-5)
    released = holds._replace(gripper=jnp.ones(()))
    np.testing.assert_allclose(rewards.dense_reward(released), 8.0 + 5.0, rtol=1e-5)
    # nor does one that the gripper has never lifted
    untouched = away._replace(lifted=away.lifted.at[2].set(False))
    np.testing.assert_allclose(rewards.highest_rise(untouched), 0.08, rtol=1e-5)


def test_lifting_and_delivering_is_remembered(start: State, step: Step) -> None:
    poses = np.array([[0.2 * i - 0.4, HALF, 0.0] for i in range(5)])
    poses[1] = [0.0, 0.3, 0.0]  # in the fingers, above block 2
    simulation = arrange(start, poses, (0.0, 0.3), 0.04, closed=True)
    state = step(start._replace(simulation=simulation), jnp.array([0.0, 0.0, -1.0]))
    held = np.asarray(state.observation["progress"])
    np.testing.assert_array_equal(held, np.eye(5)[1][:, None] * [1.0, 1.0])
    np.testing.assert_allclose(state.reward, 2.0, atol=1e-6)
    for _ in range(12):  # dropped, it lies on block 2
        state = step(state, jnp.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(state.observation["progress"], held)
    np.testing.assert_allclose(state.reward, 2.0 + 50.0 * 0.08, atol=0.05)


def test_null_actions_leave_everything_where_it_is(test_env: Env, start: State, step: Step) -> None:
    null = jax.jit(lambda k: rollout(test_env, lambda s, k: jnp.zeros(3), k, 2))(jax.random.key(0))
    for name in ("gripper_position", "blocks"):
        values = np.asarray(null.observation[name])[..., :2]
        assert np.abs(values - values[:, :1]).max() < 1e-3
    np.testing.assert_array_equal(null.reward, 0.0)
    state = start
    for _ in range(50):
        state = step(state, jnp.zeros(3))
    drift = np.asarray(state.observation["blocks"] - start.observation["blocks"])
    assert np.abs(drift).max() < 1e-3


def test_the_gripper_goes_where_it_is_told(start: State, step: Step) -> None:
    state = start
    for action in [[0.5, -0.25, 0.0]] * 4 + [[0.0] * 3] * 4:
        state = step(state, jnp.asarray(action))
    moved = np.asarray(state.observation["gripper_position"] - start.simulation.position)
    np.testing.assert_allclose(moved, 4 * stacking.STEP * np.array([0.5, -0.25]), atol=1e-3)


def test_fingers_close_below_minus_a_half_and_hold_in_between(start: State, step: Step) -> None:
    state, commands = start, []
    for grip in (-0.4, -0.6, 0.4, 0.6):
        state = step(state, jnp.array([0.0, 0.0, grip]))
        commands.append(float(state.observation["gripper"][2]))
    assert commands == [1.0, 0.0, 0.0, 1.0]


def test_a_held_block_does_not_slip_and_a_pressed_one_stays(start: State, step: Step) -> None:
    poses = np.array([[0.2 * i - 0.4, HALF, 0.0] for i in range(5)])
    state = start._replace(simulation=arrange(start, poses, (0.0, HALF), FINGER_OPEN, closed=True))
    directions = [[0.0, 0.0]] * 5 + [[0.0, 1.0]] * 6 + [[1.0, 0.0]] * 6 + [[-1.0, -1.0]] * 5
    for move in directions:
        state = step(state, jnp.array([*move, -1.0]))
    for _ in range(5):
        state = step(state, jnp.array([0.0, 0.0, -1.0]))
    np.testing.assert_allclose(state.observation["blocks"][2, 4:], 0.0, atol=2e-3)
    assert float(state.observation["blocks"][2, 1]) > HALF + 0.03
    # from above, with closed fingers: the command runs no further ahead than its leash
    over = arrange(start, poses, (0.0, 0.15), 0.0, closed=True)
    state = start._replace(simulation=over)
    for _ in range(20):
        state = step(state, jnp.array([0.0, -1.0, -1.0]))
    assert abs(float(state.observation["gripper"][6])) < stacking.LEASH + 1e-3
    np.testing.assert_allclose(state.observation["blocks"][2, :2], [0.0, HALF], atol=3e-3)


def test_resets_are_random_apart_and_repeatable(env: Env) -> None:
    reset = jax.jit(lambda k: reset_many(env, k, 1000))
    states = reset(jax.random.key(0))
    again = reset(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, states.observation, again.observation)
    y = np.asarray(states.observation["blocks"])[..., 0]
    assert np.diff(np.sort(y)).min() > stacking.GAP - 1e-5
    assert np.abs(y).max() <= 0.6 - 2 * HALF + 1e-6
    # each block is leftmost as often as the others, and the lowest of the plan
    for first in (y.argmin(1), np.asarray(states.simulation.plan)[:, 0]):
        assert (np.abs(np.bincount(first, minlength=5) / 1000 - 0.2) < 0.05).all()
    np.testing.assert_array_equal(np.sort(states.simulation.plan), np.tile(np.arange(5), (1000, 1)))


def test_the_test_row_is_almost_the_same_in_every_episode(test_env: Env) -> None:
    states = jax.jit(lambda k: reset_many(test_env, k, 200))(jax.random.key(3))
    y = np.asarray(states.observation["blocks"])[..., 0]
    away = np.abs(y - (0.2 * np.arange(11) - 1.0))
    assert 0.0099 < away.max() < 0.01 + 1e-6
    np.testing.assert_allclose(away.mean(0), 0.005, atol=1e-3)
    gripper = np.asarray(states.observation["gripper_position"])
    assert 0.095 < np.abs(gripper[:, 0]).max() <= 0.1
    np.testing.assert_allclose(gripper[:, 1], 0.3)
    plans = np.asarray(states.simulation.plan)
    np.testing.assert_array_equal(plans, [[5, 4, 6, 3, 7, 2, 8, 1, 9, 0, 10]] * 200)


def test_observations_are_as_specified_and_transfer(env: Env, test_env: Env) -> None:
    for one in (env, test_env):
        state = jax.jit(one.reset)(jax.random.key(0))
        assert state.observation.keys() == one.observation_spec.keys()
        for name, spec in one.observation_spec.items():
            value = state.observation[name]
            assert (value.shape, value.dtype) == (spec.shape, spec.dtype), name
            for typical in (spec.location, spec.scale):
                np.broadcast_to(typical, spec.shape)
    for name in ("gripper", "near_blocks"):
        both = [one.observation_spec[name] for one in (env, test_env)]
        jax.tree.map(np.testing.assert_array_equal, *both)


def test_the_nearest_blocks_come_first(env: Env, test_env: Env) -> None:
    for one in (env, test_env):
        states = jax.jit(lambda k, one=one: reset_many(one, k, 64))(jax.random.key(1))
        near = np.asarray(states.observation["near_blocks"])
        assert near.shape == (64, NEAR_BLOCKS, 8)
        np.testing.assert_allclose(near[..., 4:6], np.tanh(10.0 * near[..., :2]), atol=1e-5)
        np.testing.assert_allclose(near[..., 6:], np.tanh(near[..., :2] / 0.03), atol=1e-5)
        distance = np.linalg.norm(near[..., :2], axis=-1)
        assert (np.diff(distance) >= 0.0).all()
        offsets = np.asarray(states.observation["blocks"])[..., 4:]
        every = np.sort(np.linalg.norm(offsets, axis=-1))[:, :NEAR_BLOCKS]
        np.testing.assert_allclose(distance, every, rtol=1e-5)
    # the same scene elsewhere on the table looks the same
    state = jax.jit(env.reset)(jax.random.key(0))
    poses = np.array([[0.15 * i - 0.4, HALF, 0.1 * i] for i in range(5)])
    seen = []
    for shift in (0.0, 0.125):
        moved = arrange(state, poses + [shift, 0.0, 0.0], (shift, 0.3), 0.03, closed=True)
        seen.append(stacking.observe(moved))
    for name in ("gripper", "near_blocks"):
        np.testing.assert_allclose(seen[0][name], seen[1][name], atol=1e-6)


def test_the_demonstrator_builds_towers(env: Env) -> None:
    assert env.demonstrate is not None
    demonstrate = env.demonstrate
    result = jax.jit(lambda k: rollout(env, demonstrate, k, 16))(jax.random.key(1))
    good = np.asarray(result.final_success)
    assert good.mean() >= 0.9
    np.testing.assert_array_equal(result.length, 250)
    height = np.asarray(jax.vmap(env.scores["height"])(result.final))
    np.testing.assert_allclose(height[good], 4.0, atol=0.05)
    # four layers of 8 cm at 50 a metre, and four delivered blocks at 2
    np.testing.assert_allclose(np.asarray(result.reward)[good, -1], 24.0, atol=0.2)
    tower = np.asarray(result.final.simulation.physics.qpos)[:, 4:].reshape(16, 5, 3)
    in_order = np.take_along_axis(tower, np.asarray(result.final.simulation.plan)[..., None], 1)
    assert (np.diff(in_order[good, :, 1]) > 0.075).all()
    assert np.abs(result.action).max() <= 0.9


def test_success_may_end_an_episode() -> None:
    env = make_env("blocks/train?terminate=true", reward="sparse", demonstrator_noise=0.0)
    assert env.demonstrate is not None
    demonstrate = env.demonstrate
    result = jax.jit(lambda k: rollout(env, demonstrate, k, 4))(jax.random.key(2))
    good = np.asarray(result.final_success)
    assert good.sum() >= 3
    np.testing.assert_array_equal(result.final.terminated, good)
    np.testing.assert_array_equal(result.final.truncated, ~good)
    length = np.asarray(result.length)
    assert length[good].max() < 250
    last = np.take_along_axis(np.asarray(result.reward), length[:, None] - 1, 1)[:, 0]
    np.testing.assert_allclose(last[good], 16.0, atol=0.5)  # height alone pays


@pytest.fixture(scope="module")
def short() -> tuple[Env, Callable]:
    """An environment of 20 steps, and a step of three of it that begins new episodes."""
    env = make_env("blocks/train", episode_length=20)
    return env, jax.jit(jax.vmap(lambda s, a: step_and_reset(env, s, a)))


def test_steps_repeat_bit_for_bit_and_time_limits_truncate(short: tuple[Env, Callable]) -> None:
    env, step = short
    actions = jax.random.uniform(jax.random.key(5), (20, 3, 3), minval=-1.0, maxval=1.0)
    initial = jax.jit(lambda k: reset_many(env, k, 3))(jax.random.key(0))
    ends = []
    for _ in range(2):
        state = initial
        for time, action in enumerate(actions, start=1):
            state, transition, stepped = step(state, action)
            assert bool(transition.truncated.all()) == (time == 20)
            assert not bool(transition.terminated.any())
        ends.append(stepped.simulation.physics)
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert np.abs(np.asarray(ends[0].qpos - initial.simulation.physics.qpos)).max() > 0.05
    np.testing.assert_array_equal(stepped.time, 20)
    np.testing.assert_array_equal(state.time, 0)


def test_a_diverged_simulation_is_truncated_and_reset(short: tuple[Env, Callable]) -> None:
    env, step = short
    state = jax.jit(lambda k: reset_many(env, k, 3))(jax.random.key(0))
    physics = state.simulation.physics
    broken = physics._replace(qvel=physics.qvel.at[1, 6].set(1e20))
    state = state._replace(simulation=state.simulation._replace(physics=broken))
    state, transition, stepped = step(state, jnp.zeros((3, 3)))
    np.testing.assert_array_equal(stepped.diverged, [False, True, False])
    np.testing.assert_array_equal(transition.valid, [True, False, True])
    np.testing.assert_array_equal(transition.truncated, [False, True, False])
    np.testing.assert_array_equal(transition.terminated, [False, False, False])
    np.testing.assert_array_equal(state.time, [1, 0, 1])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.observation))


def test_images_show_the_strip_and_the_blocks(env: Env, start: State) -> None:
    assert env.render is not None
    image = np.asarray(jax.jit(env.render, static_argnums=(1, 2))(start, 64, 48))
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


def test_what_there_is_to_know_about_it(env: Env, test_env: Env) -> None:
    assert env.action_spec == test_env.action_spec
    assert env.info["engine"] == "c"
    assert env.info["data_env"] == test_env.info["data_env"] == "blocks/train"
    assert len(test_env.info["scenes"][0]) == 11
    assert make_env("blocks/test").episode_length == 1000
    validation = make_env("blocks/validation")
    assert len(validation.info["scenes"][0]) == 9
    assert validation.info["report_env"] == "blocks/validation"
    shapes = [e.observation_spec["near_blocks"].shape for e in (env, validation, test_env)]
    assert len(set(shapes)) == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blocks/tower", {}, "--env=blocks/tower is unknown; blocks/ has: train, validation, test"),
        ("blocks/train", {"engine": "bullet"}, "--engine=bullet is not available"),
        ("blocks/train", {"reward": "shaped"}, "--reward=shaped is unknown"),
        ("blocks/train?episode_length=0", {}, "episode_length=0 should be"),
        ("blocks/train?terminate=often", {}, "terminate=often should be true or false"),
        ("blocks/train?blocks=3", {}, "blocks=3 is no choice"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")) as refused:
        make_env(name, **options)
    assert "\n" not in str(refused.value)
