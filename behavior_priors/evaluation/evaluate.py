"""How good a policy is, by the rules that every reported number follows."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from behavior_priors.envs.rollout import PolicyFn, Rollout, rollout
from behavior_priors.learner import Actor
from behavior_priors.types import Array, Env, Metrics, Params, PRNGKey

EvaluateFn = Callable[[Params, PRNGKey], Metrics]
"""`(policy, key) -> metrics`; the key is consumed."""

MOVED = 0.02
"""Metres by which an object counts as moved."""


def summarize_rollout(env: Env, episodes: Rollout) -> dict[str, Array]:
    """Means over episodes.

    `success_rate` is the task's condition at the final step, `ever_success_rate` at any step; an
    episode whose simulation diverged did not succeed. Both are left out where the environment does
    not measure success. The environment's own scores of the final states are `<score>_mean`.
    """
    returns = {"return_mean": episodes.reward.sum(1).mean()}
    for name, score in env.scores.items():
        returns[f"{name}_mean"] = jax.vmap(score)(episodes.final).mean(dtype=jnp.float32)
    if not env.measures_success:
        return returns
    meaningful = ~episodes.final.diverged
    return {
        "success_rate": episodes.final_success.mean(dtype=jnp.float32),
        "ever_success_rate": (episodes.success.any(1) & meaningful).mean(dtype=jnp.float32),
        **returns,
    }


def policy_of(learner: Actor, policy: Params, *, explore: bool) -> PolicyFn:
    """A learner's policy as a function of one environment's state."""
    return lambda state, key: learner.act(policy, state.observation, key, explore=explore).action


def make_evaluate(env: Env, learner: Actor, episodes: int, *, stochastic: bool) -> EvaluateFn:
    """Builds a jitted evaluation of the deterministic policy, and of the stochastic one if wanted.

    Both start from the same resets. Metrics are those of `summarize_rollout`, the stochastic
    policy's as `stochastic/...`.
    """

    @jax.jit
    def evaluate(policy: Params, key: PRNGKey) -> Metrics:
        def run(explore: bool) -> dict[str, Array]:
            act = policy_of(learner, policy, explore=explore)
            return summarize_rollout(env, rollout(env, act, key, episodes))

        metrics = run(False)
        if stochastic:
            metrics |= {f"stochastic/{name}": x for name, x in run(True).items()}
        return metrics

    return evaluate


def interaction_report(env: Env, policy: PolicyFn, key: PRNGKey, episodes: int) -> Metrics:
    """What a policy does to objects before any reinforcement learning.

    Args:
      env: its condition is that any object is grasped, or placed; one that does not observe
        `object_position` `[objects, 3]` has no `interaction_rate`.
      policy: such as a prior's samples, or uniform actions.
      key: consumed.
      episodes: how many.

    Returns:
      What `summarize_rollout` gives, and `interaction_rate`: episodes in which some object moves
      by more than 2 cm. Of an environment whose `info["cells"]` is the side of a grid: `cells_mean`
      and `cells_together`, how many of its cells `position` `[2]` is in, in an episode and in all.
    """

    @jax.jit
    def run(key: PRNGKey) -> Metrics:
        result = rollout(env, policy, key, episodes)
        report = summarize_rollout(env, result)
        if (size := env.info.get("cells")) is not None:
            report |= _coverage(result.observation["position"], size)
        if "object_position" in result.observation:
            position = result.observation["object_position"]
            moved = jnp.linalg.norm(position - position[:, :1], axis=-1) > MOVED
            report["interaction_rate"] = moved.any((1, 2)).mean(dtype=jnp.float32)
        return report

    return run(key)


def _coverage(position: Array, size: int) -> Metrics:
    """Cells that positions `[E, T, 2]` lie in."""
    cell = jnp.floor(position).astype(jnp.int32)
    episode = jnp.arange(len(position))[:, None]
    visited = jnp.zeros((len(position), size, size), bool)
    visited = visited.at[episode, cell[..., 0], cell[..., 1]].set(True)
    return {
        "cells_mean": visited.sum((1, 2)).mean(dtype=jnp.float32),
        "cells_together": visited.any(0).sum(dtype=jnp.float32),
    }
