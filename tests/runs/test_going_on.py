"""Runs that are to be longer than they were end like runs that were meant to be so long."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from tensorboardX import SummaryWriter

from behavior_priors.errors import UserError
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.metrics import read_jsonl
from behavior_priors.runs.run import RunConfig, run_loop
from behavior_priors.training.loop import LoopState, make_loop
from behavior_priors.training.meta.loop import make_meta_loop
from behavior_priors.training.on_policy import make_on_policy_loop
from tests.runs.test_run import CONFIG, RUN, evaluate, same
from tests.training.meta.tellers import numbered_tasks, teller
from tests.training.meta.test_loop import CONFIG as META_CONFIG
from tests.training.test_on_policy import CONFIG as ON_POLICY
from tests.training.test_on_policy import make_follower
from tests.training.walk import make_averager, make_walk

LONGER = 160


def learn(folder: Path, steps: int, run: RunConfig = RUN, **changes: Any) -> LoopState:
    config = dataclasses.replace(CONFIG, steps=steps, **changes)
    loop = make_loop(make_walk(), make_averager(), config)
    key, watch = jax.random.key(7), Stopwatch()
    return run_loop(folder, "walk", loop, config, evaluate, key, run=run, stopwatch=watch, flags={})


def test_a_run_that_is_made_longer_ends_with_the_same_bits(tmp_path: Path) -> None:
    short = learn(tmp_path / "run", CONFIG.steps)
    longer = learn(tmp_path / "run", LONGER)
    same(longer, learn(tmp_path / "whole", LONGER))
    rows, whole = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("run", "whole"))
    assert rows == whole
    rings = [state.replay.data.reward.shape[1] for state in (short, longer)]
    assert rings == [20, 40]


def test_a_memory_that_was_given_stays_as_it_is(tmp_path: Path) -> None:
    learn(tmp_path, CONFIG.steps, replay_capacity=40)
    longer = learn(tmp_path, LONGER, replay_capacity=40)
    assert longer.replay.data.reward.shape[1] == 10
    assert longer.replay.size.tolist() == [10] * CONFIG.num_envs


def test_a_memory_is_not_cut(tmp_path: Path) -> None:
    learn(tmp_path, LONGER)
    with pytest.raises(UserError, match=r"belongs to other settings: replay\.data"):
        learn(tmp_path, CONFIG.steps)


def test_what_learns_from_each_round_once_goes_on_too(tmp_path: Path) -> None:
    def learn(folder: Path, steps: int) -> Any:
        config = dataclasses.replace(ON_POLICY, steps=steps)
        loop = make_on_policy_loop(make_walk(), make_follower(), config)
        key, watch = jax.random.key(7), Stopwatch()
        return run_loop(
            folder, "walk", loop, config, evaluate, key, run=RUN, stopwatch=watch, flags={}
        )

    learn(tmp_path / "run", ON_POLICY.steps)
    longer = 2 * ON_POLICY.steps
    same(learn(tmp_path / "run", longer), learn(tmp_path / "whole", longer))


def test_tensorboard_is_shown_what_was_before_and_no_number_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points: list[tuple[int, str, float]] = []

    def add_scalar(_: Any, name: str, value: float, step: int) -> None:
        points.append((step, name, value))

    monkeypatch.setattr(SummaryWriter, "add_scalar", add_scalar)
    learn(tmp_path, CONFIG.steps)
    assert points == []
    learn(tmp_path, LONGER, dataclasses.replace(RUN, tensorboard=True))
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert rows[0]["train/loss"] is None  # nothing was learned in it
    assert sorted((s, n) for s, n, _ in points) == sorted(
        (row["step"], name)
        for row in rows
        for name, value in row.items()
        if name != "step" and value is not None
    )


def test_what_is_learned_of_many_tasks_goes_on_too(tmp_path: Path) -> None:
    def learn(folder: Path, iterations: int) -> Any:
        config = dataclasses.replace(META_CONFIG, iterations=iterations)
        tasks = jnp.arange(5, dtype=float)
        loop, schedule = make_meta_loop(numbered_tasks(), teller(), config, tasks)
        key, watch = jax.random.key(7), Stopwatch()
        return run_loop(
            folder, "many", loop, schedule, lambda *_: {}, key, run=RUN, stopwatch=watch, flags={}
        )

    first = META_CONFIG.epoch_iterations
    learn(tmp_path / "run", first)
    same(learn(tmp_path / "run", 3 * first), learn(tmp_path / "whole", 3 * first))
