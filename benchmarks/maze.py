"""Steps of the point maze per second, beside its patch and MuJoCo; its demonstrations per second.

Steps are what a training loop runs: a jitted scan of action, step, observation and the reset that
rides on it, in the test maze. The first peer is the same with the patch observed, whose cost the
ratio is. The second is MuJoCo alone: a plain `mujoco.batch.Batch` of the point that D4RL's mazes
have, under the same actions, but without walls, which would slow it down. What is compared with it
is therefore the point's free flight, without walls of ours either.

Demonstrations are episodes in training mazes, a new one each, written to disk by `collect`. The
peer is the rollout alone, so that the ratio is the share of its speed that is left.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.batch import Batch

from behavior_priors.data.collect import COLLECT, collect
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.maze import point
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.keys import named_key
from behavior_priors.types import Env, State
from benchmarks.harness import (
    BenchmarkError,
    Contestant,
    Plan,
    Row,
    largest_difference,
    race,
    rate_row,
)

PEERS = ("mujoco",)

NUM_ENVS = 1024
STEPS = 100
"""Steps of each environment in one call."""

EPISODES = 256

MODEL = f"""
<mujoco>
  <option timestep="{point.TIMESTEP}" gravity="0 0 0" integrator="Euler"/>
  <worldbody>
    <body>
      <geom type="sphere" size="{point.RADIUS}" density="1000" contype="0" conaffinity="0"/>
      <joint name="x" type="slide" axis="1 0 0" damping="{point.DAMPING}"/>
      <joint name="y" type="slide" axis="0 1 0" damping="{point.DAMPING}"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="x" gear="{point.FORCE}" ctrlrange="-1 1" ctrllimited="true"/>
    <motor joint="y" gear="{point.FORCE}" ctrlrange="-1 1" ctrllimited="true"/>
  </actuator>
</mujoco>
"""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields the rows of steps, then that of demonstrations."""
    plain, patched = make_env("maze/test?patch=false"), make_env("maze/test")
    yield from measure_steps(plain, patched, NUM_ENVS, STEPS, plan)
    yield measure_data(make_env("maze/train"), EPISODES, plan)


def measure_steps(plain: Env, patched: Env, num_envs: int, steps: int, plan: Plan) -> Iterator[Row]:
    """Yields a row beside the patch, and one beside MuJoCo."""
    reset_key, action_key = jax.random.split(jax.random.key(0))
    shape = (steps, num_envs, plain.action_spec.size)
    actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)
    envs = {"ours": plain, "patch": patched}
    states = {
        name: jax.jit(functools.partial(reset_many, env, count=num_envs))(reset_key)
        for name, env in envs.items()
    }
    paths = {name: jax.jit(_path(env))(states[name], actions) for name, env in envs.items()}
    same = largest_difference("paths", paths["ours"], paths["patch"], tolerance=0.0)

    batch = Batch(mujoco.MjModel.from_xml_string(MODEL), num_envs)
    host_actions = np.asarray(actions)
    position = np.asarray(states["ours"].simulation.position)
    flown = _fly(batch, position, host_actions)
    free = compare_free(position, actions, flown)

    programs = {name: jax.jit(_steps(env)) for name, env in envs.items()}

    def turn(name: str) -> None:
        jax.block_until_ready(programs[name](states[name], actions))

    def fly() -> None:
        _fly(batch, position, host_actions)

    contestants: dict[str, Contestant] = {name: functools.partial(turn, name) for name in envs}
    contestants["mujoco"] = fly
    seconds = race(contestants, plan)
    work = num_envs * steps
    peers = {
        "patch": (f"maze/{num_envs} beside the same with a patch", same),
        "mujoco": (f"maze/{num_envs} beside MuJoCo without walls", free),
    }
    for peer, (name, equal) in peers.items():
        rates = (work, seconds["ours"]), (work, seconds[peer])
        yield rate_row(name, "steps/s", *rates, equal=equal)


