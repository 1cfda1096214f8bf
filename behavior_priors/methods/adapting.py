"""Tests of a method that infers tasks: it adapts to each of them, and is scored by trajectory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.evaluation.adapt import Adaptation, AdaptConfig, make_adapt
from behavior_priors.evaluation.statistics import stratified_bootstrap_interval
from behavior_priors.keys import named_key
from behavior_priors.learner import MetaLearner
from behavior_priors.methods.tasks import SplitTasks, oracle_returns
from behavior_priors.runs.workdir import ADAPTATION_FILE, ORACLE_FILE
from behavior_priors.system.files import write_npz
from behavior_priors.types import Env, Params, PRNGKey, Task


class Acting(NamedTuple):
    """Where a learner acts, and the parameters with which it does."""

    env: Env
    learner: MetaLearner
    policy: Params


def judge_oracle(config: Any, env: Env, tasks: SplitTasks, workdir: Path) -> dict[str, float]:
    """The score of whoever knows the test task; the return of each task is kept in `oracle.npz`.

    Args:
      config: of the experiment.
      env: whose demonstrator it is.
      tasks: those of the run.
      workdir: of the run.

    Returns:
      `oracle/return_mean`; nothing where nobody is to be asked, or knows it.
    """
    if not config.tasks.oracle_episodes:
        return {}
    key = named_key(config.seed, "oracle")
    returns = oracle_returns(env, tasks.test, config.tasks.oracle_episodes, key)
    if returns is None:
        return {}
    print(f"oracle   return {returns.mean():.4g}  ({len(returns)} test tasks)", flush=True)
    write_npz(workdir / ORACLE_FILE, {"returns": returns})
    return {"oracle/return_mean": float(returns.mean())}


def test(
    config: Any, acting: Acting, tasks: SplitTasks, folder: Path, key: PRNGKey
) -> tuple[Adaptation, dict[str, float]]:
    """Adaptation to the test tasks, and its scores; all returns are kept in `adaptation.npz`.

    Args:
      config: of the experiment.
      acting: what has been learned.
      tasks: those of the run.
      folder: of the method.
      key: of the test; consumed.
    """
    adapt = jax.jit(make_adapt(acting.env, acting.learner, config.adapt))
    tested = adapt(acting.policy, tasks.test, key)
    train_key = named_key(config.seed, "evaluate", "training tasks")
    trained = adapt(acting.policy, tasks.train, train_key)
    kept = {
        "test_returns": np.asarray(tested.returns),
        "train_returns": np.asarray(trained.returns),
    }
    write_npz(folder / ADAPTATION_FILE, kept)
    return tested, _scores(tested, trained)


def print_scores(
    name: str, config: AdaptConfig, tasks: SplitTasks, scores: Mapping[str, float]
) -> None:
    """Prints the line that tells how good a method is in new tasks."""
    count = len(jax.tree.leaves(tasks.test)[0])
    print(
        f"{name:7s}  return {scores['return_mean']:.4g} on trajectory {config.trajectories}, "
        f"{scores['first_return_mean']:.4g} on the first  ({count} test tasks, "
        f"{config.repeats} times each)",
        flush=True,
    )


def _scores(tested: Adaptation, trained: Adaptation) -> dict[str, float]:
    """Returns by trajectory, and of the last one a bootstrap interval over tasks.

    `return_mean` is the last trajectory's in test tasks, `train_return_mean` in training tasks.
    """
    returns = np.asarray(tested.returns).mean(axis=1)
    low, high = stratified_bootstrap_interval(returns[:, -1:], lambda x: x.mean(axis=-1))
    named = {
        "return_mean": returns[:, -1].mean(),
        "return_low": low,
        "return_high": high,
        "first_return_mean": returns[:, 0].mean(),
        "train_return_mean": np.asarray(trained.returns)[..., -1].mean(),
        **{f"online/return_{i + 1:02d}": x for i, x in enumerate(returns.mean(axis=0))},
    }
    return {name: float(x) for name, x in named.items()}


def often_enough(config: AdaptConfig, tasks: Task, episodes: int) -> AdaptConfig:
    """Adaptation with as many repeats as make at least so many episodes of all tasks together."""
    once = len(jax.tree.leaves(tasks)[0]) * config.trajectories
    return dataclasses.replace(config, repeats=math.ceil(episodes / once))
