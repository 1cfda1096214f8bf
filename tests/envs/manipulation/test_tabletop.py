from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.manipulation import layouts, objects, tabletop
from behavior_priors.envs.manipulation.task import SUCCESS_HEIGHT
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Env


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("grasp/mug")


@pytest.fixture(scope="module")
def train_env() -> Env:
    return make_env("grasp/train")


def test_objects_never_overlap_at_a_reset(train_env: Env) -> None:
    states = jax.jit(lambda k: reset_many(train_env, k, 4000))(jax.random.key(0))
    position = np.asarray(states.observation["object_position"])[..., :2]
    table = layouts.make_scenes([layouts.Layout(tuple(s)) for s in train_env.info["scenes"]])
    radius = table.radius[np.asarray(states.simulation.scene)]
    distance = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    room = distance - radius[:, :, None] - radius[:, None]
    room[:, range(3), range(3)] = 1.0
    assert room.min() > 0.0
    low, high = layouts.PLACEMENT
    assert ((position >= low - 1e-6) & (position <= high + 1e-6)).all()
    # every slot's object is the task's in a third of the episodes
    counts = np.bincount(np.asarray(states.simulation.slot), minlength=3)
    assert (np.abs(counts / 4000 - 1 / 3) < 0.03).all()


def test_the_fallback_row_always_has_room() -> None:
    biggest = max(item.radius for item in objects.OBJECTS.values())
    spacing = (layouts.PLACEMENT[1, 1] - layouts.PLACEMENT[0, 1]) / 2
    assert spacing >= 2 * biggest


def test_null_actions_leave_the_arm_where_it_is(env: Env) -> None:
    result = jax.jit(lambda k: rollout(env, lambda s, k: jnp.zeros(7), k, 16))(jax.random.key(0))
    hand = np.asarray(result.observation["ee_position"])
    assert np.linalg.norm(hand - hand[:, :1], axis=-1).max() < 2e-3


def test_the_hand_goes_where_it_is_told(env: Env) -> None:
    state = jax.jit(env.reset)(jax.random.key(0))
    step = jax.jit(env.step)
    start = np.asarray(state.observation["ee_position"])
    for _ in range(4):
        state = step(state, jnp.asarray([0.5, -0.25, 0.0, 0.0, 0.0, 0.0, 0.0]))
    for _ in range(4):
        state = step(state, jnp.zeros(7))
    moved = np.asarray(state.observation["ee_position"]) - start
    expected = 4 * tabletop.POSITION_STEP * np.array([0.5, -0.25, 0.0])
    np.testing.assert_allclose(moved, expected, atol=4e-3)


def test_the_gripper_closes_below_minus_a_half_and_holds_in_between(env: Env) -> None:
    state = jax.jit(env.reset)(jax.random.key(0))
    step = jax.jit(env.step)
    commands = []
    for grip in (-0.4, -0.6, 0.4, 0.6):
        state = step(state, jnp.zeros(7).at[6].set(grip))
        commands.append(float(state.observation["gripper"][1]))
    assert commands == [1.0, 0.0, 0.0, 1.0]


def test_the_demonstrator_mostly_succeeds_and_success_pays(env: Env) -> None:
    assert env.demonstrate is not None
    demonstrate = env.demonstrate
    result = jax.jit(lambda k: rollout(env, demonstrate, k, 64))(jax.random.key(1))
    assert float(result.final_success.mean()) > 0.8
    np.testing.assert_array_equal(result.reward, np.asarray(result.success, np.float32))
    np.testing.assert_array_equal(result.length, 25)
    target = np.asarray(result.observation["object_position"])[:, -1, 0, 2]
    lifted = target - objects.OBJECTS["mug"].rest_height > SUCCESS_HEIGHT
    assert (lifted >= np.asarray(result.final_success)).all()


def test_dense_reward_is_highest_on_success() -> None:
    dense = make_env("grasp/mug", reward="dense")
    assert dense.demonstrate is not None
    demonstrate = dense.demonstrate
    result = jax.jit(lambda k: rollout(dense, demonstrate, k, 32))(jax.random.key(1))
    reward, success = np.asarray(result.reward), np.asarray(result.success)
    np.testing.assert_array_equal(reward[success], 1.0)
    assert reward[~success].max() < 0.85
    assert reward[:, 8].mean() > reward[:, 0].mean()


