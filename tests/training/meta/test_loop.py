"""The meta-loop: which experience is made of which tasks, and what of it is seen where."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.training.meta.experience import make_live
from behavior_priors.training.meta.loop import MetaLoopState, make_meta_loop
from behavior_priors.training.meta.schedule import (
    MetaLoopConfig,
    MetaSchedule,
    Stretch,
    check_schedule,
    replay_need,
    stretches_of,
    waves_of,
)
from behavior_priors.types import TaskBelief
from tests.training.meta.tellers import KNOWN, LENGTH, numbered_tasks, teller

TASKS = 5
CONFIG = MetaLoopConfig(
    iterations=3,
    epoch_iterations=1,
    initial_steps=2 * LENGTH,
    tasks_per_iteration=2,
    prior_steps=LENGTH,
    posterior_steps=2 * LENGTH,
    extra_steps=3 * LENGTH,
    updates_per_iteration=1,
    meta_batch=4,
    batch_size=6,
    context_size=6,
)


@functools.cache
def after(config: MetaLoopConfig, epochs: int = 1) -> tuple[MetaLoopState, dict[str, float]]:
    """What so many epochs lead to, and the last one's metrics."""
    loop, _ = make_meta_loop(numbered_tasks(), teller(), config, jnp.arange(TASKS, dtype=float))
    state, metrics = jax.jit(loop.init)(jax.random.key(0)), {}
    for _ in range(epochs):
        state, metrics = loop.run_epoch(state)
    return state, {name: float(x) for name, x in metrics.items()}


def descriptions(ring: Any, task: int) -> np.ndarray:
    """What a task's remembered actions were described by, oldest first."""
    assert int(ring.size[task]) == int(ring.position[task])  # nothing was forgotten
    return np.asarray(ring.data.transition.action[task, : int(ring.size[task]), 0])


def test_before_the_first_round_all_tasks_are_tried_with_descriptions_from_the_prior() -> None:
    state, _ = after(CONFIG, epochs=0)
    assert int(state.steps) == TASKS * 2 * LENGTH
    for ring in (state.replay, state.context):
        assert ring.size.tolist() == [2 * LENGTH] * TASKS
        seen = np.stack([descriptions(ring, task) for task in range(TASKS)])
        # one for each episode, and each a different one
        assert len(np.unique(seen)) == 2 * TASKS
        assert np.abs(seen).max() < 5
        observed = ring.data.transition.observation["task"][:, : 2 * LENGTH, 0]
        np.testing.assert_array_equal(observed, np.arange(TASKS)[:, None] * np.ones(2 * LENGTH))


def test_a_round_clears_what_is_shown_of_its_own_tasks_only_and_nothing_that_is_remembered() -> (
    None
):
    # more initial steps than a round has, so that there is room to show too much
    state, _ = after(dataclasses.replace(CONFIG, initial_steps=7 * LENGTH))
    chosen = np.asarray(state.replay.size) > 7 * LENGTH
    assert chosen.sum() == 2
    assert np.asarray(state.replay.size)[chosen].tolist() == [(7 + 6) * LENGTH] * 2
    # prior and posterior steps are shown, extra ones are not; others show what they showed before
    assert np.asarray(state.context.size)[chosen].tolist() == [3 * LENGTH] * 2
    assert np.asarray(state.context.size)[~chosen].tolist() == [7 * LENGTH] * 3
    assert int(state.steps) == (TASKS * 7 + 2 * 6) * LENGTH


@pytest.mark.parametrize("first_from_prior", [True, False])
def test_posterior_episodes_begin_with_the_prior_where_the_authors_do(
    first_from_prior: bool,
) -> None:
    state, metrics = after(dataclasses.replace(CONFIG, first_from_prior=first_from_prior))
    chosen = int(np.argmax(np.asarray(state.replay.size)))
    episodes = descriptions(state.replay, chosen).reshape(-1, LENGTH)
    assert (episodes == episodes[:, :1]).all()
    first = [not first_from_prior]
    # initial, prior, posterior, extra
    expected = [False] * 2 + [False] + first + [True] + first + [True] * 2
    assert (episodes[:, 0] == KNOWN).tolist() == expected
    # all rewards of task k are k, and judged ten times as high
    tasks = np.flatnonzero(np.asarray(state.replay.size) > 2 * LENGTH)
    assert metrics["episode/return"] == pytest.approx(10 * LENGTH * tasks.mean())
    assert metrics["episode/count"] == 12


def test_a_round_never_takes_a_task_twice() -> None:
    state, _ = after(dataclasses.replace(CONFIG, tasks_per_iteration=TASKS))
    assert state.replay.size.tolist() == [8 * LENGTH] * TASKS


MANY = {"tasks_per_iteration": TASKS, "context_size": 200, "batch_size": 200}
"""Enough of a batch to meet everything that is remembered, in rounds of all tasks."""


def test_contexts_belong_to_the_tasks_of_the_batch_and_tell_them_by_their_own_reward() -> None:
    for context in ("recent", "all", "batch"):
        _, metrics = after(dataclasses.replace(CONFIG, context=context, **MANY), epochs=3)
        assert metrics["train/tasks_agree"] == metrics["train/one_task"] == 1
        assert metrics["train/counting"] == 1
        assert metrics["train/shown"] == pytest.approx(10)
        assert metrics["train/earned"] == pytest.approx(1)
        assert metrics["train/is_batch"] == (context == "batch")


