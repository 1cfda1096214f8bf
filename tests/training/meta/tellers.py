"""Tasks and a meta-learner that tell what was done with them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import first_state
from behavior_priors.learner import Choice, MetaLearner
from behavior_priors.types import (
    ActionSpec,
    Array,
    ArraySpec,
    Context,
    Env,
    State,
    TaskBelief,
    Tasks,
    Transition,
)

LENGTH = 4
KNOWN = 100.0
"""The description that `teller` has of a task of which it has seen anything."""


def numbered_tasks(*, ends: bool = False) -> Env:
    """Tasks are numbers, which are observed and paid; the context is paid ten times as much.

    Args:
      ends: odd tasks end after two steps, of the four that an episode has.
    """

    def observe(task: Array, time: Array) -> dict[str, Array]:
        return {"task": task[None], "time": time[None].astype(jnp.float32)}

    def begin(task: Array, key: jax.Array) -> State:
        return first_state(key, observe(task, jnp.int32(0)), task)

    def step(state: State, action: Array) -> State:
        time = state.time + 1
        return state._replace(
            observation=observe(state.simulation, time),
            reward=state.simulation,
            terminated=(state.simulation % 2 == 1) & (time == 2) & ends,
            truncated=time >= LENGTH,
            time=time,
        )

    return Env(
        name="numbered",
        observation_spec={"task": ArraySpec((1,)), "time": ArraySpec((1,))},
        action_spec=ActionSpec(2, None),
        episode_length=LENGTH,
        reset=lambda key: begin(jnp.float32(0), key),
        step=step,
        tasks=Tasks(
            sample=lambda key, count: jnp.arange(count, dtype=jnp.float32),
            begin=begin,
            of=lambda state: state.simulation,
            context_reward=lambda state: 10.0 * state.reward,
        ),
    )


class Count(NamedTuple):
    """Updates made: the learner's whole knowledge."""

    policy: Array
    step: Array


def teller() -> MetaLearner:
    """Its actions are its description and the number of updates it has made.

    Descriptions are `KNOWN` of a task of which anything has been seen. Metrics of an update say
    what it was given: whether context and batch are of the same tasks, `tasks_agree`, each of one,
    `one_task`, or even the same transitions, `is_batch`; the context's `oldest` and `newest` round;
    rewards by the task's number, `shown` by the context and `earned` in the batch; and how many
    steps of the context, or of the batch, follow the one before, `context_follows`,
    `batch_follows`.
    """

    def update(state: Count, context: Context, batch: Transition) -> tuple[Count, Any]:
        task = context.observation["task"][..., 0]
        made = context.action[..., 1]
        same = task.shape == batch.reward.shape and (context.action == batch.action).all()

        def follows(time: Array) -> Array:
            return ((time[:, 1:] - time[:, :-1]) % LENGTH == 1).mean()

        def by_task(reward: Array, task: Array) -> Array:
            return jnp.sum(reward) / jnp.sum(task)

        metrics = {
            "tasks_agree": (task[:, 0] == batch.observation["task"][:, 0, 0]).all(),
            "one_task": (task == task[:, :1]).all(),
            "counting": context.counts.mean(),
            "oldest": made.min(),
            "newest": made.max(),
            "shown": by_task(context.reward, task),
            "earned": by_task(batch.reward, batch.observation["task"]),
            "context_follows": follows(context.observation["time"][..., 0]),
            "batch_follows": follows(batch.observation["time"][..., 0]),
            "is_batch": jnp.asarray(same),
        }
        metrics = {name: jnp.float32(x) for name, x in metrics.items()}
        return Count(state.policy + 1, state.step + 1), metrics

    def infer(_: Array, context: Context) -> TaskBelief:
        seen = context.counts.any(-1)[..., None]
        return TaskBelief(jnp.where(seen, KNOWN, 0.0), jnp.where(seen, 0.0, 1.0))

    def act(policy: Array, observation: Any, key: jax.Array, *, explore: bool) -> Choice:
        made = jnp.broadcast_to(policy, observation["described"].shape)
        return Choice(
            jnp.concatenate([observation["described"], made + 0.5 * (not explore)], axis=-1)
        )

    return MetaLearner(
        init=lambda key: Count(jnp.float32(0), jnp.int32(0)),
        update=update,
        infer=infer,
        act=act,
        description="described",
    )
