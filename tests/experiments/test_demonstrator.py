"""The demonstrator's report, on the two validation objects."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from behavior_priors.envs.manipulation.grasp import SLOTS
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.types import Array, PRNGKey, State
from experiments.demonstrator import judge, with_controller


def test_the_demonstrator_grasps_both_validation_objects() -> None:
    rates = judge(
        make_env("grasp/validation", demonstrator_noise=0.0, any_object=False),
        episodes=257,
        seed=100,
    )
    assert list(rates) == ["pan", "teapot"]
    # 257 episodes are rounded up to two rounds of 256
    trials = [int(rate.meaning.split()[-2]) for rate in rates.values()]
    assert sum(trials) == 512
    assert min(rate.value for rate in rates.values()) > 0.7


def test_the_controller_needs_nothing_but_where_the_object_is_observed() -> None:
    env = make_env("grasp/validation", any_object=False)

    def blind(state: State, key: PRNGKey) -> Array:
        known = ("object_offset", "gripper")
        seen = {
            name: array if name in known else jnp.full_like(array, jnp.nan)
            for name, array in state.observation.items()
        }
        act = with_controller(env).demonstrate
        assert act is not None
        return act(state._replace(observation=seen), key)

    rates = judge(env._replace(demonstrate=blind), episodes=256, seed=100)
    assert rates["teapot"].value > 0.9
    with pytest.raises(UserError, match="--policy=controller grasps; place/mug-in-pan"):
        with_controller(make_env("place/mug-in-pan"))


def test_an_episode_counts_for_the_object_aimed_at() -> None:
    env = make_env("grasp/validation", demonstrator_noise=0.0, any_object=False)

    def grasp_the_next_one(state: State, key: PRNGKey) -> Array:
        simulation = state.simulation
        other = simulation._replace(slot=(simulation.slot + 1) % SLOTS)
        return env.demonstrate(state._replace(simulation=other), key)

    rates = judge(env._replace(demonstrate=grasp_the_next_one), episodes=256, seed=100)
    assert max(rate.value for rate in rates.values()) < 0.05
