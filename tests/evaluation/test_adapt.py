"""Adaptation: what each trajectory knows, and what counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.evaluation.adapt import (
    Adaptation,
    AdaptConfig,
    blank_context,
    episodes_as_context,
    make_adapt,
    make_meta_evaluate,
    policy_returns,
)
from behavior_priors.types import Context, TaskBelief
from tests.training.meta.tellers import KNOWN, LENGTH, numbered_tasks, teller

CONFIG = AdaptConfig(trajectories=4, exploration=2, repeats=3)
TASKS = jnp.array([1.0, 2.0])


def adapt(config: AdaptConfig = CONFIG, *, ends: bool = False, **replaced: Any) -> Adaptation:
    learner = teller()._replace(**replaced)
    run = jax.jit(make_adapt(numbered_tasks(ends=ends), learner, config))
    return run(jnp.float32(0), TASKS, jax.random.key(0))


def test_the_first_trajectories_explore_and_the_others_know() -> None:
    action = adapt().episodes.action
    assert action.shape == (4, 2 * 3, LENGTH, 2)
    described = np.asarray(action[..., 0])
    assert (described == described[:, :, :1]).all()
    # drawn anew for each task, repeat and trajectory
    assert len(np.unique(described[:2, :, 0])) == 2 * 6
    assert (described[2:] == KNOWN).all()
    assert (np.asarray(action[..., 1]) == 0.5).all(), "the policy is to be deterministic"


def test_without_exploration_the_first_one_is_from_the_prior_all_the_same() -> None:
    action = adapt(dataclasses.replace(CONFIG, exploration=0)).episodes.action
    described = np.asarray(action[..., 0, 0])
    assert len(np.unique(described[0])) == 6
    assert (described[1:] == KNOWN).all()


def test_returns_are_those_that_a_context_shows() -> None:
    result = adapt()
    assert result.returns.shape == (2, 3, 4)
    np.testing.assert_allclose(result.returns, 10 * LENGTH * TASKS[:, None, None] * np.ones((3, 4)))
    # odd tasks end after two steps
    result = adapt(ends=True)
    np.testing.assert_allclose(result.returns[0], 10 * 2)
    np.testing.assert_allclose(result.returns[1], 10 * LENGTH * 2)


@pytest.mark.parametrize("ends", [False, True])
def test_the_context_is_everything_seen_so_far_of_that_task_and_repeat(ends: bool) -> None:
    def infer(_: Any, context: Context) -> TaskBelief:
        """Knows the number of transitions, and the sum of what they paid."""
        paid = jnp.where(context.counts, context.reward, 0.0).sum(-1)
        mean = paid + 1000.0 * context.counts.sum(-1)
        return TaskBelief(mean[..., None], jnp.zeros((*mean.shape, 1)))

    config = dataclasses.replace(CONFIG, exploration=0)
    described = adapt(config, ends=ends, infer=infer).episodes.action[:, :, 0, 0]
    steps = np.array([2, 4] if ends else [4, 4])
    each = np.repeat((1000 + 10 * np.asarray(TASKS)) * steps, 3)
    np.testing.assert_allclose(described, np.arange(4)[:, None] * each)


def test_who_explores_does_not_look_at_everything_to_believe_in_nothing() -> None:
    looked_at: list[int] = []

    def infer(_: Any, context: Context) -> TaskBelief:
        looked_at.append(context.counts.shape[-1])
        mean = jnp.zeros((len(context.counts), 1))
        return TaskBelief(mean, mean)

    adapt(infer=infer)
    assert set(looked_at) == {1, CONFIG.trajectories * LENGTH}


def test_other_experience_leads_to_another_belief() -> None:
    env = numbered_tasks()
    config = dataclasses.replace(CONFIG, exploration=1)

    def infer(_: Any, context: Context) -> TaskBelief:
        shown = context.reward.sum(-1)[..., None]
        return TaskBelief(shown, jnp.zeros_like(shown))

    run = make_adapt(env, teller()._replace(infer=infer), config)
    ours, theirs = (
        run(jnp.float32(0), tasks, jax.random.key(0)).episodes.action[1:, :, 0, 0]
        for tasks in (TASKS, TASKS + 1)
    )
    assert (np.asarray(ours) != np.asarray(theirs)).all()


def test_the_same_key_gives_the_same_evaluation_and_metrics_are_means() -> None:
    config = dataclasses.replace(CONFIG, trajectories=3)
    evaluate = make_meta_evaluate(numbered_tasks(), teller(), TASKS, config)
    metrics = evaluate(jnp.float32(0), jax.random.key(1))
    assert metrics == evaluate(jnp.float32(0), jax.random.key(1))
    assert {name: float(x) for name, x in metrics.items()} == {
        name: pytest.approx(10 * LENGTH * 1.5)
        for name in (
            "return_mean",
            "first_return_mean",
            "online/return_01",
            "online/return_02",
            "online/return_03",
        )
    }


def test_whoever_knows_the_goal_walks_straight_to_it() -> None:
    env = make_env("point/sparse?radius=0.25")
    oracle = env.demonstrate
    assert oracle is not None
    goals = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    returns = policy_returns(env, oracle, goals, 2, jax.random.key(0))
    # a tenth a step: inside with 0.2 left, then 0.1, then eleven steps on the goal
    np.testing.assert_allclose(returns, np.full((2, 2), 0.8 + 0.9 + 11), rtol=1e-5)


def test_a_context_ends_with_its_episode() -> None:
    env = numbered_tasks(ends=True)
    episodes = adapt(ends=True).episodes
    first = jax.tree.map(lambda x: x[0], episodes)
    context = episodes_as_context(env, first)
    assert context.counts.sum(-1).tolist() == [2] * 3 + [4] * 3
    blank = blank_context(env, (6, LENGTH))
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), c) for c in (context, blank)]
    assert shapes[0] == shapes[1]
    # a step in which the simulation diverged has no meaning
    diverged = first._replace(final=first.final._replace(diverged=jnp.ones(6, bool)))
    assert episodes_as_context(env, diverged).counts.sum(-1).tolist() == [1] * 3 + [3] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trajectories": 0, "exploration": 0}, "trajectories=0 should be at least 1"),
        ({"repeats": 0}, "repeats=0 should be at least 1"),
        ({"exploration": 4}, "exploration=4 should be at most 3"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_adapt(numbered_tasks(), teller(), dataclasses.replace(CONFIG, **change))
