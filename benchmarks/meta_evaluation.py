"""Evaluations of test tasks per second: all of them at once, against one after the other.

Ours is `training.adapt` for thirty half-cheetahs that should run at different speeds, three
episodes each, in one program. The peer is the same jitted function for one task, called thirty
times, since PEARL's public code evaluates serially; the policy is the same, of the authors' widths.

Both draw first states and descriptions of their own. Before the race their returns have to agree
in distribution, episode by episode, over several evaluations of all tasks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from behavior_priors.envs.registry import make_env
from behavior_priors.training.adapt import AdaptConfig, AdaptFn, make_adapt
from behavior_priors.training.meta_experience import tasks_of
from behavior_priors.types import Array, Env, Params, PRNGKey, Task
from benchmarks.harness import BenchmarkError, Contestant, Plan, Row, race, rate_row
from benchmarks.pearl import make_drawn
from benchmarks.pearl_configs import Configs, make_configs

PEERS = ("gymnasium",)

ENV = "locomotion/cheetah_velocity"
TASKS = 30
ADAPT = AdaptConfig(trajectories=3, exploration=2)
EVALUATIONS = 4
"""That are compared."""

STANDARD_ERRORS = 5.0
"""By which mean returns may differ, of two evaluations that are the same."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields the one row."""
    yield measure_evaluation(make_env(ENV, engine="c"), make_configs(), TASKS, plan)


def measure_evaluation(env: Env, configs: Configs, count: int, plan: Plan) -> Row:
    """The row of so many test tasks.

    Raises:
      BenchmarkError: returns do not agree.
    """
    learner, state = make_drawn(configs, env.observation_spec, env.action_spec)
    tasks = tasks_of(env).sample(jax.random.key(0), count)
    adapt: AdaptFn = jax.jit(make_adapt(env, learner, ADAPT))
    keys = jax.random.split(jax.random.key(1), EVALUATIONS)
    returns = [
        np.stack([np.asarray(evaluate(adapt, state.policy, tasks, key)) for key in keys])
        for evaluate in (at_once, one_by_one)
    ]
    equal = agree(*returns)
    key = jax.random.key(2)
    contestants = {
        name: _dropping(functools.partial(evaluate, adapt, state.policy, tasks, key))
        for name, evaluate in (("ours", at_once), ("peer", one_by_one))
    }
    seconds = race(contestants, plan)
    return rate_row(
        f"meta_evaluation/{count} tasks at once against one by one",
        "evaluations/s",
        (1, seconds["ours"]),
        (1, seconds["peer"]),
        equal=equal,
    )


def at_once(adapt: AdaptFn, policy: Params, tasks: Task, key: PRNGKey) -> Array:
    """Returns `[tasks, repeats, trajectories]` of one call."""
    return jax.block_until_ready(adapt(policy, tasks, key).returns)


def one_by_one(adapt: AdaptFn, policy: Params, tasks: Task, key: PRNGKey) -> np.ndarray:
    """Returns `[tasks, repeats, trajectories]` of a call for each task."""
    keys = jax.random.split(key, len(tasks))
    each = [at_once(adapt, policy, tasks[i : i + 1], key) for i, key in enumerate(keys)]
    return np.concatenate(each)


def agree(ours: np.ndarray, peer: np.ndarray) -> str:
    """Compares the mean returns of each episode, of which there are as many of each task.

    Args:
      ours: `[evaluations, tasks, repeats, trajectories]`.
      peer: likewise.

    Returns:
      The largest difference, in standard errors over tasks.

    Raises:
      BenchmarkError: it is too large for returns of one distribution, or there is no telling.
    """
    difference = (ours - peer).mean((0, 2))
    errors = difference.std(0, ddof=1) / np.sqrt(len(difference))
    if not (np.isfinite(difference).all() and errors.all()):
        raise BenchmarkError("returns are not finite, or the same in whatever state they begin")
    worst = float(np.abs(difference.mean(0) / errors).max())
    if worst > STANDARD_ERRORS:
        raise BenchmarkError(
            f"mean returns: ours and the peer's differ by {worst:.1f} standard errors; at most "
            f"{STANDARD_ERRORS:.0f} is equal"
        )
    return f"mean returns of each episode within {worst:.1f} standard errors"


def _dropping(run: Callable[[], Any]) -> Contestant:
    def dropped() -> None:
        run()

    return dropped
