"""Judges the scripted demonstrator of a tabletop environment, object by object.

    python -m experiments.demonstrator --env=grasp/train --episodes=5120

An episode succeeds when the task's condition holds at its end for the object that the demonstrator
aimed at. By default no noise is added to its actions; `experiments.collect` adds some.
`--policy=controller` judges in its place a few lines that go to the observed grasp point, close and
lift: what success on a held-out object is to be compared with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, Seed, Weight
from behavior_priors.envs.manipulation.scripted import grasp_point_controller
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.evaluation.statistics import Estimate, success_rate
from behavior_priors.keys import named_key
from behavior_priors.programs import entry
from behavior_priors.reports import figures
from behavior_priors.runs.workdir import write_json_atomic
from behavior_priors.types import Array, Env, PRNGKey, State

By = Literal["object", "container"]
PolicyName = Literal["demonstrator", "controller"]

ROUND = 256
"""Episodes that run side by side."""


@dataclass(frozen=True)
class DemonstratorConfig:
    """The program's flags.

    Attributes:
      env: whose demonstrator; a split, such as grasp/train, covers all of its objects.
      engine: physics engine; auto takes the fastest one of this machine.
      episodes: how many, rounded up to rounds of 256.
      policy: demonstrator, or controller, the least that grasps.
      by: what rates are for, object or container.
      noise: standard deviation of what is added to every action dimension.
      seed: of the episodes.
      output: folder for demonstrator.json and demonstrator.png; none for no files.
    """

    env: str = "grasp/train"
    engine: str = "auto"
    episodes: Count = 5_120
    policy: PolicyName = "demonstrator"
    by: By = "object"
    noise: Weight = 0.0
    seed: Seed = 0
    output: str | None = None


def with_controller(env: Env) -> Env:
    """An environment that `grasp_point_controller` demonstrates in.

    Raises:
      UserError: there is nothing to grasp.
    """
    if env.info.get("success") != "grasp":
        raise UserError(f"--policy=controller grasps; {env.name} asks for more: use demonstrator")

    def act(state: State, key: PRNGKey) -> Array:
        del key
        return grasp_point_controller(state.observation, state.simulation.slot)

    return env._replace(demonstrate=act)


def judge(env: Env, episodes: int, seed: int, by: By = "object") -> dict[str, Estimate]:
    """Success rates by the object aimed at or by container, in the order of their names.

    Args:
      env: whose condition is about the object aimed at.
      episodes: how many, rounded up to rounds of 256.
      seed: of the episodes.
      by: what rates are for.
    """
    demonstrator = env.demonstrate
    assert demonstrator is not None

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        episodes = rollout(env, demonstrator, key, ROUND)
        simulation = episodes.final.simulation
        return simulation.scene, simulation.slot, episodes.final_success

    tried: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    key = named_key(seed, "judge")
    for round_number in range(-(-episodes // ROUND)):
        result = jax.device_get(run(jax.random.fold_in(key, round_number)))
        for number, slot, success in zip(*map(np.asarray, result), strict=True):
            layout = env.info["scenes"][number]
            name = layout[slot] if by == "object" else layout[-1].partition(" ")[0]
            tried[name] += 1
            succeeded[name] += int(success)
    return {name: success_rate(succeeded[name], tried[name]) for name in sorted(tried)}


def main() -> None:
    """Prints the table, and writes it where the command line says."""
    config = flags.read(DemonstratorConfig)
    if config.noise and config.policy == "controller":
        raise UserError("--policy=controller has no noise; leave --noise out")
    env = make_env(
        config.env, engine=config.engine, demonstrator_noise=config.noise, any_object=False
    )
    if config.by == "container" and " at " not in env.info["scenes"][0][-1]:
        raise UserError(f"--by=container: {config.env} has no containers; use object")
    if config.policy == "controller":
        env = with_controller(env)
    rates = judge(env, config.episodes, config.seed, config.by)
    for name, rate in rates.items():
        print(f"{name:16s} {rate.value:6.1%}  [{rate.low:.0%}, {rate.high:.0%}]")
    mean = float(np.mean([rate.value for rate in rates.values()]))
    worst = min(rates, key=lambda name: rates[name].value)
    print(
        f"{len(rates)} {config.by}s: mean {mean:.1%}, worst {worst} {rates[worst].value:.1%} "
        f"({-(-config.episodes // ROUND) * ROUND} episodes, noise {config.noise})"
    )
    if config.output is not None:
        folder = Path(config.output)
        write_json_atomic(
            folder / "demonstrator.json", {name: rate._asdict() for name, rate in rates.items()}
        )
        figures.success_bars(
            folder / "demonstrator.png",
            {"scripted": rates},
            title=f"{config.policy.capitalize()} of {config.env}",
        )


if __name__ == "__main__":
    flags.define(DemonstratorConfig)
    entry.run(main)
