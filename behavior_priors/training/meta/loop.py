"""Meta-reinforcement learning: rounds of experience of a few tasks, and updates on all of them.

Rakelly et al. 2019 (PEARL), algorithm 1. Experience is made in stretches as long as an episode, of
several tasks side by side; what is believed about a task is renewed between stretches. An episode
that ends early is followed by another one of the same task.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from behavior_priors.config.checks import check_precision
from behavior_priors.learner import LearnerState, MetaLearner
from behavior_priors.replay import Replay, ReplayState, SampleFn, make_replay
from behavior_priors.system.memory import check_room
from behavior_priors.training.experience import name_wrong
from behavior_priors.training.loop import Loop
from behavior_priors.training.meta.experience import as_context, example_of
from behavior_priors.training.meta.round import Memories, make_round
from behavior_priors.training.meta.schedule import (
    MetaLoopConfig,
    MetaSchedule,
    Stretch,
    check_schedule,
    replay_need,
    stretches_of,
)
from behavior_priors.types import Array, Env, Metrics, PRNGKey, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MetaLoopState:
    """Everything that a run goes on from.

    Attributes:
      learner: the learner's state.
      replay: what is remembered of each training task, `Lived`.
      context: what may be seen as a context of each, `Lived`.
      steps: `[]` int32, environment steps taken of all tasks together.
      key: source of tasks, descriptions, exploration and batches.
    """

    learner: LearnerState
    replay: ReplayState
    context: ReplayState
    steps: Array
    key: PRNGKey


def make_meta_loop(
    env: Env, learner: MetaLearner, config: MetaLoopConfig, tasks: Task
) -> tuple[Loop[MetaLoopState], MetaSchedule]:
    """Builds a loop over training tasks.

    Metrics of an epoch: the learner's, as `train/...`, `episode/return` by the reward that policies
    are judged by, `episode/prior_return` and `episode/posterior_return` of the episodes with either
    kind of description (NaN where there was none), `episode/count` and `episode/diverged`.

    Args:
      env: has `tasks`.
      learner: of its observations and actions.
      config: how experience is made and used.
      tasks: `[tasks, ...]`, those to train on.

    Raises:
      UserError: the config does not fit itself, the environment or the tasks, has no room, or
        JAX's 64-bit mode is on.
    """
    check_precision()
    length = env.episode_length
    count = len(jax.tree.leaves(tasks)[0])
    schedule = check_schedule(config, length, count)
    check_room(
        env,
        {
            "replay_capacity": replay_need(config, count) * count,
            "batch_size": config.batch_size * config.meta_batch,
            "context_size": config.context_size * config.meta_batch,
        },
    )
    stretches = stretches_of(config, length)
    updates = config.updates_per_iteration
    steps_of_an_iteration = schedule.epoch_steps // config.epoch_iterations
    replay = make_replay(count, replay_need(config, count))
    shown = max(config.initial_steps, config.prior_steps + config.posterior_steps)
    contexts = make_replay(count, shown)
    draw_batch = _draw(replay, config.batch_order)
    draw_recent = _draw(contexts, config.context_order)
    draw_from_all = _draw(replay, config.context_order)
    experience = make_round(env, learner, tasks, replay, contexts, draw_recent, config.context_size)

    def init(key: PRNGKey) -> MetaLoopState:
        learner_key, live_key, key = jax.random.split(key, 3)
        example = example_of(env, tasks)
        learner_state = learner.init(learner_key)
        # one after the other: there are many, of many tasks
        every = jnp.arange(count)
        memories, _ = jax.lax.scan(
            lambda memories, key: experience(
                learner_state.policy, memories, every, key, [Stretch(True, True)]
            ),
            Memories(replay.init(example), contexts.init(example)),
            jax.random.split(live_key, config.initial_steps // length),
        )
        return MetaLoopState(
            learner_state, *memories, steps=jnp.int32(count * config.initial_steps), key=key
        )

    def learn(state: MetaLoopState, key: PRNGKey) -> tuple[LearnerState, Metrics]:
        def update(learner_state: LearnerState, key: PRNGKey) -> tuple[LearnerState, Metrics]:
            task_key, batch_key, context_key = jax.random.split(key, 3)
            task = jax.random.randint(task_key, (config.meta_batch,), 0, count)
            batch, there = draw_batch(state.replay, batch_key, task, config.batch_size)
            seen = batch, there
            if config.context == "recent":
                seen = draw_recent(state.context, context_key, task, config.context_size)
            elif config.context == "all":
                seen = draw_from_all(state.replay, context_key, task, config.context_size)
            return learner.update(learner_state, as_context(*seen), batch.transition)

        return jax.lax.scan(update, state.learner, jax.random.split(key, updates))

    def iterate(state: MetaLoopState, _: None) -> tuple[MetaLoopState, tuple[Metrics, Metrics]]:
        key, task_key, live_key, learn_key = jax.random.split(state.key, 4)
        task = jax.random.choice(task_key, count, (config.tasks_per_iteration,), replace=False)
        memories = Memories(state.replay, contexts.clear(state.context, task))
        memories, episodes = experience(state.learner.policy, memories, task, live_key, stretches)
        state = MetaLoopState(
            state.learner, *memories, steps=state.steps + steps_of_an_iteration, key=key
        )
        learner_state, metrics = learn(state, learn_key)
        return replace(state, learner=learner_state), (metrics, episodes)

    def run_epoch(state: MetaLoopState) -> tuple[MetaLoopState, Metrics]:
        state, (metrics, episodes) = jax.lax.scan(iterate, state, length=config.epoch_iterations)
        total = jax.tree.map(lambda x: x.sum(0), episodes)
        of_kind = total["kind_return"] / total["kind_count"]
        return state, {
            **{f"train/{name}": x.mean() for name, x in metrics.items()},
            "episode/return": total["return"] / total["count"],
            "episode/prior_return": of_kind[0],
            "episode/posterior_return": of_kind[1],
            "episode/count": total["count"],
            "episode/diverged": total["diverged"],
            **name_wrong(env, total["wrong"], total["diverged"], total["steps"]),
        }

    loop = Loop(
        init=init,
        resume=lambda state: replace(state, replay=replay.grow(state.replay)),
        release=lambda _: None,
        run_epoch=jax.jit(run_epoch, donate_argnums=0),
        environment=env.name,
        updates_per_epoch=updates * config.epoch_iterations,
    )
    return loop, schedule


def _draw(replay: Replay, order: str) -> SampleFn:
    return replay.sample_of if order == "random" else replay.sample_in_order
