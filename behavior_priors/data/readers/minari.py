"""Minari datasets in HDF5 (https://minari.farama.org, "Dataset Standards").

A folder with `data/main_data.hdf5`, or that file. A group `episode_N` is an episode, in it
`observations` (an array, or groups of arrays) with one row more than `actions`, `rewards`,
`terminations` and `truncations` have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.layout import EpisodeBatch, Row
from behavior_priors.data.paths import check_inside
from behavior_priors.data.readers.base import (
    Batches,
    ReadConfig,
    Recording,
    Tally,
    only_good,
    reading,
)
from behavior_priors.data.readers.hdf5 import Found, found_in, numbered, open_file
from behavior_priors.data.readers.minari_metadata import (
    action_bounds,
    environment_id,
    read_metadata,
)
from behavior_priors.data.readers.selection import (
    as_float32,
    check_action,
    check_lengths,
    check_numbers,
    choose,
    missing_key,
    specs,
)
from behavior_priors.types import UserError

_FILE = "main_data.hdf5"
_PREFIX = "episode_"


def find(path: Path) -> Path | None:
    """The file of a dataset that is given as a folder, if it is one."""
    places = (path / "data" / _FILE, path / _FILE)
    return next((place for place in places if place.is_file()), None)


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a Minari dataset; reads the shapes of every episode.

    Raises:
      UserError: the file is damaged, episodes lack something or differ in their shapes.
    """
    if path.is_dir():
        place = find(path)
        if place is None:
            raise UserError(f"{path}: has no data/{_FILE}; give the folder of a Minari dataset")
        check_inside(path, place)
        path = place
    with reading(path), open_file(path) as file:
        names = numbered(file, _PREFIX)
        if not names:
            raise missing_key(path, f"{_PREFIX}0", file)
        episodes = {name: found_in(file[name]) for name in names}
        said = read_metadata(path, file.attrs)
    first = episodes[names[0]]
    observations = {_short(k): a.row for k, a in first.items() if _is_observation(k)}
    if not observations:
        raise missing_key(path, f"{names[0]}/observations", (f"{names[0]}/{k}" for k in first))
    chosen = choose(path, observations, config.observation, observations)
    if "actions" not in first:
        raise missing_key(path, f"{names[0]}/actions", first)
    action_size = check_action(path, "actions", first["actions"].row)
    long = {_short(key): key for key in first if _is_observation(key)}
    keys = {f"observation/{c.name}": long[c.key] for c in chosen}
    keys |= {"action": "actions", "reward": "rewards"}
    has_reward = config.rewards and all("rewards" in e for e in episodes.values())
    per_step = ["actions", "terminations"] + (["rewards"] if has_reward else [])
    used = (*per_step, *(long[c.key] for c in chosen))
    expected = {key: first[key].row for key in used if key in first}
    for name, episode in episodes.items():
        _check(path, name, episode, expected, per_step)

    def batches(tally: Tally) -> Batches:
        with open_file(path) as file:
            for name in names:
                yield from episode_in(file, name, tally)

    def episode_in(file: Any, name: str, tally: Tally) -> Batches:
        size = episodes[name]["actions"].count
        if size == 0:
            tally.empty_episodes += 1
            return
        with reading(path):
            arrays = {key: file[name][key][()] for key in expected}
        batch = EpisodeBatch(
            observation={c.name: c.take(arrays[long[c.key]]) for c in chosen},
            action=as_float32(arrays["actions"]).reshape(size, -1),
            length=np.array([size], np.int32),
            reward=as_float32(arrays["rewards"]).reshape(size) if has_reward else None,
            terminated=arrays["terminations"].reshape(size)[-1:] != 0,
        )
        batch = only_good(path, batch, [name], keys, config, tally)
        if len(batch.length):
            yield batch

    return Recording(
        path=path,
        format="minari",
        observation=specs(chosen),
        keys={c.name: long[c.key] + c.source.removeprefix(c.key) for c in chosen},
        action_size=action_size,
        has_reward=has_reward,
        num_episodes=len(names),
        batches=batches,
        environment=environment_id(said),
        action_bounds=action_bounds(said, action_size),
    )


def _check(
    path: Path, name: str, episode: dict[str, Found], expected: dict[str, Row], per_step: list[str]
) -> None:
    """Every episode has the same arrays, and one observation more than it has actions."""
    for key in {*expected, *per_step}:
        if key not in episode:
            raise missing_key(path, f"{name}/{key}", (f"{name}/{k}" for k in episode))
        check_numbers(path, f"{name}/{key}", episode[key].row.dtype)
        if episode[key].row != expected[key]:
            raise UserError(
                f"{path}: rows of '{name}/{key}' are {episode[key].row}; in the episodes "
                f"before they are {expected[key]}"
            )
    size = episode["actions"].count
    steps = {f"{name}/{key}": episode[key].count for key in per_step}
    check_lengths(path, steps, size, f"'{name}/actions'")
    rows = {f"{name}/{key}": episode[key].count for key in expected if key not in per_step}
    check_lengths(path, rows, size + 1, f"'{name}/actions' with its {size} rows")


def _is_observation(key: str) -> bool:
    return key.split("/")[0] == "observations"


def _short(key: str) -> str:
    """The key from `observations/` on; the array itself keeps its name."""
    return key.removeprefix("observations/")
