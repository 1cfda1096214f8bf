"""Tasks of gymnasium's environments, listed in a file: which one an episode is of, and the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from behavior_priors.envs.base import begin_many, reset_many, same_task, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.wrappers.film import FRAME, film
from behavior_priors.errors import UserError
from behavior_priors.system.faults import fault_behind
from behavior_priors.system.trust import FromFile
from behavior_priors.training.meta.experience import make_live
from behavior_priors.types import Env, TaskBelief
from tests.training.meta.tellers import teller

LIMIT = 3
GOALS = [5.0, 6.0, 7.0, 8.0]


class Told(gymnasium.Env):
    """Observes `[goal, weight, time]`; the task ends early where the goal is 8.

    Attributes:
      made: every instance.
    """

    made: ClassVar[list[Told]] = []
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(self, weight: float = 0.0, render_mode: str | None = None):
        self.weight, self.render_mode, self.goal = weight, render_mode, 0.0
        self.observation_space = spaces.Box(0.0, 10.0, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.made.append(self)

    def _seen(self) -> np.ndarray:
        return np.array([self.goal, self.weight, self.time], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self.goal, self.time = (options or {}).get("goal", 0.0), 0
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Counts."""
        self.time += 1
        return self._seen(), float(self.goal), self.goal == 8.0 and self.time == 2, False, {}

    def render(self) -> np.ndarray:
        """The goal."""
        return np.full((4, 4, 3), int(self.goal), np.uint8)


gymnasium.register("Told-v0", entry_point=Told, max_episode_steps=LIMIT)


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Told.made.clear()


def told(folder: Path, content: Any, more: str = "") -> Env:
    path = folder / "tasks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return make_env(f"gym/{__name__}:Told-v0?tasks={path}{more}")


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return told(tmp_path, {"reset": [{"goal": goal} for goal in GOALS]})


def chain(env: Env, states: Any, steps: int) -> np.ndarray:
    """The first number observed after each step, `[T, N]`."""
    again = same_task(env)

    @jax.jit
    def go(states: Any) -> Any:
        def body(states: Any, _: None) -> tuple[Any, Any]:
            action = jnp.zeros((len(states.time), 2))
            states, *_ = jax.vmap(lambda s, a: step_and_reset(env, s, a, again))(states, action)
            return states, states.observation["observation"]

        return jax.lax.scan(body, states, length=steps)[1]

    return np.asarray(go(states))


def test_tasks_are_drawn_without_repetition(env: Env) -> None:
    assert env.tasks is not None
    drawn = [env.tasks.sample(jax.random.key(seed), 4) for seed in range(3)]
    assert all(sorted(x.number.tolist()) == [0, 1, 2, 3] for x in drawn)
    assert len({tuple(x.number.tolist()) for x in drawn}) > 1
    assert env.tasks.sample(jax.random.key(0), 2).number.tolist() == drawn[0].number.tolist()[:2]
    with pytest.raises(
        UserError, match=r"lists 4 tasks, and 5 are asked for; give less as --tasks"
    ):
        env.tasks.sample(jax.random.key(0), 5)


def test_episodes_that_begin_with_a_task_go_on_with_it(env: Env) -> None:
    assert env.tasks is not None
    tasks = env.tasks.sample(jax.random.key(1), 4)
    states = begin_many(env, tasks, jax.random.key(2))
    goals = np.array(GOALS)[np.asarray(tasks.number)]
    assert states.observation["observation"][:, 0].tolist() == goals.tolist()
    met = jax.vmap(env.tasks.of)(states)
    assert jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), met, tasks))
    seen = chain(env, states, 7)
    assert (seen[..., 0] == goals).all()
    times = {8.0: [1, 0, 1, 0, 1, 0, 1]}
    for row, goal in enumerate(goals):
        assert seen[:, row, 2].tolist() == times.get(goal, [1, 2, 0, 1, 2, 0, 1])


def test_episodes_that_begin_without_one_are_of_random_ones(env: Env) -> None:
    states = reset_many(env, jax.random.key(0), 16)
    again = reset_many(env, jax.random.key(0), 16)
    first = states.observation["observation"][:, 0].tolist()
    assert again.observation["observation"][:, 0].tolist() == first
    assert set(first) == set(GOALS)
    seen = chain(env, states, 3 * LIMIT)[..., 0]
    assert all(set(seen[:, row]) <= set(GOALS) for row in range(16))
    assert sum(len(set(seen[:, row])) > 1 for row in range(16)) > 8


