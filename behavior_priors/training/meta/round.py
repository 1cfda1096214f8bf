"""A round of experience: stretches of several tasks, side by side where none waits for another."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.learner import MetaLearner
from behavior_priors.replay import Replay, ReplayState, SampleFn
from behavior_priors.training.meta.experience import Lived, as_context, make_live
from behavior_priors.training.meta.schedule import Stretch, Wave, waves_of
from behavior_priors.types import Array, Env, Metrics, Params, PRNGKey, Task


class Memories(NamedTuple):
    """What is kept of the tasks.

    Attributes:
      replay: what is remembered of each, `Lived`.
      context: what may be seen as a context of each, `Lived`.
    """

    replay: ReplayState
    context: ReplayState


RoundFn = Callable[[Params, Memories, Array, PRNGKey, Sequence[Stretch]], tuple[Memories, Metrics]]
"""`(policy, memories, task [k], key, stretches) -> (memories, sums over episodes)`: experience of
training tasks by their numbers, no two the same; the key is consumed."""


def make_round(
    env: Env,
    learner: MetaLearner,
    tasks: Task,
    replay: Replay,
    contexts: Replay,
    draw_context: SampleFn,
    context_size: int,
) -> RoundFn:
    """Builds what makes a round of experience and remembers it.

    Memories hold it as if its stretches had been one after the other. Sums are those of `make_live`
    over all episodes; `kind_count` and `kind_return` `[2]` over those whose description is from the
    prior, and over the others.

    Args:
      env: has tasks.
      learner: of its observations and actions.
      tasks: `[tasks, ...]`, all that there are to train on.
      replay: for what is remembered of each.
      contexts: for what is shown of each.
      draw_context: from the latter.
      context_size: transitions that a belief is from.

    Raises:
      UserError: the environment is one task.
    """
    live, length = make_live(env, learner), env.episode_length

    def remember(
        task: Array, memories: Memories, stretch: tuple[Lived, Array]
    ) -> tuple[Memories, None]:
        lived, shown = stretch
        valid = lived.transition.valid
        return Memories(
            replay.insert(memories.replay, task, lived, valid),
            contexts.insert(memories.context, task, lived, valid & shown),
        ), None

    def side_by_side(
        policy: Params, task: Array, wave: Wave, memories: Memories, key: PRNGKey
    ) -> tuple[Memories, Metrics]:
        context_key, live_key = jax.random.split(key)
        stretches, count = len(wave), len(task)
        every = jnp.tile(task, stretches)
        from_prior = jnp.repeat(jnp.array([x.from_prior for x in wave]), count)
        seen, counts = draw_context(memories.context, context_key, every, context_size)
        # nothing counts where the description is to be from the prior
        belief = learner.infer(policy, as_context(seen, counts & ~from_prior[:, None]))
        chosen = jax.tree.map(lambda x: x[every], tasks)
        lived, episodes = live(policy, chosen, belief, live_key)
        apart = jax.tree.map(lambda x: x.reshape(stretches, count, length, *x.shape[2:]), lived)
        shown = jnp.array([x.as_context for x in wave])
        remember_each = functools.partial(remember, task)
        memories, _ = jax.lax.scan(remember_each, memories, (apart, shown))
        kind = jnp.stack([from_prior, ~from_prior]).astype(jnp.float32)
        sums = {name: x.sum(0) for name, x in episodes.items()}
        return memories, {
            **sums,
            "kind_count": kind @ episodes["count"],
            "kind_return": kind @ episodes["return"],
        }

    def experience(
        policy: Params, memories: Memories, task: Array, key: PRNGKey, stretches: Sequence[Stretch]
    ) -> tuple[Memories, Metrics]:
        total: Metrics | None = None
        # waves of one kind are one loop: a compiled program holds each kind once
        for wave, same in itertools.groupby(waves_of(stretches)):
            key, loop_key = jax.random.split(key)
            keys = jax.random.split(loop_key, len(list(same)))
            go = functools.partial(side_by_side, policy, task, wave)
            memories, sums = jax.lax.scan(go, memories, keys)
            sums = jax.tree.map(lambda x: x.sum(0), sums)
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
        assert total is not None  # a round has at least one stretch
        return memories, total

    return experience
