"""An agent as one function of what it sees and what it remembers, without its environment.

In training, environments remember: skills under way, past steps, the reward of a skill. A robot has
no such environment, so a controller has a memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.evaluation.adapt import AdaptConfig, blank_context
from behavior_priors.history import HISTORY, remember
from behavior_priors.keys import key_shape
from behavior_priors.learner import MetaLearner
from behavior_priors.methods.agent import Agent
from behavior_priors.objectives.context import describe
from behavior_priors.types import Array, Context, Env, Observation, Params, State

Memory = dict[str, Any]
"""What a controller remembers: a pytree of arrays."""


@dataclass(frozen=True)
class ControllerConfig:
    """How an agent acts.

    Attributes:
      explore: it draws actions, instead of taking the most likely ones.
      seed: of what is drawn, descriptions of tasks included.
      adapt: how many trajectories of a task are remembered, and how many go by before what they
        told is used; only for an agent that infers its task.
    """

    explore: bool = False
    seed: int = 0
    adapt: AdaptConfig = field(default_factory=AdaptConfig)


class Sense(NamedTuple):
    """What a step tells.

    Attributes:
      observation: of the task's own environment.
      reward: `[]`, of the step before.
      first: `[]` bool, an episode begins here.
      last: `[]` bool, it ends here, and the action will not be taken.
    """

    observation: Observation
    reward: Array
    first: Array
    last: Array


class Controller(NamedTuple):
    """An agent with a memory.

    Attributes:
      init: the memory of one that has seen nothing.
      act: `(policy, memory, sense) -> (action [size], memory)`.
    """

    init: Callable[[], Memory]
    act: Callable[[Params, Memory, Sense], tuple[Array, Memory]]


def make_controller(env: Env, agent: Agent, config: ControllerConfig) -> Controller:
    """An agent that acts step by step, as `rollout` and `make_adapt` have it act.

    Args:
      env: the task's own, of which only what it looks like is used.
      agent: a method put together for it.
      config: how it acts.
    """
    learner = agent.learner
    meta = learner if isinstance(learner, MetaLearner) else None
    draws = config.explore or meta is not None
    spec = env.observation_spec

    def init() -> Memory:
        memory: Memory = {}
        if draws:
            memory["key"] = jax.random.key_data(jax.random.key(config.seed))
        if agent.history is not None:
            memory["past"] = jnp.zeros(agent.env.observation_spec[HISTORY].shape)
        if agent.skills is not None:
            seen = _zeros(agent.env)
            choice = jnp.zeros(agent.skills.choice_size)
            plan = jax.eval_shape(agent.skills.begin, choice, seen)
            memory["plan"] = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), plan)
            memory["left"] = jnp.zeros((), jnp.int32)
        if meta is not None:
            memory |= _nothing_known(agent, meta, config.adapt)
        return memory

    def choose(policy: Params, seen: Observation, memory: Memory, key: Any) -> Array:
        if meta is not None:
            seen = {**seen, meta.description: memory["description"]}
        return learner.act(policy, seen, key, explore=config.explore).action

    def act(policy: Params, memory: Memory, sense: Sense) -> tuple[Array, Memory]:
        memory = dict(memory)
        # unused where nothing is drawn
        act_key = describe_key = jax.random.key(0) if not draws else None
        if draws:
            key = jax.random.wrap_key_data(memory["key"])
            key, act_key, describe_key = jax.random.split(key, 3)
            memory["key"] = jax.random.key_data(key)
        seen = dict(sense.observation)
        if agent.history is not None:
            seen[HISTORY] = memory["past"] = jnp.where(sense.first, 0.0, memory["past"])
        # whether something is to be chosen here
        due = jnp.ones((), bool)
        if agent.skills is not None:
            due = sense.first | (memory["left"] == 0)
        if meta is not None:
            memory = _learn(memory, seen, sense, due)
            memory = jax.lax.cond(
                sense.first,
                lambda m: _believe(meta, policy, m, describe_key, config.adapt),
                lambda m: m,
                memory,
            )
        if agent.skills is None:
            choice = choose(policy, seen, memory, act_key)
            action = _decoded(agent, env, seen, choice)
        else:
            choice, action, memory = _play(agent, policy, memory, seen, due, act_key, choose)
        if meta is not None:
            memory = _note_choice(memory, seen, sense, choice, due)
        if agent.history is not None:
            after = remember(agent.history, spec, env.action_spec)
            memory["past"] = after(memory["past"], seen, action)
        return action, memory

    return Controller(init, act)


def _zeros(env: Env) -> Observation:
    return {name: jnp.zeros(x.shape, x.dtype) for name, x in env.observation_spec.items()}


def _decoded(agent: Agent, env: Env, seen: Observation, choice: Array) -> Array:
    """One choice as an action; a decoder looks at what is observed, and at nothing else."""
    assert agent.decode is not None
    nothing = jnp.zeros(())
    no = jnp.zeros((), bool)
    state = State(
        key=jax.random.key(0),
        observation=seen,
        reward=nothing,
        terminated=no,
        truncated=no,
        diverged=no,
        time=jnp.zeros((), jnp.int32),
        success=no,
        simulation=(),
    )
    return agent.decode(state, choice)


def _play(
    agent: Agent,
    policy: Params,
    memory: Memory,
    seen: Observation,
    due: Array,
    key: Any,
    choose: Callable[[Params, Observation, Memory, Any], Array],
) -> tuple[Array, Array, Memory]:
    """The skill's next action, of a new skill where one is due."""
    skills = agent.skills
    assert skills is not None
    none = jnp.zeros(skills.choice_size)

    def begin() -> tuple[Array, Any, Array]:
        choice = choose(policy, seen, memory, key)
        return choice, skills.begin(choice, seen), jnp.int32(skills.horizon)

    def go_on() -> tuple[Array, Any, Array]:
        return none, memory["plan"], memory["left"]

    choice, plan, left = jax.lax.cond(due, begin, go_on)
    action, plan = skills.advance(plan, seen)
    return choice, action, {**memory, "plan": plan, "left": left - 1}


