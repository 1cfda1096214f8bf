"""Episodes side by side, of which some end early."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.rollout import Rollout, replay_actions, rollout
from behavior_priors.types import Env, State
from tests.training.walk import make_walk

EPISODES = 32


def policy(state: State, key: jax.Array) -> jax.Array:
    return 1.0 + jax.random.uniform(key, (1,))


def run(env: Env, seed: int = 0) -> Rollout:
    return jax.jit(lambda key: rollout(env, policy, key, EPISODES))(jax.random.key(seed))


@pytest.fixture(scope="module")
def whole() -> Rollout:
    return run(make_walk())


@pytest.fixture(scope="module")
def broken() -> Rollout:
    return run(make_walk(diverges=True))


def test_shapes_and_what_belongs_to_which_step(whole: Rollout) -> None:
    assert whole.action.shape == (EPISODES, 3, 1)
    assert whole.observation["time"].shape == (EPISODES, 4, 1)
    assert (whole.observation["time"][..., 0] == jnp.arange(4.0)).all()
    assert (whole.reward == jnp.array([1.0, 2.0, 3.0])).all()
    assert (whole.length == 3).all()
    # observation t + 1 is where action t has led
    place = np.asarray(whole.observation["action"][..., 0])
    np.testing.assert_allclose(np.diff(place, axis=1), whole.action[..., 0], rtol=1e-6)
    lucky = np.asarray(whole.initial.simulation["lucky"])
    assert 0 < lucky.sum() < EPISODES
    assert (np.asarray(whole.success) == lucky[:, None] * np.array([False, False, True])).all()
    assert (np.asarray(whole.final_success) == lucky).all()


def test_every_step_and_episode_has_a_key_of_its_own(whole: Rollout) -> None:
    assert len(np.unique(whole.action)) == EPISODES * 3
    again, other = run(make_walk()), run(make_walk(), seed=1)
    assert (again.action == whole.action).all()
    assert not (other.action == whole.action).any()


def test_what_follows_an_end_repeats_it_and_pays_nothing(broken: Rollout) -> None:
    """Lucky episodes end by divergence at their second step."""
    lucky = np.asarray(broken.initial.simulation["lucky"])
    assert (np.asarray(broken.length) == np.where(lucky, 2, 3)).all()
    reward = np.asarray(broken.reward)
    assert (reward[lucky] == [1.0, 0.0, 0.0]).all()
    assert (reward[~lucky] == [1.0, 2.0, 3.0]).all()
    time = np.asarray(broken.observation["time"][..., 0])
    np.testing.assert_array_equal(time[lucky], [[0, 1, np.nan, np.nan]] * lucky.sum())
    assert (np.asarray(broken.final.time)[lucky] == 2).all()
    # its environment claims success, but there is no simulation left to say so
    assert np.asarray(broken.success)[lucky].any()
    assert not np.asarray(broken.final_success)[lucky].any()


def test_actions_executed_again_give_the_same_episodes(whole: Rollout) -> None:
    env = make_walk()
    again = jax.jit(lambda s, a: replay_actions(env, s, a))(whole.initial, whole.action)
    for name in ("observation", "action", "reward", "success", "length"):
        for x, y in zip(
            jax.tree.leaves(getattr(again, name)),
            jax.tree.leaves(getattr(whole, name)),
            strict=True,
        ):
            assert x.dtype == y.dtype
            assert (x == y).all()


def test_another_action_gives_another_episode(whole: Rollout) -> None:
    env = make_walk()
    actions = whole.action.at[5, 1].add(0.5)
    again = jax.jit(lambda s, a: replay_actions(env, s, a))(whole.initial, actions)
    differs = np.asarray(again.observation["action"] != whole.observation["action"])[..., 0]
    assert differs.any(1).nonzero()[0].tolist() == [5]
    assert differs[5].tolist() == [False, False, True, True]


def test_rounds_where_not_all_episodes_may_run_at_once(whole: Rollout) -> None:
    """32 episodes, at most 10 at once, are four rounds of 8; 30 are three of 10; 7 fit at once."""
    limited = make_walk()._replace(side_by_side=10)
    rounds = run(limited)
    assert jax.tree.map(jnp.shape, rounds) == jax.tree.map(jnp.shape, whole)
    assert (rounds.length == 3).all()
    assert len(np.unique(np.asarray(rounds.action).reshape(EPISODES, -1), axis=0)) == EPISODES
    for episodes, at_once in ((32, 8), (30, 10), (7, 7), (11, 6)):
        program = jax.make_jaxpr(lambda k, e=episodes: rollout(limited, policy, k, e))(
            jax.random.key(0)
        )
        assert f"f32[{at_once},1]" in str(program)
        assert {shape.shape[0] for shape in program.out_avals} == {episodes}


def test_resets_side_by_side_are_those_of_separate_keys() -> None:
    env = make_walk()
    key = jax.random.key(3)
    many = reset_many(env, key, 8)
    for i, one in enumerate(jax.random.split(key, 8)):
        state: Any = env.reset(one)
        assert many.simulation["lucky"][i] == state.simulation["lucky"]
        assert many.key[i] == state.key
