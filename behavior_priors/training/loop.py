"""Off-policy reinforcement learning: an epoch is one program, and the host sees only epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Generic, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_precision, check_ranges, check_rules
from behavior_priors.config.ranges import INT32, Count, CountOrZero, Range, SideBySide
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.keys import key_shape
from behavior_priors.learner import Learner, LearnerState
from behavior_priors.replay import ReplayState, make_replay
from behavior_priors.system.memory import check_room
from behavior_priors.training.experience import (
    AnyRunState,
    release_envs,
    resume_envs,
    step_envs,
    summarize_episodes,
)
from behavior_priors.training.exploring import ExploreFn
from behavior_priors.types import Array, Env, Metrics, PRNGKey, State, Transition


@dataclass(frozen=True)
class LoopConfig:
    """How experience is made and used.

    Attributes:
      steps: environment steps in all, a multiple of epoch_steps.
      epoch_steps: environment steps between two returns to the host, a multiple of num_envs times
        the steps that an action takes.
      num_envs: environments that step side by side.
      warmup_steps: environment steps with the initial policy before the first update.
      updates_per_step: gradient updates for each environment step; times num_envs and the steps
        that an action takes a whole number.
      batch_size: transitions in an update.
      replay_capacity: transitions remembered; None for all of a run.
    """

    steps: Count = 96_000
    epoch_steps: Count = 1_600
    num_envs: SideBySide = 32
    warmup_steps: CountOrZero = 1_600
    updates_per_step: Annotated[float, Range(above=0, most=10_000)] = 0.25
    batch_size: SideBySide = 256
    replay_capacity: Count | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LoopState:
    """Everything that a run goes on from.

    Attributes:
      learner: the learner's state.
      replay: what it remembers, a ring for each environment.
      envs: the environments' states `[num_envs]`.
      episode_return: `[num_envs]`, of the episodes under way.
      steps: `[]` int32, environment steps taken; an action that stands for several counts as all of
        them, also where the episode's end cut it short.
      key: source of exploration and batches.
    """

    learner: LearnerState
    replay: ReplayState
    envs: State
    episode_return: Array
    steps: Array
    key: PRNGKey


class Loop(NamedTuple, Generic[AnyRunState]):
    """`init` makes a state from a key; `run_epoch` is jitted and consumes the state's buffers.

    `resume` goes on from a state that another process saved, in a run that was to be shorter, too:
    then its replay grows. Environments that live outside of their states begin new episodes.
    `release` gives up the episodes of a state that is not run any more. `environment` is its name.
    """

    init: Callable[[PRNGKey], AnyRunState]
    resume: Callable[[AnyRunState], AnyRunState]
    release: Callable[[AnyRunState], None]
    run_epoch: Callable[[AnyRunState], tuple[AnyRunState, Metrics]]
    environment: str
    updates_per_epoch: int


def make_loop(
    env: Env, learner: Learner, config: LoopConfig, explore: ExploreFn | None = None
) -> Loop[LoopState]:
    """Builds a training loop.

    Metrics of an epoch: the learner's, as `train/...` (means over its updates, NaN where there was
    none), `episode/return` and `episode/success` (means over the episodes that ended, NaN where
    none did; success only where the environment measures it), `episode/count` and
    `episode/diverged`. A diverged step has neither reward nor success.

    Raises:
      UserError: the config does not fit itself, has no room, or JAX's 64-bit mode is on.
    """
    check_precision()
    taken = config.num_envs * env.steps_per_action
    updates = _check(config, taken)
    capacity = config.replay_capacity
    if capacity is None:
        capacity = config.steps // env.steps_per_action
    check_room(
        env,
        {
            "replay_capacity": capacity,
            "num_envs": config.num_envs,
            "batch_size": config.batch_size,
        },
    )
    # the rings together hold at least as many as were asked for
    replay = make_replay(config.num_envs, -(-capacity // config.num_envs))
    every_ring = jnp.arange(config.num_envs)

    def init(key: PRNGKey) -> LoopState:
        learner_key, env_key, key = jax.random.split(key, 3)
        envs = reset_many(env, env_key, config.num_envs)
        return LoopState(
            learner=learner.init(learner_key),
            replay=replay.init(_example_transition(env, learner)),
            envs=envs,
            episode_return=jnp.zeros(config.num_envs),
            steps=jnp.int32(0),
            key=key,
        )

    def interact(state: LoopState, key: PRNGKey) -> tuple[LoopState, Metrics]:
        observation = state.envs.observation
        choice = learner.act(state.learner.policy, observation, key, explore=True)
        if explore is not None:
            explore_key = jax.random.fold_in(key, 1)
            action = explore(choice.action, observation, state.steps, explore_key)
            choice = choice._replace(action=action)
        envs, episode_return, transition, episodes = step_envs(
            env, state.envs, state.episode_return, choice
        )
        one_each = jax.tree.map(lambda x: x[:, None], transition)
        state = replace(
            state,
            replay=replay.insert(state.replay, every_ring, one_each, one_each.valid),
            envs=envs,
            episode_return=episode_return,
            steps=state.steps + taken,
        )
        return state, episodes

    def iterate(state: LoopState, _: None) -> tuple[LoopState, tuple[Array, Metrics, Metrics]]:
        key, act_key, sample_key = jax.random.split(state.key, 3)
        state, episodes = interact(replace(state, key=key), act_key)

        def learn() -> tuple[LearnerState, Metrics]:
            batches = replay.sample(state.replay, sample_key, (updates, config.batch_size))
            learner_state, metrics = jax.lax.scan(learner.update, state.learner, batches)
            return learner_state, jax.tree.map(lambda x: x.mean(axis=0), metrics)

        shapes = jax.eval_shape(learn)[1]
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        is_learning = state.steps > config.warmup_steps
        learner_state, metrics = jax.lax.cond(is_learning, learn, lambda: (state.learner, nothing))
        return replace(state, learner=learner_state), (is_learning, metrics, episodes)

    def run_epoch(state: LoopState) -> tuple[LoopState, Metrics]:
        iterations = config.epoch_steps // taken
        state, (learned, metrics, episodes) = jax.lax.scan(iterate, state, length=iterations)
        times_learned = learned.sum(dtype=jnp.float32)
        total = jax.tree.map(lambda x: x.sum(0), episodes)
        return state, {
            # not a mean over what is a number: that would hide an update that was none
            **{f"train/{name}": x.sum(0) / times_learned for name, x in metrics.items()},
            **summarize_episodes(env, total),
        }

    return Loop(
        init=init,
        resume=lambda state: resume_envs(
            env, replace(state, replay=replay.grow(state.replay)), config.num_envs
        ),
        release=lambda state: release_envs(env, state),
        run_epoch=jax.jit(run_epoch, donate_argnums=0),
        environment=env.name,
        updates_per_epoch=updates * config.epoch_steps // taken,
    )


def _example_transition(env: Env, learner: Learner) -> Transition:
    """A transition of the right shapes, for the buffer."""

    def one(key: PRNGKey) -> Transition:
        state = env.reset(key)
        policy = learner.init(key).policy
        choice = learner.act(policy, state.observation, key, explore=True)
        return step_and_reset(env, state, choice.action)[1]._replace(notes=choice.notes)

    return jax.eval_shape(one, key_shape())


def _check(config: LoopConfig, taken: int) -> int:
    """Updates after each round, which takes so many environment steps."""
    check_ranges(config)
    updates = config.updates_per_step * taken
    capacity = config.replay_capacity
    each = "num_envs" if taken == config.num_envs else f"num_envs * {taken // config.num_envs}"
    total = updates * (config.steps // taken)
    rules = {
        "epoch_steps": (config.epoch_steps % taken == 0, f"a multiple of {each}"),
        "steps": (config.steps % config.epoch_steps == 0, "a multiple of epoch_steps"),
        "replay_capacity": (
            capacity is None or capacity >= config.num_envs,
            "at least num_envs, or none for all of a run",
        ),
        "updates_per_step": (
            # a product such as 0.7 * 10 is not exactly whole
            updates > 0.5 and abs(updates - round(updates)) < 1e-6,
            f"such that times {each} it is a whole number, at least 1",
        ),
    }
    check_rules(config, rules)
    rules = {
        "updates_per_step": (
            total <= INT32,
            f"smaller: there would be {total:.0f} updates in all, and {INT32} can be counted",
        ),
    }
    check_rules(config, rules)
    return round(updates)
