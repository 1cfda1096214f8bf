"""Evaluations of test tasks per second: all of them at once, against one after the other.

Ours is `evaluation.adapt` for thirty half-cheetahs that should run at different speeds, three
episodes each, in one program. PEARL's public code evaluates serially, and so do both peers: one
process with gymnasium and torch, task by task and step by step; and our own jitted function for one
task, called thirty times. The policy is the same, of the authors' widths.

Before the race a few steps of the policy have to be the same in torch, and so does a belief. All
draw first states and descriptions of their own, so that their returns have to agree in
distribution, episode by episode, over several evaluations of all tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.registry import make_env
from behavior_priors.evaluation.adapt import AdaptConfig, AdaptFn, blank_context, make_adapt
from behavior_priors.learner import MetaLearner
from behavior_priors.torso import flatten_observation
from behavior_priors.training.meta.experience import tasks_of
from behavior_priors.types import Array, Env, Params, PRNGKey, Task
from benchmarks.harness import (
    BenchmarkError,
    Contestant,
    Plan,
    Row,
    largest_difference,
    race,
    rate_row,
)
from benchmarks.meta_collection import TOLERANCE, collector, compare
from benchmarks.pearl import make_drawn
from benchmarks.pearl_configs import Configs, make_configs

PEERS = ("gymnasium", "torch")

ENV = "locomotion/cheetah_velocity"
TASKS = 30
ADAPT = AdaptConfig(trajectories=3, exploration=2)
EVALUATIONS = 4
"""That are compared."""

COMPARED_TASKS = 5
"""In a few steps each."""

SEEN = 50
"""Transitions that a belief is from which is compared."""

OURS, TORCH, SERIALLY = "ours", "gymnasium and torch, one by one", "ours, one by one"

STANDARD_ERRORS = 5.0
"""By which mean returns may differ, of two evaluations that are the same."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row against torch, and one against ourselves, one by one."""
    yield from measure_evaluation(make_env(ENV, engine="c"), make_configs(), TASKS, plan)


def measure_evaluation(env: Env, configs: Configs, count: int, plan: Plan) -> Iterator[Row]:
    """The rows of so many test tasks.

    Raises:
      BenchmarkError: the peer in torch acts or believes otherwise, or returns do not agree.
    """
    learner, state = make_drawn(configs, env.observation_spec, env.action_spec)
    tasks = tasks_of(env).sample(jax.random.key(0), count)
    adapt: AdaptFn = jax.jit(make_adapt(env, learner, ADAPT))

    def ours(key: PRNGKey) -> np.ndarray:
        return np.asarray(at_once(adapt, state.policy, tasks, key))

    def serially(key: PRNGKey) -> np.ndarray:
        return one_by_one(adapt, state.policy, tasks, key)

    with collector(env, configs, state) as peer:

        def in_torch(_: PRNGKey) -> np.ndarray:
            speeds = np.asarray(tasks).tolist()
            return peer.adapt(speeds, ADAPT.trajectories, ADAPT.exploration)[:, None]

        contestants = {OURS: ours, TORCH: in_torch, SERIALLY: serially}
        same = [
            compare(env, learner, state.policy, tasks[:COMPARED_TASKS], peer, explore=False),
            compare_beliefs(env, learner, state.policy, peer),
        ]
        keys = jax.random.split(jax.random.key(1), EVALUATIONS)
        returns = {name: np.stack([*map(run, keys)]) for name, run in contestants.items()}
        agreed = {name: agree(returns[OURS], returns[name]) for name in (TORCH, SERIALLY)}
        runs = {name: _dropping(run, keys[0]) for name, run in contestants.items()}
        seconds = race(runs, plan)
    equal = {TORCH: ", ".join([*same, agreed[TORCH]]), SERIALLY: agreed[SERIALLY]}
    for name, packages in ((TORCH, ("gymnasium", "torch")), (SERIALLY, ())):
        yield rate_row(
            f"meta_evaluation/{count} tasks at once against {name}",
            "evaluations/s",
            (1, seconds[OURS]),
            (1, seconds[name]),
            equal=equal[name],
            packages=packages,
        )


def compare_beliefs(env: Env, learner: MetaLearner, policy: Params, peer: Any) -> str:
    """What some experience says to both: says how equal, or raises `BenchmarkError`."""
    rng = np.random.default_rng(0)
    context = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32),
        blank_context(env, (1, SEEN)),
    )._replace(counts=jnp.ones((1, SEEN), bool))
    flat = flatten_observation(
        context.observation, env.observation_spec, tuple(env.observation_spec)
    )
    seen = [np.array(x[0]) for x in (flat, context.action, context.reward)]
    mine = learner.infer(policy, context)
    theirs = peer.infer(seen, slice(SEEN))
    return largest_difference("beliefs", [x[0] for x in mine], list(theirs), TOLERANCE)


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


def _dropping(run: Callable[[PRNGKey], Any], key: PRNGKey) -> Contestant:
    def dropped() -> None:
        run(key)

    return dropped
