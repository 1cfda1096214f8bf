"""gymnasium's environments as people write them: found right, or said in a line."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.adapters.gym import look
from behavior_priors.envs.adapters.gym.answers import find_success
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.guard import check_step, checked
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.programs import entry, termination
from behavior_priors.system.faults import fault_behind
from behavior_priors.types import Env
from tests.envs.adapters.gym import odd
from tests.envs.adapters.gym.counting import make_counting, run
from tests.envs.adapters.gym.odd import LIMIT, ODD, Odd

FILE = Path(odd.__file__).name


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Odd.made.clear()


def make_odd(**options: Any) -> Env:
    return make_env(ODD, **options)


def raised(go: Any) -> str:
    """What the user is told, whether it is raised at once or comes through a program."""
    with pytest.raises((UserError, jax.errors.JaxRuntimeError)) as caught:
        jax.block_until_ready(go())
    error = caught.value
    told = error if isinstance(error, UserError) else fault_behind(error)
    assert told is not None
    assert "\n" not in str(told)
    return str(told)


def late(does: str) -> str:
    """What is told of an episode in which something is odd that nobody could see before."""
    env = make_odd()
    states = reset_many(env, jax.random.key(0), 1)
    for made in Odd.made:
        made.does = does
    step = jax.jit(jax.vmap(functools.partial(step_and_reset, env)))

    def go() -> Any:
        now, made = states, []
        for _ in range(2 * LIMIT):
            now, transition, _ = step(now, jnp.zeros((1, 2)))
            made.append(transition)
        return made

    return raised(go)


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("raise", rf"step raised ZeroDivisionError: division by zero \(at .*{FILE}:\d+\)"),
        ("four", "step raised ValueError: not enough values .*gives four values"),
        ("reward none", "step gave reward None; it should be one number"),
        ("reward vector", r"step gave reward array\(\[1\., 1\.\]\); it should be one number"),
        ("reward text", "step gave reward '1'; it should be one number"),
        ("shape", r"observation observation has the shape \(3,\); its space has \(2,\)"),
        ("words", r"observation observation is \['a' 'b'\]; it should be numbers"),
        (
            "raise in reset",
            rf"reset\(seed=\d+\) raised RuntimeError: the simulator is not .*{FILE}",
        ),
        ("reset alone", "reset gave one ndarray, not a tuple; it should be"),
        ("begin with nan", "begins an episode with nan in the observation observation"),
        ("other actions", r"its action space was Box\(-1.*and is Box\(-2"),
    ],
)
def test_what_goes_wrong_later_is_a_line_too(does: str, told: str):
    line = late(does)
    assert line.startswith(f"{ODD}: ")
    assert re.search(told, line), line


def test_a_program_ends_with_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(termination, "install", lambda: None)  # signals are the tests' own
    env = make_odd()
    for made in Odd.made:
        made.does = "raise in reset"

    with pytest.raises(SystemExit) as caught:
        entry._guard(lambda: jax.block_until_ready(jax.jit(env.reset)(jax.random.key(0))))
    assert caught.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(rf"error: {ODD}: reset\(seed=\d+\) raised RuntimeError: .*{FILE}:.*", said)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{ODD}?does=raise", "step raised ZeroDivisionError"),
        (f"{ODD}?does=raise in init", r"cannot be made: KeyError: 'no such robot' \(at "),
        (f"{ODD}?does=raise in reset", "reset raised RuntimeError"),
        (f"{ODD}?does=raise in render&render_mode=rgb_array", "render raised OSError: no display"),
        (f"{ODD}?render_mode=rgb_array", "render gave object"),
        (
            "gym/tests.envs.adapters.gym.odd:Plain-v0",
            "reset raised TypeError.*should take seed=None",
        ),
        (f"{ODD}?observe=unclear", r"observation has the shape \(16, 3, 16\) and looks like"),
        (f"{ODD}?observe=text", "observes Text.* as mission, which leave_out=mission spares"),
        (f"{ODD}?says=0.4", r"info\['is_success'\] is 0.4; success should be true or false"),
    ],
)
def test_what_goes_wrong_at_once_is_a_line(name: str, told: str):
    with pytest.raises(UserError, match=told) as caught:
        make_env(name)
    assert str(caught.value).startswith(name.partition("?")[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "does",
    ["reward 1e38", "reward nan", "reward 10**30", "reward -10**400", "observe 1e38"],
)
def test_absurd_numbers_diverge_are_named_and_followed_by_an_episode(does: str):
    env = make_odd(does=does)
    key, actions = jax.random.key(0), np.zeros((4, 3, 2))
    _, transition, _, after = run(env, actions)
    np.testing.assert_array_equal(transition.valid[:, 0], [True, False] * 2)
    np.testing.assert_array_equal(transition.truncated[:, 0], [False, True] * 2)
    np.testing.assert_array_equal(transition.reward[:, 0], [1.0, 0.0] * 2)
    np.testing.assert_array_equal(after.time[:, 0], [1, 0, 1, 0])
    seen = transition.next_observation["observation"]
    assert np.abs(seen).max() <= 1.0
    np.testing.assert_array_equal(seen[1], transition.observation["observation"][1])
    # a state by itself is clean, and what was wrong in it has its name on the way into a loop
    state = env.step(env.reset(key), jnp.zeros(2))
    assert env.step(state, jnp.zeros(2)).diverged
    assert env.step_then_reset is not None
    state = env.step(env.reset(key), jnp.zeros(2))
    wrong = check_step(env, state, env.step_then_reset(state, jnp.zeros(2))[0])[1]
    name = "reward" if does.startswith("reward") else "observation"
    assert [n for n, x in zip(checked(env), wrong, strict=True) if x] == [name]


def test_a_rare_absurd_number_is_not_typical():
    layout_env = make_counting("spoil_at=2&spoil=observation")
    assert np.isfinite(layout_env.observation_spec["observation"].scale).all()


def test_rewards_of_one_element_are_numbers():
    env = make_odd(does="reward array")
    _, transition, _, _ = run(env, np.zeros((3, 2, 2)))
    np.testing.assert_array_equal(transition.reward, np.ones((3, 2)))


@pytest.mark.parametrize("says", [True, 1.0, np.bool_(True), np.array([1]), 1])
def test_success_in_the_last_step_alone_is_found(says: Any):
    env = make_odd(says=says)
    assert env.measures_success
    assert env.info["success_source"] == "info reports it at an episode's end"
    episodes = rollout(env, lambda state, key: jnp.zeros(2), jax.random.key(0), 2)
    assert episodes.final_success.all()
    assert episodes.success.sum() == 2


def test_success_is_found_at_the_end_of_long_episodes():
    """The space has no bounds here: a thousand steps are looked at, a hundred of each episode."""
    env = make_env(f"{ODD}?episode_length=150&ends_at=140&says=true")
    assert env.measures_success


def test_success_that_nobody_reports_is_not_measured():
    env = make_odd()
    assert not env.measures_success
    assert env.info["success_source"] == "info reports none in 3 whole episodes"


def test_the_user_knows_better(monkeypatch: pytest.MonkeyPatch):
    assert make_odd(measures_success=True).measures_success
    env = make_odd(measures_success=False, says=0.4)
    assert not env.measures_success
    rollout(env, lambda state, key: jnp.zeros(2), jax.random.key(0), 1)  # what is not asked for
    monkeypatch.setattr(look, "WHOLE_SECONDS", 0.0)
    assert make_odd(says=True).info["success_source"].startswith("no episode ended within 0 s")


@pytest.mark.parametrize(
    ("info", "success"),
    [
        ({}, None),
        ({"success": None, "is_success": True}, True),
        ({"success": True, "is_success": None}, True),
        ({"is_success": np.array([False])}, False),
        ({"success": np.float32(1.0)}, True),
        ({"final_info": {"is_success": True}}, True),
        ({"final_info": np.array([{"is_success": True}], object)}, True),
        ({"final_info": None, "success": 0}, False),
        ({"final_info": {"is_success": True}, "success": False}, True),
        ({"final_info": {}, "success": True}, True),
    ],
)
def test_success_is_read_from_wherever_it_stands(info: dict[str, Any], success: bool | None):
    assert find_success(info, "probe") is success


@pytest.mark.parametrize("value", [0.4, "yes", np.array([1, 0]), float("nan"), 2])
def test_success_that_is_neither_is_refused(value: Any):
    with pytest.raises(UserError, match="success should be true or false"):
        find_success({"success": value}, "probe")


@pytest.mark.parametrize(
    ("observe", "shape"),
    [("first", (16, 12, 3)), ("stack", (16, 12, 12)), ("grid", (7, 7, 3))],
)
def test_images_are_channels_last(observe: str, shape: tuple[int, ...]):
    env = make_odd(observe=observe)
    spec = env.observation_spec["observation"]
    assert (spec.shape, spec.dtype, spec.location, spec.scale) == (shape, np.uint8, 127.5, 127.5)
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    image, given = np.asarray(state.observation["observation"]), Odd.made[0].samples[-1]
    if observe == "first":
        np.testing.assert_array_equal(image, given.transpose(1, 2, 0))
    elif observe == "stack":
        np.testing.assert_array_equal(image, np.concatenate(list(given), axis=-1))
    else:
        np.testing.assert_array_equal(image, given)


def test_the_user_says_which_axes_are_which():
    env = make_odd(observe="unclear", image_axes="hcw")
    assert env.observation_spec["observation"].shape == (16, 16, 3)
    env = make_odd(observe="unclear", image_axes="numbers")
    spec = env.observation_spec["observation"]
    assert (spec.shape, spec.dtype) == ((768,), np.float32)
    state = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(
        state.observation["observation"], Odd.made[-1].samples[-1].reshape(-1).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("observe", "location", "scale"),
    [("discrete", 4.0, 2.0), ("multi", [1.0, 2.0], [1.0, 2.0]), ("binary", 0.5, 0.5)],
)
def test_whole_numbers_are_numbers(observe: str, location: Any, scale: Any):
    env = make_odd(observe=observe)
    spec = env.observation_spec["observation"]
    assert (spec.shape, spec.dtype) == (odd.SPACES[observe].shape, np.float32)
    np.testing.assert_array_equal(spec.location, location)
    np.testing.assert_array_equal(spec.scale, scale)
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    np.testing.assert_array_equal(state.observation["observation"], Odd.made[0].samples[-1])


def test_tuples_and_nested_dictionaries_have_names():
    env = make_odd(observe="mixed")
    assert set(env.observation_spec) == {"0", "1.pos", "1.a_b.c"}
    state = env.step(env.reset(jax.random.key(0)), jnp.zeros(2))
    number, inner = Odd.made[0].samples[-1]
    np.testing.assert_array_equal(state.observation["0"], number)
    np.testing.assert_array_equal(state.observation["1.pos"], inner["pos"])
    np.testing.assert_array_equal(state.observation["1.a_b.c"], inner["a b/c"])


def test_what_cannot_be_observed_can_be_left_out():
    assert set(make_odd(observe="text", leave_out="mission").observation_spec) == {"pos"}
    env = make_env(f'{ODD}?observe=text&leave_out=["mission"]')
    assert set(env.observation_spec) == {"pos"}


def test_options_are_lists_and_any_text():
    name = f"{ODD}?goals=[[0,1],[2,3]]&label=a%26b=c+d"
    env = make_env(name)
    assert Odd.made[0].goals == [[0, 1], [2, 3]]
    assert Odd.made[0].label == "a&b=c+d"
    assert env.name == name


def test_environments_that_end_themselves_need_a_limit_and_keep_their_own_end():
    for_ever = ODD.replace("Odd-v0", "OddForEver-v0")
    with pytest.raises(UserError, match=r"no time limit; give it one, as in .*\?episode_length="):
        make_env(f"{for_ever}?ends_at=3")
    env = make_env(f"{for_ever}?ends_at=3&episode_length=20")
    assert env.episode_length == 20
    episodes = rollout(env, lambda state, key: jnp.zeros(2), jax.random.key(0), 2)
    np.testing.assert_array_equal(episodes.length, [3, 3])
    assert episodes.final.truncated.all()
