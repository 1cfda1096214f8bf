"""Runs the same scripted episodes on two physics engines and says how far they agree.

    python -m experiments.compare_engines --env=grasp/mug --episodes=256 --seed=100

Episodes are paired: both engines start from the same states, and the demonstrator adds no noise.
Their success rates are compared as pairs. Poses are compared over the first control steps, in each
episode for as long as the gripper has come near nothing on either engine: contacts magnify every
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Episodes, Seed
from behavior_priors.envs.base import reset_many
from behavior_priors.envs.manipulation.poses import make_find_poses
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.programs import entry
from behavior_priors.runs.workdir import write_json_atomic
from behavior_priors.types import Env, State

POSE_STEPS = 10
"""Control steps over which poses are compared."""

NEAR = 0.005
"""Metres from which on the gripper counts as touching: contact may come within the next step."""


@dataclass(frozen=True)
class CompareConfig:
    """The program's flags.

    Attributes:
      env: whose demonstrator acts, such as grasp/mug or place/can-in-pan.
      episodes: how many; they run side by side.
      seed: of the episodes.
      engines: two engines, the one to judge last.
      output: JSON file for the figures; none for no file.
    """

    env: str = "grasp/mug"
    episodes: Episodes = 256
    seed: Seed = 100
    engines: tuple[str, ...] = ("c", "mjx")
    output: str | None = None


@dataclass(frozen=True)
class Comparison:
    """How two engines did on the same episodes.

    Attributes:
      success_rate: of each engine.
      difference: of the second's success rate to the first's, in percentage points.
      interval: its 95 % interval, in percentage points.
      both: episodes that succeed on both.
      only_first: episodes that succeed on the first engine only.
      only_second: likewise, on the second.
      neither: episodes that fail on both.
      diverged: diverged episodes of each engine.
      pose_difference: largest distance between a body's places on both engines, millimetres, over
        the first control steps, as long as the gripper touches nothing.
      rotation_difference: likewise, largest angle, degrees.
      pose_steps: control steps of all episodes that these two are about.
    """

    success_rate: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    both: int
    only_first: int
    only_second: int
    neither: int
    diverged: tuple[int, int]
    pose_difference: float
    rotation_difference: float
    pose_steps: int


def compare(first: Env, second: Env, episodes: int, seed: int) -> Comparison:
    """Runs paired scripted episodes.

    Args:
      first: a tabletop environment.
      second: the same one on another engine.
      episodes: how many.
      seed: of the episodes.
    """
    reset_key, act_key = jax.random.split(named_key(seed, "compare"))
    initial = jax.jit(lambda key: reset_many(first, key, episodes))(reset_key)
    results = [_run(env, initial, act_key) for env in (first, second)]
    success = np.stack([result[1] for result in results])
    both = int((success[0] & success[1]).sum())
    only_first = int((success[0] & ~success[1]).sum())
    only_second = int((~success[0] & success[1]).sum())
    difference, low, high = paired_difference(only_first, only_second, episodes)
    apart, turned, steps = _poses_apart(
        first, np.asarray(initial.simulation.scene), [result[0] for result in results]
    )
    return Comparison(
        success_rate=(float(success[0].mean()), float(success[1].mean())),
        difference=100.0 * difference,
        interval=(100.0 * low, 100.0 * high),
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=episodes - both - only_first - only_second,
        diverged=(int(results[0][2].sum()), int(results[1][2].sum())),
        pose_difference=1000.0 * apart,
        rotation_difference=math.degrees(turned),
        pose_steps=steps,
    )


def paired_difference(
    only_first: int, only_second: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Difference between two shares that are of the same trials, and its interval.

    The interval is Wald's with half a trial added to each cell of the table of pairs (Agresti and
    Min, "Simple improved confidence intervals for comparing matched proportions", 2005), which
    keeps a width where all pairs agree.

    Args:
      only_first: trials that succeed in the first way only.
      only_second: likewise, in the second.
      trials: how many there were.
      confidence: how often such an interval holds the true difference.

    Returns:
      The second share less the first, and the interval's ends.
    """
    first, second, count = only_first + 0.5, only_second + 0.5, trials + 2.0
    centre = (second - first) / count
    variance = (first + second - (second - first) ** 2 / count) / count**2
    half_width = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    difference = (only_second - only_first) / trials
    low, high = max(-1.0, centre - half_width), min(1.0, centre + half_width)
    return difference, low, high


