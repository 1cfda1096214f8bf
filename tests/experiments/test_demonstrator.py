"""The demonstrator's report, on the two validation objects."""

from __future__ import annotations

from behavior_priors.envs.manipulation.grasp import SLOTS
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Array, PRNGKey, State
from experiments.demonstrator import judge


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


def test_an_episode_counts_for_the_object_aimed_at() -> None:
    env = make_env("grasp/validation", demonstrator_noise=0.0, any_object=False)

    def grasp_the_next_one(state: State, key: PRNGKey) -> Array:
        simulation = state.simulation
        other = simulation._replace(slot=(simulation.slot + 1) % SLOTS)
        return env.demonstrate(state._replace(simulation=other), key)

    rates = judge(env._replace(demonstrate=grasp_the_next_one), episodes=256, seed=100)
    assert max(rate.value for rate in rates.values()) < 0.05
