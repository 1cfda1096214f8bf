"""The kitchen's rules, on a stand-in of known subtasks; and the kitchen itself if it is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from behavior_priors.envs.adapters.kitchen import host
from behavior_priors.envs.adapters.kitchen.kitchen import MEMBERS, SUBTASKS, complaint, wrap_kitchen
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import summarize_rollout
from behavior_priors.types import Env, State
from tests.envs.adapters.gym.counting import run

LIMIT = 6
NAMES = ["microwave", "kettle", "bottom burner"]


class StandIn(gymnasium.Env):
    """Its subtasks hold after a step where the action's entries are positive.

    As FrankaKitchen says it; observes 59 numbers: their places, plus 100 for each step.
    """

    def __init__(self):
        self.action_space = spaces.Box(-1.0, 1.0, (len(NAMES),), np.float64)
        self.observation_space = spaces.Dict(
            {
                "observation": spaces.Box(-np.inf, np.inf, (59,), np.float64),
                "achieved_goal": spaces.Dict({}),
            }
        )
        self.time = 0

    def _observe(self) -> dict[str, Any]:
        return {"observation": np.arange(59.0) + 100 * self.time, "achieved_goal": {}}

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed, options=options)
        self.time = 0
        return self._observe(), {"step_task_completions": []}

    def step(self, action: np.ndarray):
        self.time += 1
        holding = [name for name, x in zip(NAMES, action, strict=True) if x > 0]
        # in an order that says nothing, and a reward that is not wanted
        return self._observe(), 7.0, False, False, {"step_task_completions": holding[::-1]}


gymnasium.register("StandInKitchen-v0", entry_point=StandIn, max_episode_steps=LIMIT)


def make_stand_in(order: Any = "required") -> Env:
    subtasks = [name.replace(" ", "_") for name in NAMES]
    make = partial(gymnasium.make, "StandInKitchen-v0", disable_env_checker=True)
    return wrap_kitchen(make, "kitchen/stand-in", subtasks, order=order)


def play(env: Env, *holding: str) -> list[State]:
    """States after a reset and after steps in which `holding` holds, subtasks by their initials."""
    states = [env.reset(jax.random.key(0))]
    for initials in holding:
        action = jnp.array([1.0 if name[0] in initials else -1.0 for name in NAMES])
        states.append(env.step(states[-1], action))
    return states


def observed(states: Sequence[State], name: str) -> list:
    return [np.asarray(state.observation[name]).tolist() for state in states]


def rewards(states: Sequence[State]) -> list[float]:
    return [float(state.reward) for state in states]


@pytest.mark.parametrize(
    ("done", "holds", "expected"),
    [
        (0, (), 0),
        (0, (False, True, True), 0),
        (0, (True, False, True), 1),
        (0, (True, True, True), 3),
        (1, (False, True, False), 2),
        (2, (False, False, True), 3),
        (3, (False, False, False), 3),
    ],
)
def test_counting_in_order(done: int, holds: tuple[bool, ...], expected: int):
    assert host.count_in_order(done, holds) == expected


def test_in_order_a_subtask_counts_once_those_before_it_are_done():
    """The kettle is moved too early, and counts as soon as the microwave is open."""
    env = make_stand_in("required")
    states = play(env, "k", "", "k", "mk", "", "b")
    assert rewards(states) == [0, 0, 0, 0, 2, 0, 1]
    assert observed(states, "completed")[3:] == [[0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert observed(states, "subtasks") == [[0, 0], [0, 1], [0, 1], [0, 1], [2, 2], [2, 2], [3, 3]]
    assert [bool(state.terminated) for state in states] == [False] * 6 + [True]
    assert [bool(state.success) for state in states] == [False] * 6 + [True]
    # the sixth step is the last one before the time limit, and ends the task
    assert not any(bool(state.truncated) for state in states)


def test_in_order_what_no_longer_holds_does_not_count_later():
    states = play(make_stand_in("required"), "kb", "m", "b", "kb")
    assert rewards(states) == [0, 0, 1, 0, 2]
    assert observed(states, "subtasks")[1:] == [[0, 2], [1, 3], [1, 3], [3, 3]]


def test_in_any_order_each_subtask_counts_once():
    states = play(make_stand_in("any"), "b", "b", "kb", "", "m")
    assert rewards(states) == [0, 1, 0, 1, 0, 1]
    assert observed(states, "completed")[1:4] == [[0, 0, 1], [0, 0, 1], [0, 1, 1]]
    assert observed(states, "subtasks")[-1] == [1, 3]
    assert bool(states[-1].terminated)
    assert bool(states[-1].success)
    assert not bool(states[-1].truncated)


@pytest.mark.parametrize("order", ["required", "any"])
def test_both_measures_are_reported_whatever_counts(order: str):
    env = make_stand_in(order)
    action = jnp.array([1.0, -1.0, 1.0])
    episodes = rollout(env, lambda state, key: action, jax.random.key(0), 2)
    metrics = jax.device_get(summarize_rollout(env, episodes))
    assert metrics["subtasks_in_order_mean"] == 1
    assert metrics["subtasks_any_order_mean"] == 2
    assert metrics["return_mean"] == (1 if order == "required" else 2)
    assert metrics["success_rate"] == 0
    assert env.info["order"] == order


def test_the_time_limit_truncates_and_the_next_episode_begins_with_nothing_done():
    env = make_stand_in("any")
    holding = np.full((LIMIT + 2, 2, 3), -1.0)
    holding[:, 1, 0] = 1.0  # the second environment's microwave is always open
    _, transition, stepped, after = run(env, holding)
    last = np.arange(LIMIT + 2) == LIMIT - 1
    np.testing.assert_array_equal(transition.truncated, np.stack([last, last], 1))
    assert not transition.terminated.any()
    np.testing.assert_array_equal(transition.reward[:, 0], 0)
    np.testing.assert_array_equal(transition.reward[:, 1], [1, 0, 0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(stepped.observation["subtasks"][:, 1, 1], 1)
    np.testing.assert_array_equal(after.observation["subtasks"][:, 1, 1], ~last)
    assert stepped.time.max() == LIMIT == env.episode_length


def test_the_arrays_are_the_places_of_the_vector():
    states = play(make_stand_in(), "")
    for name, start, stop in (
        ("robot", 0, 9),
        ("robot_velocity", 9, 18),
        ("objects", 18, 39),
        ("object_velocity", 39, 59),
    ):
        first, second = (np.asarray(state.observation[name]) for state in states)
        np.testing.assert_array_equal(first, np.arange(start, stop))
        np.testing.assert_array_equal(second, np.arange(start, stop) + 100)


def test_members():
    assert MEMBERS["mixed"] == ("microwave", "kettle", "bottom_burner", "light_switch")
    assert complaint("mixed") is None
    assert complaint("+".join(reversed(SUBTASKS))) is None
    for member in ("", "fridge", "kettle+kettle", "kettle+", "bottom burner", "mixed+kettle"):
        hint = complaint(member)
        assert hint is not None
        assert "bottom_burner" in hint


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("order=random", "required or any"),
        ("episode_length=0", "at least 1"),
        ("noise=-0.1", "0 or more"),
        ("render_mode=human", "rgb_array"),
        ("colour=red", "order, episode_length"),
    ],
)
def test_options_that_there_are_not(query: str, text: str):
    with pytest.raises(UserError, match=text):
        make_env(f"kitchen/mixed?{query}")
    with pytest.raises(UserError, match="engine=mjx"):
        make_env("kitchen/mixed", engine="mjx")


def test_what_is_missing_is_one_line(tmp_path: Path):
    """Through a program, with exit status 2, also where it is installed."""
    code = (
        "import sys; sys.modules['gymnasium_robotics'] = None\n"
        "from behavior_priors.methods.presets import PARROT\n"
        "from experiments import run\n"
        f"sys.argv = ['parrot', '--env=kitchen/mixed', '--workdir={tmp_path / 'run'}']\n"
        "run.start(PARROT)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == (
        "error: kitchen/mixed needs gymnasium-robotics; pip install 'behavior-priors[kitchen]'"
    )
    assert "Traceback" not in result.stderr


def test_the_kitchen_itself():
    """FrankaKitchen by hand gives the same, bit for bit."""
    pytest.importorskip("gymnasium_robotics")
    env = make_env("kitchen/mixed?episode_length=5&noise=0")
    assert (env.name, env.episode_length) == ("kitchen/mixed?episode_length=5&noise=0", 5)
    assert env.action_spec.size == 9
    assert env.measures_success
    key = jax.random.key(3)

    def policy(state: State, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (9,), minval=-1.0, maxval=1.0)

    result = jax.device_get(jax.jit(lambda key: rollout(env, policy, key, 2))(key))
    np.testing.assert_array_equal(result.length, [5, 5])
    np.testing.assert_array_equal(result.observation["completed"], np.zeros((2, 6, 4)))
    by_hand = host.make_franka(["kettle"], 0.0, max_episode_steps=5)
    for episode in range(2):
        observation, _ = by_hand.reset(seed=episode)
        seen = [observation["observation"]]
        for action in result.action[episode]:
            observation, _, terminated, truncated, _ = by_hand.step(action)
            seen.append(observation["observation"])
        assert truncated
        assert not terminated
        for name, columns in host.COLUMNS.items():
            expected = np.float32(seen)[:, columns]
            np.testing.assert_array_equal(result.observation[name][episode], expected)
    data = by_hand.unwrapped.data
    np.testing.assert_array_equal(seen[-1][:18], [*data.qpos[:9], *data.qvel[:9]])


def test_the_kitchens_own_goals():
    pytest.importorskip("gymnasium_robotics")
    host.load_robotics()
    names = ["microwave", "kettle", "bottom burner", "light switch"]
    kitchen = host.Kitchen(
        host.make_franka(names, 0.1, max_episode_steps=280), names, in_order=True
    )
    kitchen.reset(seed=0)
    data = kitchen.unwrapped.data
    goals = {"kettle": (0.75, 24), "microwave": (-0.75, 22), "bottom burner": (-0.88, 11)}
    seen = []
    for goal, index in goals.values():
        data.qpos[index] = goal
        observation, reward, terminated, _, info = kitchen.step(np.zeros(9))
        seen.append((reward, observation["subtasks"].tolist(), terminated, info["success"]))
    data.qpos[[17, 18]] = -0.69, -0.05
    observation, reward, terminated, _, info = kitchen.step(np.zeros(9))
    assert seen == [
        (0.0, [0, 1], False, False),
        (2.0, [2, 2], False, False),
        (1.0, [3, 3], False, False),
    ]
    assert (reward, terminated, info["success"]) == (1.0, True, True)
