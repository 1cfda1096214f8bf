"""Demonstrations of other tasks: where they come from, and how they are collected."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.collect import collect
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.programs import termination
from behavior_priors.programs.progress import format_seconds
from behavior_priors.types import Env, UserError


def related_env(env: Env, kind: str, name: str | None, engine: str, *seen: Sequence[str]) -> Env:
    """The environment that a flag names, else the one of that kind that goes with the new task.

    Args:
      env: the new task.
      kind: `data_env` or `report_env`, the flag, and a key of `Env.info`.
      name: what the user gave.
      engine: the physics engine.
      seen: for each network that learns or acts there, the observations that it sees; empty for
        all of the task's.

    Raises:
      UserError: no such environment, or what is seen, or the action, is not the task's there.
    """
    name = name or env.info.get(kind)
    if name in (None, env.name):
        return env
    related = make_env(name, flag=kind, engine=engine)
    names = {n for selection in seen for n in (selection or env.observation_spec)}
    ours, theirs = _described(env), _described(related)
    for what in (*(f"observation {n!r}" for n in env.observation_spec if n in names), "the action"):
        if ours[what] != theirs.get(what):
            raise UserError(
                f"--{kind}={name} does not go with {env.name}: {what} is {ours[what]} in the task, "
                f"but {theirs.get(what, 'missing')} there"
            )
    return related


def _described(env: Env) -> dict[str, str]:
    """Shapes and dtypes of what networks take and give, by words for it."""
    observations = {
        f"observation {name!r}": f"{np.dtype(spec.dtype).name}{list(spec.shape)}"
        for name, spec in env.observation_spec.items()
    }
    size, bound = env.action_spec
    limits = "unbounded" if bound is None else f"within +-{bound:g}"
    return {**observations, "the action": f"of {size} dimensions, {limits}"}


def check_demonstrator(env: Env) -> None:
    """Refuses an environment in which nothing demonstrates.

    Raises:
      UserError: it is one.
    """
    if env.demonstrate is None:
        raise UserError(
            f"{env.name} has no demonstrator; give --data=FOLDER, a dataset that "
            "experiments.collect or experiments.convert wrote, or another --data_env"
        )


def get_demonstrations(env: Env, folder: Path, episodes: int, seed: int) -> EpisodeReader:
    """Collects a dataset in a folder, or completes the one that was begun there."""
    began = time.perf_counter()

    def say(kept: int, usable: int, tried: int) -> None:
        seconds = format_seconds(time.perf_counter() - began)
        share = f"{usable / tried:.0%} of {tried} usable"
        print(f"collect  {kept}/{episodes} episodes  {share}  {seconds}", flush=True)
        termination.check()

    with termination.deferred():
        return collect(env, folder, episodes, seed, resume=True, on_round=say)