def test_recent_contexts_are_of_the_last_round_and_others_of_all_of_them() -> None:
    for context, oldest in (("recent", 2), ("all", 0), ("batch", 0)):
        _, metrics = after(dataclasses.replace(CONFIG, context=context, **MANY), epochs=3)
        # actions tell how many updates had been made: none in the first round, two in the third
        assert (metrics["train/oldest"], metrics["train/newest"]) == (oldest, 2)


@pytest.mark.parametrize("part", ["context", "batch"])
def test_in_order_is_as_it_was_lived(part: str) -> None:
    size = {f"{part}_size": 2 * LENGTH, "meta_batch": 50}
    _, metrics = after(dataclasses.replace(CONFIG, **size))
    assert metrics[f"train/{part}_follows"] < 0.5  # one in four, by chance
    _, metrics = after(dataclasses.replace(CONFIG, **size, **{f"{part}_order": "in_order"}))
    assert metrics[f"train/{part}_follows"] == 1
    assert metrics["train/tasks_agree"] == 1


def test_an_episode_that_ends_early_is_followed_by_one_of_the_same_task() -> None:
    env = numbered_tasks(ends=True)
    live = make_live(env, teller())
    belief = TaskBelief(jnp.zeros((3, 1)), jnp.ones((3, 1)))
    lived, episodes = live(jnp.float32(0), jnp.array([1.0, 2.0, 3.0]), belief, jax.random.key(0))
    step = lived.transition
    np.testing.assert_array_equal(step.observation["task"][..., 0], [[k] * 4 for k in (1, 2, 3)])
    assert step.terminated.tolist() == [[False, True] * 2, [False] * 4, [False, True] * 2]
    described = np.asarray(step.action[..., 0])
    # with another description
    assert [len(set(row.tolist())) for row in described] == [2, 1, 2]
    assert described[0, 0] == described[0, 1] != described[0, 2] == described[0, 3]
    assert episodes["count"].tolist() == [2, 1, 2]
    assert episodes["return"].tolist() == [10 * 2 * 2 * 1, 10 * 4 * 2, 10 * 2 * 2 * 3]


def test_the_schedule_counts_all_steps_and_the_first_ones_too() -> None:
    schedule = check_schedule(CONFIG, LENGTH, TASKS)
    assert schedule == MetaSchedule(5 * 8 + 3 * 2 * 24, 2 * 24, 0)
    state, _ = after(CONFIG, epochs=3)
    assert int(state.steps) == schedule.steps
    stretches = stretches_of(CONFIG, LENGTH)
    assert [x.from_prior for x in stretches] == [True, True, False, True, False, False]
    assert [x.as_context for x in stretches] == [True] * 3 + [False] * 3


def test_stretches_are_side_by_side_where_none_waits_for_what_another_shows() -> None:
    prior, posterior = Stretch(True, True), Stretch(False, True)
    extra_prior, extra = Stretch(True, False), Stretch(False, False)
    # of the test's own round: what is known after the second is what the fourth shows nothing of
    assert waves_of(stretches_of(CONFIG, LENGTH)) == [
        (prior, prior),
        (posterior, extra_prior),
        (extra, extra),
    ]
    # each posterior episode waits for the one before
    assert waves_of([prior, posterior, posterior]) == [(prior,), (posterior,), (posterior,)]
    # where nothing was shown in this round, beliefs are of an empty context
    assert waves_of([posterior, extra]) == [(posterior,), (extra,)]
    assert waves_of([extra, extra, prior, prior]) == [(extra, extra, prior, prior)]


def test_replay_has_room_for_what_a_run_makes() -> None:
    # every round chooses each of five tasks
    all_of_them = dataclasses.replace(CONFIG, tasks_per_iteration=5)
    assert replay_need(all_of_them, 5) == 8 + 3 * 24
    # 400 rounds with a chance of one in four: 100 and four times 8.66, rounded up
    rare = dataclasses.replace(CONFIG, iterations=400)
    assert replay_need(rare, 8) == 8 + 135 * 24
    assert replay_need(dataclasses.replace(CONFIG, replay_capacity=9), 8) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"iterations": 3, "epoch_iterations": 2},
            "iterations=3 should be a multiple of epoch_",
        ),
        ({"tasks_per_iteration": 6}, "tasks_per_iteration=6 should be at most the number of .*, 5"),
        ({"prior_steps": 5}, "prior_steps=5 should be a multiple of the length of an episode, 4"),
        ({"initial_steps": 0}, "initial_steps=0 should be at least 1"),
        ({"prior_steps": 0, "posterior_steps": 0}, "prior_steps and posterior_steps are both 0"),
        ({"meta_batch": 0}, "meta_batch=0 should be at least 1"),
        (
            {"batch_order": "in_order", "batch_size": 9},
            "batch_size=9 should be at most initial_",
        ),
        ({"replay_capacity": 4}, "replay_capacity=4 should be at least initial_steps"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_schedule(dataclasses.replace(CONFIG, **change), LENGTH, TASKS)


def test_an_environment_of_one_task_is_refused() -> None:
    env = make_env("maze/test")
    with pytest.raises(UserError, match="maze/test is one task; meta-learning needs"):
        make_live(env, teller())
