"""Experience of several tasks side by side, under what is believed about each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import advance, begin_many, same_task, step_and_reset
from behavior_priors.errors import UserError
from behavior_priors.keys import key_shape
from behavior_priors.learner import MetaLearner
from behavior_priors.objectives.context import describe
from behavior_priors.types import (
    Array,
    Context,
    Env,
    Metrics,
    Params,
    PRNGKey,
    State,
    Task,
    TaskBelief,
    Tasks,
    Transition,
)


class Lived(NamedTuple):
    """A transition, and the reward of it by which the task may be told."""

    transition: Transition
    context_reward: Array


Carry = tuple[State, Array, Array]
"""States, descriptions and returns under way, `[k]` each."""

LiveFn = Callable[[Params, Task, TaskBelief, PRNGKey], tuple[Lived, Metrics]]
"""`(policy, tasks [k], belief [k], key) -> (lived [k, steps], sums over the episodes of each [k])`,
of as many steps as an episode has; the key is consumed."""


def tasks_of(env: Env) -> Tasks:
    """The environment's tasks.

    Raises:
      UserError: it has but one.
    """
    if env.tasks is None:
        raise UserError(
            f"--env={env.name} is one task; meta-learning needs an environment of many, such as "
            "point/dense"
        )
    return env.tasks


def context_reward(env: Env) -> Callable[[State], Array]:
    """The reward by which a task may be told, and a policy is judged."""
    return tasks_of(env).context_reward or (lambda state: state.reward)


def judged_by_context(env: Env) -> Env:
    """The environment with `context_reward` for its reward."""
    judge = context_reward(env)

    def step(state: State, action: Array) -> State:
        stepped = env.step(state, action)
        return stepped._replace(reward=judge(stepped))

    return env._replace(step=step)


def as_context(lived: Lived, counts: Array) -> Context:
    """Transitions `[..., transitions]` as a context, of which so many count."""
    step = lived.transition
    return Context(
        step.observation, step.action, lived.context_reward, step.next_observation, counts
    )


def make_live(env: Env, learner: MetaLearner) -> LiveFn:
    """Builds what makes experience as long as an episode, exploring, of several tasks side by side.

    One description a task is drawn from its belief, and another one where an episode ends early and
    is followed by the next one of the same task. Sums are over the episodes that ended: `return`,
    by the reward that policies are judged by, and `count`; and over all `steps`: those that
    `diverged`, and what was `wrong` in them `[k, names]`. A diverged step has no reward.
    """
    judge, again = context_reward(env), same_task(env)

    def live(
        policy: Params, tasks: Task, belief: TaskBelief, key: PRNGKey
    ) -> tuple[Lived, Metrics]:
        begin_key, describe_key, scan_key = jax.random.split(key, 3)
        count = len(belief.mean)

        def step(
            carry: Carry, chance: tuple[PRNGKey, Array]
        ) -> tuple[Carry, tuple[Lived, Metrics]]:
            states, description, returns = carry
            act_key, another = chance
            observation = {**states.observation, learner.description: description}
            choice = learner.act(policy, observation, act_key, explore=True)
            states, transition, stepped, wrong = jax.vmap(
                lambda state, action: advance(env, state, action, again)
            )(states, choice.action)
            reward = jnp.where(transition.valid, jax.vmap(judge)(stepped), 0.0)
            over = transition.terminated | transition.truncated
            returns = returns + reward
            episodes = {
                "return": jnp.where(over, returns, 0.0),
                "count": over.astype(jnp.float32),
                "diverged": (~transition.valid).astype(jnp.float32),
                "wrong": wrong.astype(jnp.float32),
                "steps": jnp.ones(count),
            }
            description = jnp.where(over[:, None], another, description)
            returns = jnp.where(over, 0.0, returns)
            return (states, description, returns), (Lived(transition, reward), episodes)

        begin = begin_many(env, tasks, begin_key)
        first = begin, describe(belief, describe_key), jnp.zeros(count)
        # drawn at once: most of what a step costs beside physics is the number of its operations
        keys = jax.vmap(jax.random.split)(jax.random.split(scan_key, env.episode_length))
        others = jax.vmap(lambda key: describe(belief, key))(keys[:, 1])
        last, (lived, episodes) = jax.lax.scan(step, first, (keys[:, 0], others))
        if env.release is not None:
            env.release(last[0])
        lived = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), lived)
        return lived, jax.tree.map(lambda x: x.sum(0), episodes)

    return live


def example_of(env: Env, tasks: Task) -> Lived:
    """An element of the right shapes, for buffers; nothing is computed."""
    family, judge = tasks_of(env), context_reward(env)

    def one(key: PRNGKey) -> Lived:
        state = family.begin(jax.tree.map(lambda x: x[0], tasks), key)
        action = jnp.zeros(env.action_spec.size)
        _, transition, stepped = step_and_reset(env, state, action, same_task(env))
        return Lived(transition, judge(stepped))

    return jax.eval_shape(one, key_shape())
