"""On-policy reinforcement learning, in the image of `training.loop`: an epoch is one program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_precision, check_ranges, check_rules
from behavior_priors.config.ranges import Count, SideBySide
from behavior_priors.envs.base import reset_many
from behavior_priors.learner import LearnerState, OnPolicyLearner
from behavior_priors.system.memory import check_room
from behavior_priors.training.experience import (
    release_envs,
    resume_envs,
    step_envs,
    summarize_episodes,
)
from behavior_priors.training.loop import Loop
from behavior_priors.types import Array, Env, Metrics, PRNGKey, State, Transition


@dataclass(frozen=True)
class OnPolicyConfig:
    """How experience is made and used: round by round, each with the policy of the one before.

    Attributes:
      steps: environment steps in all, a multiple of epoch_steps.
      epoch_steps: environment steps between two returns to the host, a multiple of num_envs times
        unroll_length times the steps that an action takes.
      num_envs: environments that step side by side.
      unroll_length: actions of each environment in a round, which an update follows.
    """

    steps: Count = 96_000
    epoch_steps: Count = 1_600
    num_envs: SideBySide = 32
    unroll_length: SideBySide = 50

    @property
    def warmup_steps(self) -> int:
        """There are none: every round is learned from."""
        return 0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OnPolicyState:
    """Everything that a run goes on from.

    Attributes:
      learner: the learner's state.
      envs: the environments' states `[num_envs]`.
      episode_return: `[num_envs]`, of the episodes under way.
      steps: `[]` int32, environment steps taken, counted as `training.loop` counts them.
      key: source of exploration.
    """

    learner: LearnerState
    envs: State
    episode_return: Array
    steps: Array
    key: PRNGKey


def make_on_policy_loop(
    env: Env, learner: OnPolicyLearner, config: OnPolicyConfig
) -> Loop[OnPolicyState]:
    """Builds a training loop that learns from each round of experience once.

    Metrics of an epoch: the learner's, as `train/...` (means over its rounds), and those of
    `summarize_episodes`.

    Raises:
      UserError: the config does not fit itself or the learner, or JAX's 64-bit mode is on.
    """
    check_precision()
    taken = config.num_envs * env.steps_per_action
    rounds = _check(config, learner, env.steps_per_action)
    check_room(env, {"unroll_length": config.num_envs * config.unroll_length})

    def init(key: PRNGKey) -> OnPolicyState:
        learner_key, env_key, key = jax.random.split(key, 3)
        return OnPolicyState(
            learner=learner.init(learner_key),
            envs=reset_many(env, env_key, config.num_envs),
            episode_return=jnp.zeros(config.num_envs),
            steps=jnp.int32(0),
            key=key,
        )

    def interact(state: OnPolicyState, _: None) -> tuple[OnPolicyState, tuple[Transition, Metrics]]:
        key, act_key = jax.random.split(state.key)
        choice = learner.act(state.learner.policy, state.envs.observation, act_key, explore=True)
        envs, episode_return, transition, episodes = step_envs(
            env, state.envs, state.episode_return, choice
        )
        state = replace(
            state,
            envs=envs,
            episode_return=episode_return,
            steps=state.steps + taken,
            key=key,
        )
        return state, (transition, episodes)

    def iterate(state: OnPolicyState, _: None) -> tuple[OnPolicyState, tuple[Metrics, Metrics]]:
        state, (transitions, episodes) = jax.lax.scan(interact, state, length=config.unroll_length)
        learner_state, metrics = learner.update(state.learner, transitions)
        total = jax.tree.map(lambda x: x.sum(0), episodes)
        return replace(state, learner=learner_state), (metrics, total)

    def run_epoch(state: OnPolicyState) -> tuple[OnPolicyState, Metrics]:
        state, (metrics, episodes) = jax.lax.scan(iterate, state, length=rounds)
        return state, {
            **{f"train/{name}": x.mean(0) for name, x in metrics.items()},
            **summarize_episodes(env, jax.tree.map(lambda x: x.sum(0), episodes)),
        }

    return Loop(
        init=init,
        resume=lambda state: resume_envs(env, state, config.num_envs),
        release=lambda state: release_envs(env, state),
        run_epoch=jax.jit(run_epoch, donate_argnums=0),
        environment=env.name,
        updates_per_epoch=rounds * learner.epochs * learner.minibatches,
    )


def _check(config: OnPolicyConfig, learner: OnPolicyLearner, steps_per_action: int) -> int:
    """Rounds in an epoch."""
    check_ranges(config)
    transitions = config.num_envs * config.unroll_length
    taken = transitions * steps_per_action
    each = "num_envs * unroll_length" + (f" * {steps_per_action}" if steps_per_action > 1 else "")
    parts = learner.minibatches
    check_rules(
        config,
        {
            "epoch_steps": (config.epoch_steps % taken == 0, f"a multiple of {each} = {taken}"),
            "steps": (config.steps % config.epoch_steps == 0, "a multiple of epoch_steps"),
            "unroll_length": (
                transitions % parts == 0,
                f"such that times num_envs it is a multiple of the learner's {parts} minibatches",
            ),
        },
    )
    return config.epoch_steps // taken