def test_time_limits_truncate_and_keep_the_last_observation(env: Env) -> None:
    step = jax.jit(jax.vmap(lambda s, a: step_and_reset(env, s, a)))
    state = reset_many(env, jax.random.key(0), 2)
    for time in range(1, 26):
        before = state
        state, transition, stepped = step(before, jnp.zeros((2, 7)))
        assert bool(transition.truncated.all()) == (time == 25)
        assert not bool(transition.terminated.any())
    np.testing.assert_array_equal(stepped.time, 25)
    np.testing.assert_array_equal(state.time, 0)
    last = np.asarray(transition.next_observation["object_position"])
    np.testing.assert_array_equal(last, stepped.observation["object_position"])
    assert np.abs(last - np.asarray(state.observation["object_position"])).max() > 0.01


def test_a_diverged_simulation_is_truncated_counted_and_reset(env: Env) -> None:
    step = jax.jit(jax.vmap(lambda s, a: step_and_reset(env, s, a)))
    state = reset_many(env, jax.random.key(0), 2)
    physics = state.simulation.physics
    broken = physics._replace(qvel=physics.qvel.at[1, 8].set(1e20))
    state = state._replace(simulation=state.simulation._replace(physics=broken))
    state, transition, stepped = step(state, jnp.zeros((2, 7)))
    np.testing.assert_array_equal(stepped.diverged, [False, True])
    np.testing.assert_array_equal(transition.valid, [True, False])
    np.testing.assert_array_equal(transition.truncated, [False, True])
    np.testing.assert_array_equal(transition.terminated, [False, False])
    np.testing.assert_array_equal(state.time, [1, 0])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.observation))


def test_images_show_the_table_and_the_objects(env: Env) -> None:
    assert env.render is not None
    state = jax.jit(env.reset)(jax.random.key(0))
    image = np.asarray(jax.jit(env.render, static_argnums=(1, 2))(state, 64, 48))
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grasp/spoon", {}, "--env=grasp/spoon is unknown; grasp/ has: mug, "),
        ("grasp/spoon", {"flag": "data_env"}, "--data_env=grasp/spoon is unknown"),
        ("reach/mug", {}, "--env=reach/mug is unknown"),
        ("grasp", {}, "--env=grasp is unknown"),
        ("grasp/mug", {"engine": "bullet"}, "--engine=bullet is not available"),
        ("grasp/mug", {"reward": "shaped"}, "--reward=shaped is unknown"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_env(name, **options)


def test_a_wanted_object_is_a_task_that_nothing_observed_tells() -> None:
    env = make_env("grasp/train?any_object=false&reward=dense")
    assert env.tasks is not None
    wanted = env.tasks.sample(jax.random.key(0), 3000)
    assert (np.bincount(wanted.slot, minlength=3) > 900).all()
    assert len(np.unique(wanted.scene)) == len(env.info["scenes"])
    # the three tasks of one scene, begun alike: all that differs is what is paid for
    count, slots = 2, jnp.arange(3)
    scene = jnp.full(3, 17)
    begin, step = jax.vmap(env.tasks.begin, (0, None)), jax.jit(jax.vmap(env.step, (0, None)))
    states = begin(type(wanted)(scene, slots), jax.random.key(1))
    for _ in range(count):
        for array in states.observation.values():
            np.testing.assert_array_equal(array, jnp.broadcast_to(array[0], array.shape))
        target = states.observation["object_position"][0, 1] - states.observation["ee_position"][0]
        states = step(states, jnp.concatenate([20.0 * target, jnp.zeros(4)]))
    assert states.reward.argmax() == 1
    again = env.tasks.of(states)
    np.testing.assert_array_equal(again.scene, scene)
    np.testing.assert_array_equal(again.slot, slots)


@pytest.mark.parametrize("name", ["grasp/train", "grasp/mug", "place/mug-in-basket"])
def test_where_any_object_counts_or_one_is_named_there_is_one_task(name: str) -> None:
    assert make_env(name).tasks is None