def test_an_instance_is_made_for_each_task_that_is_met(tmp_path: Path) -> None:
    env = told(tmp_path, {"make": [{"weight": w} for w in (1.0, 2.0, 3.0)]})
    assert env.tasks is not None
    tasks = env.tasks.sample(jax.random.key(1), 3)
    weights = np.asarray(tasks.number) + 1.0
    for _ in range(3):
        states = begin_many(env, tasks, jax.random.key(2))
        assert states.observation["observation"][:, 1].tolist() == weights.tolist()
        assert (chain(env, states, 4)[..., 1] == weights).all()
        assert env.release is not None
        env.release(jax.tree.map(lambda x: x, states))  # stale: nothing is given back
    # those of the first three were not given back, as the rest of their episodes was not wanted
    assert sorted(x.weight for x in Told.made) == sorted([1.0, 2.0, 3.0] * 3)


def test_experience_gives_its_instances_back(env: Env) -> None:
    assert env.tasks is not None
    learner = teller()
    policy = learner.init(jax.random.key(0)).policy
    live = jax.jit(make_live(env, learner))
    tasks = env.tasks.sample(jax.random.key(1), 4)
    belief = TaskBelief(jnp.zeros((4, 1)), jnp.ones((4, 1)))
    for seed in range(4):
        lived, _ = live(policy, tasks, belief, jax.random.key(seed))
        jax.block_until_ready(lived)
    assert len(Told.made) == 4
    goals = np.array(GOALS)[np.asarray(tasks.number)]
    assert np.asarray(lived.transition.reward).tolist() == [[g] * LIMIT for g in goals]


def test_a_film_shows_the_task(tmp_path: Path) -> None:
    tasks = {"reset": [{"goal": goal} for goal in GOALS]}
    env = film(told(tmp_path, tasks, "&render_mode=rgb_array"), 4, 4)
    assert env.tasks is not None
    states = begin_many(env, env.tasks.sample(jax.random.key(1), 2), jax.random.key(2))
    frames, seen = (np.asarray(states.observation[name]) for name in (FRAME, "observation"))
    assert (frames[:, 0, 0, 0] == seen[:, 0]).all()
    stepped = jax.vmap(env.step)(states, jnp.zeros((2, 2)))
    assert jax.tree.structure(stepped) == jax.tree.structure(states)
    assert np.array_equal(stepped.observation[FRAME], frames)


def test_another_list_is_noticed(tmp_path: Path) -> None:
    tasks = [{"goal": goal} for goal in GOALS]
    first = told(tmp_path, {"reset": tasks})
    assert first.tasks is not None
    drawn = first.tasks.sample(jax.random.key(1), 4)
    for changed in ([*tasks[:3], {"goal": 9.0}], tasks[:3]):
        env = told(tmp_path, {"reset": changed})
        with pytest.raises(Exception, match="is not the one in") as error:
            jax.block_until_ready(begin_many(env, drawn, jax.random.key(2)))
        assert isinstance(fault_behind(error.value) or error.value, UserError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "tasks.json cannot be read"),
        ("[]", "tasks.json cannot be read"),
        ("{}", r'should hold \{"reset"'),
        ('{"reset": []}', r'should hold \{"reset"'),
        ('{"reset": [1]}', "tasks.json cannot be read"),
        ('{"reset": [{}], "make": [{}]}', r'should hold \{"reset"'),
        ('{"reset": [{}], "notes": 1}', r'should hold \{"reset"'),
        ('{"make": [{"height": 1}]}', "cannot be made: .*height"),
    ],
)
def test_a_file_that_lists_no_tasks(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        told(tmp_path, content)


def test_a_file_that_is_missing() -> None:
    with pytest.raises(UserError, match=r"tasks=nowhere\.json cannot be read: No such file"):
        make_env(f"gym/{__name__}:Told-v0?tasks=nowhere.json")


def test_a_stranger_names_no_file(tmp_path: Path) -> None:
    name = f"gym/{__name__}:Told-v0?tasks={tmp_path / 'tasks.json'}"
    with pytest.raises(UserError, match="give the environment the option tasks="):
        make_env(FromFile(name, "flags.txt says", (__name__, __name__.partition(".")[0])))
