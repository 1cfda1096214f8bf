"""Adaptation to new tasks, and how good a meta-learner is at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_ranges, check_rules
from behavior_priors.config.ranges import CountOrZero, Episodes, Few
from behavior_priors.envs.base import begin_many
from behavior_priors.envs.rollout import PolicyFn, Rollout, rollout_from
from behavior_priors.evaluation.evaluate import EvaluateFn
from behavior_priors.learner import MetaLearner
from behavior_priors.objectives.context import describe
from behavior_priors.training.meta.experience import judged_by_context
from behavior_priors.types import Array, Context, Env, Metrics, Params, PRNGKey, State, Task


@dataclass(frozen=True)
class AdaptConfig:
    """How a new task is met: a trajectory is an episode, with one description.

    Attributes:
      trajectories: of each task; the last one is what counts.
      exploration: of them, the first ones, with descriptions from N(0, I); from then on they are
        from what all trajectories before have shown.
      repeats: times that each task is met anew.
    """

    trajectories: Few = 3
    exploration: CountOrZero = 2
    repeats: Episodes = 1


class Adaptation(NamedTuple):
    """What a meta-learner did in new tasks.

    Attributes:
      returns: `[tasks, repeats, trajectories]`, by the reward that policies are judged by.
      episodes: the same trajectories `[trajectories, tasks * repeats, ...]`.
    """

    returns: Array
    episodes: Rollout


AdaptFn = Callable[[Params, Task, PRNGKey], Adaptation]
"""`(policy, tasks [tasks, ...], key) -> adaptation`; the key is consumed."""


def make_adapt(env: Env, learner: MetaLearner, config: AdaptConfig) -> AdaptFn:
    """Builds adaptation to any number of tasks at once, with a deterministic policy.

    Descriptions are drawn, one for each trajectory, as Rakelly et al. do it.

    Raises:
      UserError: the config does not make sense, or the environment is one task.
    """
    _check(config)
    judged, length = judged_by_context(env), env.episode_length

    def adapt(policy: Params, tasks: Task, key: PRNGKey) -> Adaptation:
        count = len(jax.tree.leaves(tasks)[0])
        size = count * config.repeats
        met = jax.tree.map(lambda x: jnp.repeat(x, config.repeats, axis=0), tasks)

        def trajectory(context: Context, x: tuple[Array, PRNGKey]) -> tuple[Context, Rollout]:
            number, key = x
            begin_key, describe_key, act_key = jax.random.split(key, 3)
            belief = jax.lax.cond(
                number < config.exploration,
                lambda: learner.infer(policy, jax.tree.map(lambda x: x[:, :1], nothing)),
                lambda: learner.infer(policy, context),
            )
            description = describe(belief, describe_key)

            def act(states: State, key: PRNGKey) -> Array:
                observation = {**states.observation, learner.description: description}
                return learner.act(policy, observation, key, explore=False).action

            initial = begin_many(env, met, begin_key)
            episodes = rollout_from(judged, initial, act, jax.random.split(act_key, length))
            context = jax.tree.map(
                lambda seen, new: jax.lax.dynamic_update_slice_in_dim(
                    seen, new, number * length, axis=1
                ),
                context,
                episodes_as_context(env, episodes),
            )
            return context, episodes

        xs = jnp.arange(config.trajectories), jax.random.split(key, config.trajectories)
        nothing = blank_context(env, (size, config.trajectories * length))
        _, episodes = jax.lax.scan(trajectory, nothing, xs)
        returns = episodes.reward.sum(-1).T.reshape(count, config.repeats, config.trajectories)
        return Adaptation(returns, episodes)

    return adapt


def make_meta_evaluate(
    env: Env, learner: MetaLearner, tasks: Task, config: AdaptConfig
) -> EvaluateFn:
    """Builds a jitted evaluation of adaptation to given tasks.

    Metrics are means over tasks and repeats: `return_mean` of the last trajectory,
    `first_return_mean` of the first one, and `online/return_NN` of each, from 01 on.
    """
    adapt = make_adapt(env, learner, config)

    @jax.jit
    def evaluate(policy: Params, key: PRNGKey) -> Metrics:
        returns = adapt(policy, tasks, key).returns.mean((0, 1))
        return {
            "return_mean": returns[-1],
            "first_return_mean": returns[0],
            **{f"online/return_{i + 1:02d}": returns[i] for i in range(config.trajectories)},
        }

    return evaluate


def policy_returns(env: Env, policy: PolicyFn, tasks: Task, repeats: int, key: PRNGKey) -> Array:
    """Returns `[tasks, repeats]` of a policy that may know the task, such as an oracle.

    Args:
      env: has tasks.
      policy: of one environment.
      tasks: `[tasks, ...]`.
      repeats: episodes of each.
      key: consumed.
    """
    begin_key, act_key = jax.random.split(key)
    met = jax.tree.map(lambda x: jnp.repeat(x, repeats, axis=0), tasks)
    size = len(jax.tree.leaves(met)[0])
    initial = begin_many(env, met, begin_key)

    def act(states: State, key: PRNGKey) -> Array:
        return jax.vmap(policy)(states, jax.random.split(key, size))

    keys = jax.random.split(act_key, env.episode_length)
    return (
        rollout_from(judged_by_context(env), initial, act, keys).reward.sum(1).reshape(-1, repeats)
    )


def blank_context(env: Env, shape: tuple[int, ...]) -> Context:
    """A context `[*shape]` in which nothing counts."""
    observation = {
        name: jnp.zeros((*shape, *spec.shape), spec.dtype)
        for name, spec in env.observation_spec.items()
    }
    return Context(
        observation=observation,
        action=jnp.zeros((*shape, env.action_spec.size)),
        reward=jnp.zeros(shape),
        next_observation=observation,
        counts=jnp.zeros(shape, bool),
    )


def episodes_as_context(env: Env, episodes: Rollout) -> Context:
    """Episodes `[E]`, judged by what a context shows, as contexts `[E, T]` of what is observed."""
    observed = {name: episodes.observation[name] for name in env.observation_spec}
    steps = jnp.arange(episodes.reward.shape[1])
    # the step in which a simulation diverged has no meaning
    known = episodes.length - episodes.final.diverged
    return Context(
        observation={name: x[:, :-1] for name, x in observed.items()},
        action=episodes.action,
        reward=episodes.reward,
        next_observation={name: x[:, 1:] for name, x in observed.items()},
        counts=jax.vmap(lambda length: steps < length)(known),
    )


def _check(config: AdaptConfig) -> None:
    """Refuses values outside their range."""
    check_ranges(config)
    is_kept = config.exploration < config.trajectories
    most = f"at most {config.trajectories - 1}, one less than the trajectories"
    check_rules(config, {"exploration": (is_kept, most)})