def _nothing_known(agent: Agent, meta: MetaLearner, config: AdaptConfig) -> Memory:
    """What an agent that infers its task remembers, before the first step of one."""
    context = blank_context(agent.env, (config.trajectories * agent.env.episode_length,))
    size = meta_size(agent, meta)
    return {
        "context": context,
        "known": jnp.zeros((), jnp.int32),
        "trajectory": jnp.zeros((), jnp.int32),
        "description": jnp.zeros(size),
        "began": jnp.zeros((), bool),
        "before": _zeros(agent.env),
        "choice": jnp.zeros(agent.env.action_spec.size),
        "earned": jnp.zeros(()),
    }


def meta_size(agent: Agent, meta: MetaLearner) -> int:
    """Dimensions of the descriptions of tasks."""
    context = blank_context(agent.env, (1,))

    def mean(key: Any) -> Array:
        return meta.infer(meta.init(key).policy, context).mean

    return jax.eval_shape(mean, key_shape()).shape[-1]


def _learn(memory: Memory, seen: Observation, sense: Sense, due: Array) -> Memory:
    """Adds the transition that ends here, if one does, to what is known of the task."""
    earned = memory["earned"] + jnp.where(sense.first, 0.0, sense.reward)
    ends = memory["began"] & ~sense.first & (due | sense.last)
    context: Context = memory["context"]
    size = len(context.counts)
    known = memory["known"]
    new = Context(memory["before"], memory["choice"], earned, seen, jnp.ones((), bool))

    def add(old: Array, x: Array) -> Array:
        # once full, the oldest one goes
        old = jnp.where(known < size, old, jnp.roll(old, -1, axis=0))
        return old.at[jnp.minimum(known, size - 1)].set(x.astype(old.dtype))

    added = jax.tree.map(add, context, new)
    context = jax.tree.map(lambda a, b: jnp.where(ends, a, b), added, context)
    return {
        **memory,
        "context": context,
        "known": jnp.where(ends, jnp.minimum(known + 1, size), known),
        "earned": jnp.where(ends, 0.0, earned),
        "began": memory["began"] & ~sense.last,
    }


def _believe(
    meta: MetaLearner, policy: Params, memory: Memory, key: Any, config: AdaptConfig
) -> Memory:
    """Draws the description of the task for the episode that begins."""
    context: Context = memory["context"]
    uses = memory["trajectory"] >= config.exploration
    belief = meta.infer(policy, context._replace(counts=context.counts & uses))
    return {
        **memory,
        "description": describe(belief, key),
        "trajectory": memory["trajectory"] + 1,
        "earned": jnp.zeros(()),
    }


def _note_choice(
    memory: Memory, seen: Observation, sense: Sense, choice: Array, due: Array
) -> Memory:
    """Keeps what was chosen, and where, until it is known what came of it."""
    noted = {"before": dict(seen), "choice": choice, "began": ~sense.last}
    old = {name: memory[name] for name in noted}
    return {**memory, **jax.tree.map(lambda a, b: jnp.where(due, a, b), noted, old)}
