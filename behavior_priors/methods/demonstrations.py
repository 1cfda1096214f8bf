"""Demonstrations of other tasks: where they come from, and how they are collected."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.collect import collect
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.keys import named_generator
from behavior_priors.programs import termination
from behavior_priors.programs.progress import format_seconds
from behavior_priors.types import Env

LONGEST_FOLDER = 80
"""Letters of a folder's name that are taken from an environment's."""


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
    ours, theirs = described(env), described(related)
    for what in (*(f"observation {n!r}" for n in env.observation_spec if n in names), "the action"):
        if ours[what] != theirs.get(what):
            raise UserError(
                f"--{kind}={name} does not go with {env.name}: {what} is {ours[what]} in the task, "
                f"but {theirs.get(what, 'missing')} there"
            )
    return related


def described(env: Env) -> dict[str, str]:
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


def read_all(folders: Sequence[str]) -> list[EpisodeReader]:
    """The datasets that `--data` names.

    Raises:
      UserError: it names none, or something else.
    """
    if not folders:
        raise UserError("--data names no dataset; give a folder, or several with commas")
    return [EpisodeReader(folder) for folder in folders]


def shares(episodes: int, names: Sequence[str]) -> list[int]:
    """The demonstrations of each environment: as many as of the others, or one less."""
    each, more = divmod(episodes, len(names))
    return [each + (number < more) for number in range(len(names))]


def get_all_demonstrations(
    envs: Sequence[Env], folder: Path, episodes: int, seed: int
) -> list[EpisodeReader]:
    """Collects in a folder what several environments demonstrate, a folder in it for each of them.

    Args:
      envs: whose demonstrators act; one alone gets the whole folder.
      folder: for the datasets.
      episodes: of all environments together.
      seed: of everything random. The second environment and those after it have seeds of their own,
        which follow from this one and which their datasets name.
    """
    if len(envs) == 1:
        return [get_demonstrations(envs[0], folder, episodes, seed)]
    readers = []
    for number, (env, share) in enumerate(
        zip(envs, shares(episodes, [env.name for env in envs]), strict=True)
    ):
        own = int(named_generator(seed, f"collect/{number}").integers(2**31)) if number else seed
        place = folder / re.sub(r"[^\w.=-]+", "_", env.name)[:LONGEST_FOLDER]
        readers.append(get_demonstrations(env, place, share, own))
    return readers


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
