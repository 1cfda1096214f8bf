"""gymnasium's environments in JAX, against gymnasium's own vector environments.

Ours is what a training loop runs: the adapter's steps and resets in a jitted scan. The peers step
the same environments from a loop in NumPy and keep what they return. All begin each next episode in
the step that ends one, and act alike; before the race the first episode is compared.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from behavior_priors.envs.adapters.gym.env import episode_seed
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Env, State
from benchmarks.harness import BenchmarkError, Plan, Row, largest_difference, race, rate_row

PEERS = ("gymnasium",)
ID = "HalfCheetah-v5"
NUM_ENVS = 16
STEPS = 250
"""Of every environment in one call; a quarter of an episode."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each of gymnasium's ways to step side by side."""
    import gymnasium
    from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

    make = [functools.partial(gymnasium.make, ID)] * NUM_ENVS
    yield _measure(plan, SyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP))
    with warnings.catch_warnings():
        # JAX warns of forks; these processes do not use it
        warnings.filterwarnings("ignore", message=r"os\.fork\(\)", category=RuntimeWarning)
        peer = AsyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP, context="fork")
    yield _measure(plan, peer)


def _measure(plan: Plan, peer: Any) -> Row:
    try:
        env = make_env(f"gym/{ID}")
        reset_key, action_key = jax.random.split(jax.random.key(0))
        keys = jax.random.split(reset_key, NUM_ENVS)
        shape = (STEPS, NUM_ENVS, env.action_spec.size)
        actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)

        ours = _Ours(env, reset_key, actions)
        theirs = _Theirs(peer, [episode_seed(key) for key in keys], actions)
        equal = _compare(ours.run(), theirs.run())
        seconds = race({"ours": lambda: _drop(ours.run), "peer": lambda: _drop(theirs.run)}, plan)
    finally:
        peer.close()
    return rate_row(
        f"gym_vector/{NUM_ENVS} {ID} against {type(peer).__name__}",
        "steps/s",
        (STEPS * NUM_ENVS, seconds["ours"]),
        (STEPS * NUM_ENVS, seconds["peer"]),
        equal=equal,
        packages=("gymnasium", "mujoco"),
    )


class _Ours:
    """Goes on from where the last run ended."""

    def __init__(self, env: Env, key: Any, actions: Any):
        self.states = jax.jit(functools.partial(reset_many, env, count=NUM_ENVS))(key)
        self.actions = actions

        def step(states: State, action: Any) -> tuple[State, Any]:
            states, transition, _ = jax.vmap(functools.partial(step_and_reset, env))(states, action)
            return states, transition

        self.episode = jax.jit(functools.partial(jax.lax.scan, step))

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Observations `[T, N, size]` and rewards `[T, N]`."""
        self.states, transition = self.episode(self.states, self.actions)
        jax.block_until_ready(self.states)
        return (
            np.asarray(transition.next_observation["observation"]),
            np.asarray(transition.reward),
        )


class _Theirs:
    """Likewise."""

    def __init__(self, peer: Any, seeds: list[int], actions: Any):
        self.peer, self.actions = peer, np.asarray(actions)
        peer.reset(seed=seeds)

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Observations `[T, N, size]` and rewards `[T, N]`."""
        size = self.peer.single_observation_space.shape[0]
        observations = np.empty((STEPS, NUM_ENVS, size), np.float32)
        rewards = np.empty((STEPS, NUM_ENVS), np.float32)
        for t, action in enumerate(self.actions):
            observations[t], rewards[t], *_ = self.peer.step(action)
        return observations, rewards


def _compare(ours: Any, theirs: Any) -> str:
    if not np.abs(theirs[0]).max() > 0.1:
        raise BenchmarkError("the environments did not move")
    return largest_difference("observations and rewards", [*ours], [*theirs], tolerance=0.0)


def _drop(run: Callable[[], Any]) -> None:
    run()