def _run(env: Env, initial: State, key: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions `[T, E, nq]`, success at the end `[E]` and divergence `[E]` of scripted episodes.

    A `rollout` keeps observations, from which poses cannot be had back to the last digit.
    """
    assert env.demonstrate is not None
    act: PolicyFn = env.demonstrate

    @jax.jit
    def run(initial: State) -> Any:
        def step(carry: tuple[State, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
            state, diverged = carry
            keys = jax.random.split(key, len(diverged))
            state = jax.vmap(env.step)(state, jax.vmap(act)(state, keys))
            return (state, diverged | state.diverged), state.simulation.physics.qpos

        keys = jax.random.split(key, env.episode_length)
        (final, diverged), qpos = jax.lax.scan(step, (initial, initial.diverged), keys)
        return qpos, final.success & ~diverged, diverged

    qpos, success, diverged = jax.device_get(run(initial))
    return qpos, success, diverged


def _poses_apart(
    env: Env, scenes: np.ndarray, qpos: Sequence[np.ndarray]
) -> tuple[float, float, int]:
    """Largest distance, metres, and angle, radians, between bodies, and over how many steps."""
    finders = {int(n): make_find_poses(env.info["scenes"][n], NEAR) for n in np.unique(scenes)}
    apart = turned = 0.0
    steps = 0
    for episode, number in enumerate(scenes):
        find_poses = finders[int(number)]
        for time in range(min(POSE_STEPS, env.episode_length)):
            one, other = (find_poses(positions[time, episode]) for positions in qpos)
            if one.hand_is_near or other.hand_is_near:
                break
            distance = np.linalg.norm(one.position - other.position, axis=1).max()
            # matrices of rotations that differ by an angle are sqrt(8) sin(angle / 2) apart
            chord = np.linalg.norm(one.rotation - other.rotation, axis=(1, 2)).max() / math.sqrt(
                8.0
            )
            apart = max(apart, float(distance))
            turned = max(turned, 2.0 * math.asin(min(1.0, float(chord))))
            steps += 1
    return apart, turned, steps


def main() -> None:
    """Prints the comparison, and writes it where the command line says."""
    config = flags.read(CompareConfig)
    if len(config.engines) != 2:
        raise UserError(f"--engines={','.join(config.engines)} should be two engines, as in c,mjx")
    if config.env.partition("/")[0] not in ("grasp", "place"):
        raise UserError(f"--env={config.env} has one engine only; use grasp/... or place/...")
    try:
        first, second = (
            make_env(config.env, engine=engine, demonstrator_noise=0.0, any_object=False)
            for engine in config.engines
        )
    except UserError as error:
        raise UserError(str(error).replace("--engine=", "--engines: ")) from error
    result = compare(first, second, config.episodes, config.seed)
    for line in report(config.engines, result):
        print(line)
    if config.output is not None:
        path = Path(config.output)
        write_json_atomic(path, {**asdict(config), **asdict(result)})


def report(engines: Sequence[str], result: Comparison) -> list[str]:
    """The comparison in lines of text."""
    one, other = engines
    (rate, other_rate), (low, high) = result.success_rate, result.interval
    return [
        f"success: {one} {rate:.1%}, {other} {other_rate:.1%}; "
        f"{other} less {one}: {result.difference:+.1f} points [{low:+.1f}, {high:+.1f}]",
        f"episodes: both succeed {result.both}, only {one} {result.only_first}, "
        f"only {other} {result.only_second}, neither {result.neither}",
        f"diverged: {one} {result.diverged[0]}, {other} {result.diverged[1]}",
        f"poses while the gripper touches nothing, first {POSE_STEPS} steps: within "
        f"{result.pose_difference:.3f} mm and {result.rotation_difference:.3f} degrees "
        f"({result.pose_steps} steps)",
    ]


if __name__ == "__main__":
    flags.define(CompareConfig)
    entry.run(main)
