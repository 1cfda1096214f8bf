"""Runs that are to be longer than they were end like runs that were meant to be so long."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from behavior_priors.errors import UserError
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs.metrics import read_jsonl
from behavior_priors.runs.run import run_loop
from behavior_priors.training.loop import LoopState, make_loop
from behavior_priors.training.meta.loop import make_meta_loop
from tests.runs.test_run import CONFIG, RUN, evaluate, same
from tests.training.meta.tellers import numbered_tasks, teller
from tests.training.meta.test_loop import CONFIG as META_CONFIG
from tests.training.walk import make_averager, make_walk

LONGER = 160


def learn(folder: Path, steps: int, **changes: Any) -> LoopState:
    config = dataclasses.replace(CONFIG, steps=steps, **changes)
    loop = make_loop(make_walk(), make_averager(), config)
    key, watch = jax.random.key(7), Stopwatch()
    return run_loop(folder, "walk", loop, config, evaluate, key, run=RUN, stopwatch=watch, flags={})


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
