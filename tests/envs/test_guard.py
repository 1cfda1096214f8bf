"""Numbers that cannot be learned from: which they are, and what a step with them becomes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import begin_many, reset_many, step_and_reset
from behavior_priors.envs.guard import check_first, check_step, checked
from behavior_priors.envs.registry import make_env
from behavior_priors.types import ActionSpec, Array, ArraySpec, Env, State
from tests.training.walk import make_walk

NAN, INF = float("nan"), float("inf")


def spoiled(name: str, value: float) -> tuple[Env, State, State]:
    """The walk, a first state, and where a step led in which one array has a value."""
    env = make_walk()
    before = env.reset(jax.random.key(0))
    after = env.step(before, jnp.ones(1))
    if name == "reward":
        return env, before, after._replace(reward=jnp.float32(value))
    observation = {**after.observation, name: jnp.float32([value])}
    return env, before, after._replace(observation=observation)


@pytest.mark.parametrize("name", ["time", "action", "reward"])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e38, -1e20, 2e15])
def test_what_cannot_be_learned_from_becomes_a_diverged_step(name: str, value: float):
    env, before, after = spoiled(name, value)
    good, wrong = check_step(env, before, after._replace(terminated=jnp.ones((), bool)))
    assert [n for n, x in zip(checked(env), wrong, strict=True) if x] == [name]
    assert (bool(good.diverged), bool(good.truncated), bool(good.terminated)) == (True, True, False)
    assert float(good.reward) == 0.0
    for key, x in before.observation.items():
        np.testing.assert_array_equal(good.observation[key], x)


@pytest.mark.parametrize(("name", "value"), [("time", 9e8), ("reward", -9e14), ("reward", 0.5)])
def test_large_numbers_are_left_alone(name: str, value: float):
    env, before, after = spoiled(name, value)
    good, wrong = check_step(env, before, after)
    assert not wrong.any()
    jax.tree.map(np.testing.assert_array_equal, good._replace(key=0), after._replace(key=0))


def test_limits_are_in_units_of_what_is_typical():
    env, before, after = spoiled("time", 5e11)
    spec = {**env.observation_spec, "time": ArraySpec((1,), location=4e11, scale=200.0)}
    assert not check_step(env._replace(observation_spec=spec), before, after)[1].any()
    spec["time"] = ArraySpec((1,), location=4e11, scale=np.float32([50.0]))
    assert check_step(env._replace(observation_spec=spec), before, after)[1].any()


def test_the_reward_that_a_task_is_told_by_is_looked_at_too():
    env = make_env("point/sparse")
    tasks = env.tasks
    assert tasks is not None
    before = env.reset(jax.random.key(0))
    after = env.step(before, jnp.zeros(2))
    env = env._replace(tasks=tasks._replace(context_reward=lambda state: jnp.float32(NAN)))
    good, wrong = check_step(env, before, after)
    assert [n for n, x in zip(checked(env), wrong, strict=True) if x] == ["context_reward"]
    assert good.diverged


def begins_with(value: float) -> Env:
    env = make_walk()

    def reset(key: Array) -> State:
        state = env.reset(key)
        return state._replace(observation={**state.observation, "action": jnp.float32([value])})

    spec = {**env.observation_spec, "action": ArraySpec((1,), location=3.0)}
    return env._replace(reset=reset, observation_spec=spec, action_spec=ActionSpec(1, None))


def test_an_episode_that_begins_wrongly_is_typical_and_one_step_long():
    env = begins_with(NAN)
    states = reset_many(env, jax.random.key(0), 2)
    np.testing.assert_array_equal(states.observation["action"], [[3.0], [3.0]])
    assert states.diverged.all()
    following, transition, _ = jax.vmap(lambda s: step_and_reset(env, s, jnp.ones(1)))(states)
    assert not transition.valid.any()
    assert transition.truncated.all()
    np.testing.assert_array_equal(transition.next_observation["action"], [[3.0], [3.0]])
    np.testing.assert_array_equal(following.time, [0, 0])
    assert not reset_many(begins_with(1.0), jax.random.key(0), 2).diverged.any()


def test_what_is_no_number_needs_no_look():
    env = make_walk()
    spec = {"time": ArraySpec((1,), np.uint8)}
    state = env.reset(jax.random.key(0))
    assert check_first(env._replace(observation_spec=spec), state) is state


def test_episodes_of_tasks_begin_like_others():
    env = make_env("point/dense")
    tasks = env.tasks
    assert tasks is not None
    goals = tasks.sample(jax.random.key(0), 3)
    states = begin_many(env, goals, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, jax.vmap(tasks.of)(states), goals)
