"""The rules that reported numbers follow, on episodes made by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.rollout import Rollout
from behavior_priors.evaluation.evaluate import (
    MOVED,
    interaction_report,
    make_evaluate,
    summarize_rollout,
)
from behavior_priors.types import ArraySpec, Env, State
from tests.training.walk import make_averager, make_walk


def test_summary_by_hand() -> None:
    """Episodes: held to the end, held in between, never, claimed by a broken simulation."""
    success = jnp.array(
        [[False, True, True], [True, True, False], [False, False, False], [False, False, True]]
    )
    diverged = jnp.array([False, False, False, True])
    states: Any = State(*[None] * 9)
    episodes = Rollout(
        initial=states,
        final=states._replace(success=success[:, -1], diverged=diverged),
        observation={},
        action=jnp.zeros((4, 3, 1)),
        reward=jnp.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        success=success,
        length=jnp.full(4, 3),
    )
    summary = {name: float(x) for name, x in summarize_rollout(make_walk(), episodes).items()}
    assert summary == {"success_rate": 0.25, "ever_success_rate": 0.5, "return_mean": 1.0}


def test_scores_are_means_over_final_states() -> None:
    """Four walks of three steps of 1, which end at 3; none of them measures success."""
    env = make_walk()._replace(
        measures_success=False, scores={"place": lambda state: state.simulation["place"]}
    )
    evaluate = make_evaluate(env, make_averager(), 4, stochastic=False)
    metrics = evaluate({"mean": jnp.ones(())}, jax.random.key(0))
    assert {name: float(x) for name, x in metrics.items()} == {
        "return_mean": 6.0,
        "place_mean": 3.0,
    }


def reached(threshold: float) -> Env:
    """The walk, in which success is to be beyond a threshold at the end."""
    env = make_walk()

    def step(state: State, action: jax.Array) -> State:
        state = env.step(state, action)
        return state._replace(success=state.simulation["place"] > threshold)

    return env._replace(step=step)


def test_the_deterministic_policy_is_evaluated_and_the_stochastic_one_if_wanted() -> None:
    """Three steps of 1 end at 3; with noise of standard deviation sqrt(3), about there."""
    learner = make_averager()
    env = reached(2.9)
    policy = {"mean": jnp.ones(())}
    evaluate = make_evaluate(env, learner, 400, stochastic=True)
    metrics = {name: float(x) for name, x in evaluate(policy, jax.random.key(0)).items()}
    assert metrics["success_rate"] == metrics["ever_success_rate"] == 1.0
    assert metrics["return_mean"] == metrics["stochastic/return_mean"] == 6.0
    # P(3 + sqrt(3) Z > 2.9) = 0.523
    assert abs(metrics["stochastic/success_rate"] - 0.523) < 4 * 0.025
    assert metrics["stochastic/ever_success_rate"] > metrics["stochastic/success_rate"]
    again = evaluate(policy, jax.random.key(0))
    assert {name: float(x) for name, x in again.items()} == metrics
    worse = evaluate({"mean": jnp.zeros(())}, jax.random.key(0))
    assert worse["success_rate"] == 0.0


def test_both_policies_meet_the_same_resets() -> None:
    """Luck, which no action changes, is drawn at the reset."""
    evaluate = make_evaluate(make_walk(), make_averager(), 101, stochastic=True)
    rates = set()
    for seed in range(4):
        metrics = evaluate({"mean": jnp.ones(())}, jax.random.key(seed))
        assert metrics["success_rate"] == metrics["stochastic/success_rate"]
        rates.add(float(metrics["success_rate"]))
    assert len(rates) > 1


def test_no_stochastic_metrics_unless_wanted() -> None:
    evaluate = make_evaluate(make_walk(), make_averager(), 3, stochastic=False)
    names = set(evaluate({"mean": jnp.ones(())}, jax.random.key(0)))
    assert names == {"success_rate", "ever_success_rate", "return_mean"}


@pytest.mark.parametrize(
    ("step_size", "expected"), [(0.9 * MOVED / 3, 0.0), (1.1 * MOVED / 3, 1.0)]
)
def test_an_object_counts_as_moved_beyond_two_centimetres(
    step_size: float, expected: float
) -> None:
    """The second of two objects moves along y with the walk, wherever it starts."""
    env = make_walk()

    def observe(state: State) -> State:
        start = jnp.array([[0.1, 0.2, 0.0], [0.3, -0.2, 0.0]])
        position = start.at[1, 1].add(state.simulation["place"])
        return state._replace(observation={"object_position": position})

    moved = env._replace(
        observation_spec={"object_position": ArraySpec((2, 3))},
        reset=lambda key: observe(env.reset(key)),
        step=lambda state, action: observe(env.step(state, action)),
    )
    report = interaction_report(
        moved, lambda state, key: jnp.full(1, step_size), jax.random.key(0), 64
    )
    assert report["interaction_rate"] == expected
    assert report["success_rate"] == report["ever_success_rate"]
    assert 0.2 < float(report["success_rate"]) < 0.8


def test_objects_in_a_broken_simulation_have_moved_no_further_than_before() -> None:
    """NaN positions are no interaction; half of the episodes diverge."""
    env = make_walk(diverges=True)

    def observe(state: State) -> State:
        position = jnp.zeros((1, 3)) + 0.0 * state.observation["time"][0]
        return state._replace(observation={"object_position": position})

    still = env._replace(
        observation_spec={"object_position": ArraySpec((1, 3))},
        reset=lambda key: observe(env.reset(key)),
        step=lambda state, action: observe(env.step(state, action)),
    )
    report = interaction_report(still, lambda state, key: jnp.ones(1), jax.random.key(0), 64)
    rates = {name: float(x) for name, x in report.items() if name.endswith("_rate")}
    assert rates == {"success_rate": 0.0, "ever_success_rate": 0.0, "interaction_rate": 0.0}
    assert np.isfinite(list(report.values())).all()