def compare_free(position: np.ndarray, actions: jax.Array, flown: np.ndarray) -> str:
    """Compares the point's path where no walls are, up to where the limit of its speed changes it.

    Args:
      position: where they begin, `[N, 2]`.
      actions: `[T, N, 2]`.
      flown: MuJoCo's path `[T, N, 2]` from there, where no walls are.

    Raises:
      BenchmarkError: they differ, or hardly any of them is free.
    """
    walls, offset = jnp.zeros((128, 128), bool), 44.0

    def fly(carry: tuple[jax.Array, jax.Array], action: jax.Array) -> tuple[Any, Any]:
        moved = jax.vmap(functools.partial(point.move, walls))(carry[0], carry[1], action)
        return moved, moved

    start = (jnp.asarray(position + offset), jnp.zeros_like(position))
    _, (free, velocity) = jax.jit(lambda: jax.lax.scan(fly, start, actions))()
    slow = (np.abs(velocity) < point.MAX_SPEED).all(-1)
    slow = np.logical_and.accumulate(slow, axis=0)[..., None]
    if slow.mean() < 0.5:
        raise BenchmarkError("most of the paths are too fast to compare")
    pair = (np.where(slow, np.asarray(free) - offset, 0.0), np.where(slow, flown, 0.0))
    return largest_difference("free paths", *pair, tolerance=1e-4)


def measure_data(env: Env, episodes: int, plan: Plan) -> Row:
    """The row of demonstrations.

    A collection compiles its program once, so that both have their turns within one: a round of
    the collection, then the same rollout, and the first of each is not counted.
    """
    demonstrator = env.demonstrate
    assert demonstrator is not None
    run = jax.jit(lambda key: rollout(env, demonstrator, key, episodes))
    keys = jax.random.split(jax.random.key(0), plan.rounds + 1)
    ours: list[float] = []
    peer: list[float] = []
    begin = plan.clock()

    def after_round(kept: int, usable: int, tried: int) -> None:
        nonlocal begin
        ours.append(plan.clock() - begin)
        begin = plan.clock()
        jax.block_until_ready(run(keys[len(peer)]))
        peer.append(plan.clock() - begin)
        begin = plan.clock()

    with tempfile.TemporaryDirectory() as folder:
        stored = collect(
            env,
            Path(folder) / "data",
            (plan.rounds + 1) * episodes,
            0,
            round_size=episodes,
            keep_failures=True,
            on_round=after_round,
        ).read_array("action")
    first = jax.device_get(run(jax.random.fold_in(named_key(0, COLLECT), 0)))
    actions = [x[:n] for x, n in zip(first.action, first.length, strict=True)]
    expected = np.concatenate(actions)
    found = stored[: len(expected)]
    equal = largest_difference("a round's actions", found, expected, tolerance=0.0)
    return rate_row(
        f"maze/{episodes} demonstrations on disk beside their rollout alone",
        "episodes/s",
        (episodes, ours[1:]),
        (episodes, peer[1:]),
        equal=equal,
    )


def _steps(env: Env) -> Any:
    """`(states, actions [T, N, 2]) -> (states, transitions [T, N])`, as in a training loop."""

    def step(states: State, action: jax.Array) -> tuple[State, Any]:
        return jax.vmap(functools.partial(step_and_reset, env))(states, action)[:2]

    return functools.partial(jax.lax.scan, step)


def _path(env: Env) -> Any:
    """`(states, actions [T, N, 2]) -> what each step led to [T, N, 5]`, the reward included."""

    def follow(states: State, actions: jax.Array) -> jax.Array:
        made = _steps(env)(states, actions)[1]
        seen = made.next_observation
        reward = made.reward[..., None]
        return jnp.concatenate([seen["position"], seen["velocity"], reward], axis=-1)

    return follow


def _fly(batch: Batch, position: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Where MuJoCo's points are after each step, `[T, N, 2]`, if they begin at rest."""
    qpos, qvel, control = (batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
    qpos[:], qvel[:] = position, 0.0
    path = np.empty(actions.shape)
    for action, where in zip(actions, path, strict=True):
        control[:] = action
        batch.step(nstep=1)
        where[:] = qpos
    return path
