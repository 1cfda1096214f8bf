"""Experience of several tasks per second, against a loop of one process with gymnasium and torch.

Ours is a round of `training.meta.loop` without its updates: episodes of five tasks side by side, in
one program, beliefs and both memories included. The peer goes as PEARL's public code does, task by
task and step by step, with a call of the policy for each. Policies and encoders are of the authors'
widths and have the same weights, tasks are the same speeds of a half-cheetah.

Before the race a few steps of each task, from the same states with the same noise, have to lead to
the same actions, observations and rewards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.registry import make_env
from behavior_priors.learner import MetaLearner
from behavior_priors.learners.pearl import PearlState
from behavior_priors.replay import make_replay
from behavior_priors.torso import flatten_observation
from behavior_priors.training.meta.experience import example_of, tasks_of
from behavior_priors.training.meta.round import Memories, make_round
from behavior_priors.training.meta.schedule import MetaLoopConfig, stretches_of
from behavior_priors.types import Env, Metrics, Params, PRNGKey, Task
from benchmarks.harness import Contestant, Plan, Row, largest_difference, race, rate_row
from benchmarks.pearl import arrays, make_drawn, standard_noise
from benchmarks.pearl_configs import Configs, make_configs

PEERS = ("gymnasium", "torch")

ENV = "locomotion/cheetah_velocity"
LOOP = MetaLoopConfig(
    tasks_per_iteration=5,
    initial_steps=1000,
    prior_steps=400,
    posterior_steps=0,
    extra_steps=600,
    context_size=100,
)
"""Of `experiments/flags/pearl/paper_cheetah_velocity.flags`."""

COMPARED = 5
"""Steps, before chaos makes rounding errors grow."""

TOLERANCE = 1e-3

ROUNDS_KEPT = 20
"""That there is room for."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields the one row."""
    yield measure_collection(make_env(ENV, engine="c"), make_configs(), LOOP, plan)


def measure_collection(env: Env, configs: Configs, loop: MetaLoopConfig, plan: Plan) -> Row:
    """The row of a round of experience.

    Raises:
      BenchmarkError: they do not act or move alike.
    """
    learner, state = make_drawn(configs, env.observation_spec, env.action_spec)
    tasks = tasks_of(env).sample(jax.random.key(0), loop.tasks_per_iteration)
    stretches = stretches_of(loop, env.episode_length)
    with collector(env, configs, state) as peer:
        equal = compare(env, learner, state.policy, tasks, peer, explore=True)

        def run_peer() -> None:
            peer.collect(
                np.asarray(tasks).tolist(),
                [x.from_prior for x in stretches],
                [x.as_context for x in stretches],
                loop.context_size,
            )

        ours = _collector(env, learner, loop, state.policy, tasks)
        seconds = race({"ours": ours, "peer": run_peer}, plan)
    work = len(tasks) * len(stretches) * env.episode_length
    return rate_row(
        f"meta_collection/{len(tasks)} tasks against one gymnasium environment and torch",
        "steps/s",
        (work, seconds["ours"]),
        (work, seconds["peer"]),
        equal=equal,
        packages=("gymnasium", "torch"),
    )


@contextlib.contextmanager
def collector(env: Env, configs: Configs, state: PearlState) -> Iterator[Any]:
    """The peer with a learner's weights; on one thread, as a product of one row is not shared."""
    import torch

    from benchmarks.torch_collect import Collector

    scales = (np.broadcast_to(x.scale, x.shape) for x in env.observation_spec.values())
    peer = Collector(configs, arrays(state), np.concatenate(list(scales)), env.episode_length)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield peer
    finally:
        torch.set_num_threads(threads)
        peer.env.close()


def compare(
    env: Env, learner: MetaLearner, policy: Params, tasks: Task, peer: Any, *, explore: bool
) -> str:
    """A few steps of each task: says how equal, or raises `BenchmarkError`.

    Each of them begins in the same state for both, so that rounding errors do not grow.
    """
    import torch

    names = tuple(env.observation_spec)
    step, act = jax.jit(env.step), jax.jit(learner.act, static_argnames="explore")
    ours: list[tuple[Any, Any, Any]] = []
    theirs: list[tuple[Any, Any, Any]] = []
    for task, begin_key in zip(tasks, jax.random.split(jax.random.key(0), len(tasks)), strict=True):
        state = tasks_of(env).begin(task, begin_key)
        for key in jax.random.split(begin_key, COMPARED):
            describe_key, act_key = jax.random.split(key)
            description = jax.random.normal(describe_key, (peer.latent_size,))
            drawn = torch.tensor(standard_noise(act_key, 1, env.action_spec.size)[0])
            noise = drawn if explore else None
            seen = peer.restart(*(np.asarray(x) for x in state.simulation.physics[1:3]))
            action = peer.act(seen, torch.tensor(np.asarray(description)), noise)
            theirs.append((action, *peer.step(action, float(task))))
            observation = {**state.observation, learner.description: description}
            mine = act(policy, observation, act_key, explore=explore).action
            state = step(state, mine)
            flat = flatten_observation(state.observation, env.observation_spec, names)
            ours.append((mine, flat, state.reward))
    return ", ".join(
        largest_difference(what, list(mine), list(other), TOLERANCE)
        for what, mine, other in zip(
            ("actions", "observations", "rewards"),
            zip(*ours, strict=True),
            zip(*theirs, strict=True),
            strict=True,
        )
    )


def _collector(
    env: Env, learner: MetaLearner, loop: MetaLoopConfig, policy: Params, tasks: Task
) -> Contestant:
    """Ours: a round in one program, the memories donated."""
    every, length = jnp.arange(len(tasks)), env.episode_length
    replay = make_replay(len(tasks), ROUNDS_KEPT * loop.initial_steps)
    contexts = make_replay(len(tasks), loop.prior_steps + loop.posterior_steps)
    experience = make_round(
        env, learner, tasks, replay, contexts, contexts.sample_of, loop.context_size
    )

    def collect(memories: Memories, key: PRNGKey) -> tuple[Memories, PRNGKey, Metrics]:
        key, live_key = jax.random.split(key)
        memories = memories._replace(context=contexts.clear(memories.context, every))
        stretches = stretches_of(loop, length)
        memories, episodes = experience(policy, memories, every, live_key, stretches)
        return memories, key, episodes

    example = example_of(env, tasks)
    memories, key = Memories(replay.init(example), contexts.init(example)), jax.random.key(0)
    program = jax.jit(collect, donate_argnums=0)

    def run() -> None:
        nonlocal memories, key
        memories, key, episodes = program(memories, key)
        jax.block_until_ready((memories, episodes))

    return run
