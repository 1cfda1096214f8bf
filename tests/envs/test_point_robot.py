"""Point robots: their tasks, steps and rewards."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Env, Tasks


def tasks_of(env: Env) -> Tasks:
    assert env.tasks is not None
    return env.tasks


def test_sparse_goals_are_evenly_spaced_on_a_half_circle() -> None:
    goals = np.asarray(tasks_of(make_env("point/sparse")).sample(jax.random.key(0), 100))
    np.testing.assert_allclose(np.linalg.norm(goals, axis=-1), 1.0, rtol=1e-6)
    angles = np.arctan2(np.abs(goals[:, 1]), goals[:, 0])
    np.testing.assert_allclose(np.sort(angles), np.linspace(0, np.pi, 100), atol=1e-5)
    assert not (np.diff(angles) > 0).all()  # shuffled


def test_dense_goals_and_starts_fill_the_square() -> None:
    tasks = tasks_of(make_env("point/dense"))
    goals = tasks.sample(jax.random.key(0), 2000)
    keys = jax.random.split(jax.random.key(1), 2000)
    starts = jax.vmap(tasks.begin)(goals, keys).observation["position"]
    for points in map(np.asarray, (goals, starts)):
        assert 0.99 < np.abs(points).max() <= 1.0
        np.testing.assert_allclose(points.mean(0), 0.0, atol=0.05)
        np.testing.assert_allclose(points.std(0), 3**-0.5, atol=0.03)
    # neither of them tells the other
    assert abs(np.corrcoef(np.asarray(goals)[:, 0], np.asarray(starts)[:, 0])[0, 1]) < 0.1


def test_a_step_by_hand() -> None:
    """From the origin with action (2, -0.5), clipped: to (0.1, -0.05), goal at (0, 1)."""
    env = make_env("point/sparse")
    tasks = tasks_of(env)
    assert tasks.context_reward is not None
    state = tasks.begin(jnp.array([0.0, 1.0]), jax.random.key(0))
    state = env.step(state, jnp.array([2.0, -0.5]))
    np.testing.assert_allclose(state.observation["position"], [0.1, -0.05], rtol=1e-6)
    np.testing.assert_allclose(state.reward, -np.hypot(0.1, 1.05), rtol=1e-6)
    assert not state.success
    assert tasks.context_reward(state) == 0.0
    near = state._replace(simulation=state.simulation._replace(position=jnp.array([0.0, 0.8])))
    near = env.step(near, jnp.array([0.0, 0.5]))
    assert near.success
    np.testing.assert_allclose(near.reward, -0.15, rtol=1e-5)
    np.testing.assert_allclose(tasks.context_reward(near), 0.85, rtol=1e-6)


def test_an_episode_is_twenty_steps_that_only_time_ends() -> None:
    env = make_env("point/dense")
    episodes = rollout(env, lambda state, key: jnp.zeros(2), jax.random.key(0), 50)
    np.testing.assert_array_equal(episodes.length, 20)
    assert bool(episodes.final.truncated.all())
    assert not bool(episodes.final.terminated.any())


@pytest.mark.parametrize(("member", "expected"), [("dense", -5.0), ("sparse", 13.4)])
def test_who_knows_the_goal_earns_as_much_as_has_been_computed_elsewhere(
    member: str, expected: float
) -> None:
    """Returns of the same rule on the authors' tasks: -5.0 on their 100 dense ones, 13.4 sparse."""
    env = make_env(f"point/{member}")
    tasks, demonstrate = tasks_of(env), env.demonstrate
    assert demonstrate is not None

    def episode(goal: jax.Array, key: jax.Array) -> jax.Array:
        def step(state, _):
            state = env.step(state, demonstrate(state, key))
            shown = tasks.context_reward or (lambda state: state.reward)
            return state, shown(state)

        return jax.lax.scan(step, tasks.begin(goal, key), length=20)[1].sum()

    goals = tasks.sample(jax.random.key(0), 1000)
    returns = jax.jit(jax.vmap(episode))(goals, jax.random.split(jax.random.key(1), 1000))
    assert float(returns.mean()) == pytest.approx(expected, abs=0.35)


def test_it_is_drawn() -> None:
    env = make_env("point/sparse?radius=0.8")
    state = tasks_of(env).begin(jnp.array([1.0, 0.0]), jax.random.key(0))
    assert env.render is not None
    picture = np.asarray(env.render(state, 120, 60))
    assert picture.shape == (60, 120, 3)
    assert picture[30, 60].tolist() == [213, 94, 0]  # the point, in the middle
    assert picture[30, 80].tolist() == [140, 200, 175]  # the goal, a unit to the right


@pytest.mark.parametrize("name", ["point/sparse?radius=0", "point/dense?episode_length=-3"])
def test_what_is_not_positive_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="should be positive"):
        make_env(name)
