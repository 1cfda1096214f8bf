"""What gymnasium's spaces become, and what is said of those that cannot be used."""

from __future__ import annotations

import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from behavior_priors.envs.adapters.gym.actions import read_action
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from tests.envs.adapters.gym.counting import COUNTING, Counting

MODULE = "gym/tests.envs.adapters.gym.counting"


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Counting.made.clear()


def test_uneven_bounds_are_reached_exactly():
    env = make_env(f"{COUNTING}?action=uneven")
    assert env.action_spec.size == 2
    assert env.action_spec.bound == 1.0
    state = env.reset(jax.random.key(0))
    for action in ([-1.0, 1.0], [0.0, 0.5], [1.0, -1.0], [7.0, -3.0]):
        state = env.step(state, jnp.array(action))
    acted = Counting.made[0].actions[-4:]
    assert all(a.shape == (2, 1) and a.dtype == np.float64 for a in acted)
    # bounds [-0.3, 1.7] and [2, 2.5]; what is beyond is limited
    expected = [[-0.3, 2.5], [0.7, 2.375], [1.7, 2.0], [1.7, 2.0]]
    np.testing.assert_allclose(np.stack(acted)[..., 0], expected, rtol=1e-15)
    np.testing.assert_array_equal(np.stack(acted)[[0, 2, 3], :, 0], np.take(expected, [0, 2, 3], 0))


def test_actions_in_bounds_of_one_stay_what_they_are():
    action = read_action(spaces.Box(-1.0, 1.0, (3,), np.float32), "probe")
    given = np.float32([[1e-30, -0.1, 0.999_999_9], [1.0, -1.0, 1 / 3]])
    np.testing.assert_array_equal(action.rescale(given), given)
    assert action.rescale(given).dtype == np.float32


def test_a_dictionary_gives_named_arrays():
    env = make_env(f"{COUNTING}?observe=nested")
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    observation = state.observation
    assert set(observation) == {"image", "nothing", "robot.counts", "robot.whole"}
    assert set(env.observation_spec) == set(observation)
    for name, spec in env.observation_spec.items():
        assert observation[name].shape == spec.shape
        assert observation[name].dtype == spec.dtype
    np.testing.assert_array_equal(observation["image"], [[10, 11, 12]] * 3)
    assert observation["image"].dtype == jnp.uint8
    np.testing.assert_array_equal(observation["robot.whole"], np.float32([1.0, 7.0]))
    np.testing.assert_array_equal(observation["robot.counts"][2], 1.0)
    # bounds 0 and 255, 0 and 100
    image, whole = (env.observation_spec[name] for name in ("image", "robot.whole"))
    assert (image.location, image.scale) == (127.5, 127.5)
    assert (whole.location, whole.scale) == (50.0, 50.0)


def test_typical_values_without_bounds_are_those_that_were_seen():
    layout = Layout(spaces.Box(-np.inf, np.inf, (4,)), "probe")
    assert not layout.is_settled()
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(1000, 4)) * [0.1, 1.0, 9.0, 300.0] + [0.0, 5.2, 100.0, -1000.0]
    numbers[7, 1] = np.nan
    layout.settle(numbers)
    spec = layout.spec["observation"]
    np.testing.assert_array_equal(spec.scale, [1.0, 1.0, 8.0, 256.0])
    np.testing.assert_array_equal(spec.location, [0.0, 5.0, 96.0, -1024.0])
    assert layout.is_settled()


def test_typical_values_are_the_same_every_time():
    first, second = (make_env("gym/HalfCheetah-v5").observation_spec for _ in range(2))
    np.testing.assert_array_equal(first["observation"].scale, second["observation"].scale)
    np.testing.assert_array_equal(first["observation"].location, second["observation"].location)
    # positions of some tenths of a metre and radians stay, joint velocities do not
    np.testing.assert_array_equal(np.asarray(first["observation"].scale)[:8], np.ones(8))
    assert (np.asarray(first["observation"].scale)[-6:] >= 4.0).all()


def test_narrow_bounds_need_no_steps():
    make_env(f"{COUNTING}?cue=constant&measures_success=false")
    assert len(Counting.made[0].actions) == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("action=unbounded", "every bound must be finite"),
        ("action=discrete", r"Discrete\(5\); only a Box of floating"),
        ("action=whole", r"int64\); only a Box of floating"),
        ("max_episode_steps=-1", r"no time limit; .*Counting-v0\?episode_length=200"),
        ("episode_length=0", "cannot be made: .*positive"),
        ("colour=red", "cannot be made: .*colour"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(query: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        make_env(f"{COUNTING}?{query}")
    assert str(caught.value).startswith(COUNTING)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gym/HalfCheeta-v5", r"--env=gym/HalfCheeta-v5 is unknown; .*HalfCheetah-v5"),
        ("gym/Xyzzy", r"--env=gym/Xyzzy is unknown; an id that a package registers"),
        ("gym/absent_module:Some-v0", "there is no module absent_module"),
        (f"{MODULE}:Countin-v0", "close to it are: Counting-v0"),
        (f"{MODULE}:CountingForEver-v0", "no time limit"),
    ],
)
def test_unknown_ids_are_said_in_a_line(name: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        make_env(name)
    assert "\n" not in str(caught.value)


def test_the_time_limit_can_be_chosen():
    assert make_env(COUNTING).episode_length == 4
    assert make_env(f"{COUNTING}?max_episode_steps=7").episode_length == 7
    assert make_env(f"{COUNTING}?episode_length=9").episode_length == 9


def test_there_is_no_choice_of_engine():
    assert make_env(COUNTING, engine="auto").info["engine"] == f"gymnasium {gymnasium.__version__}"
    with pytest.raises(UserError, match="--engine=mjx is not for gym/"):
        make_env(COUNTING, engine="mjx")


def test_without_gymnasium_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UserError, match=r"pip install 'behavior-priors\[gym\]'"):
        make_env("gym/Pusher-v5")


def test_an_observation_of_another_shape_is_noticed():
    layout = Layout(spaces.Dict({"a": spaces.Box(0.0, 1.0, (2, 3))}), "probe")
    with pytest.raises(ValueError, match=r"a has the shape \(3,\); its space has \(2, 3\)"):
        layout.write(np.zeros((1, 6)), np.zeros((1, 6), np.int32), [0], [{"a": np.zeros(3)}])
    two = [{"a": np.zeros((2, 3))}, {"a": np.zeros(3)}]
    with pytest.raises(ValueError, match=r"a has the shape \(3,\); its space has \(2, 3\)"):
        layout.write(np.zeros((2, 6)), np.zeros((2, 6), np.int32), [0, 1], two)


def test_names_that_fall_together_are_refused():
    box = spaces.Box(0.0, 1.0, (1,))
    with pytest.raises(UserError, match="different names"):
        Layout(spaces.Dict({"a": spaces.Dict({"b": box}), "a.b": box}), "probe")
