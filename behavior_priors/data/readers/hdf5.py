"""HDF5 files of D4RL and robomimic.

D4RL (Fu et al. 2020): one table, `observations`, `actions`, `rewards`, `terminals` (the task ended)
and `timeouts` (the recording ended), perhaps `next_observations` and `infos/`.

robomimic (Mandlekar et al. 2021): a group `data/demo_N` an episode, in it `obs/KEY`, `actions`, and
perhaps `next_obs/KEY`, `rewards`, `dones` and `states`. The last row's `dones` says whether the
task ended there; earlier ones do not divide an episode.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.layout import EpisodeBatch, Row
from behavior_priors.data.paths import check_regular
from behavior_priors.data.readers.base import (
    Batches,
    ReadConfig,
    Recording,
    Tally,
    only_good,
    reading,
)
from behavior_priors.data.readers.hdf5_guard import check_file, register_filters
from behavior_priors.data.readers.rows import Rows, Stream, read_table, to_batch
from behavior_priors.data.readers.selection import (
    Chosen,
    check_action,
    check_lengths,
    check_numbers,
    choose,
    missing_key,
    specs,
)
from behavior_priors.types import UserError


def open_file(path: Path) -> Any:
    """Opens an HDF5 file for reading; whatever it shows lies in it (see `hdf5_guard`).

    Raises:
      UserError: h5py is not installed, or the file is damaged, of another kind, or not to be
        trusted.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{path}: reading HDF5 needs h5py; pip install 'behavior-priors[hdf5]'"
        ) from error
    register_filters()
    check_regular(path)
    with reading(path):
        file = h5py.File(path, "r")
        try:
            check_file(path, file)
        except BaseException:
            file.close()
            raise
        return file


@dataclasses.dataclass(frozen=True)
class Found:
    """An array in a file, which may be closed meanwhile.

    Attributes:
      count: number of rows.
      row: shape and dtype of each.
    """

    count: int
    row: Row


def found_in(group: Any) -> dict[str, Found]:
    """What `arrays_in` gives, without the data."""
    return {key: Found(int(a.shape[0]), row_of(a)) for key, a in arrays_in(group).items()}


def arrays_in(group: Any, prefix: str = "") -> dict[str, Any]:
    """All arrays in a group and its groups, by their path from it."""
    found: dict[str, Any] = {}
    for key in group:
        item = group[key]
        if hasattr(item, "keys"):
            found |= arrays_in(item, f"{prefix}{key}/")
        elif getattr(item, "shape", None):  # single values have no rows
            found[f"{prefix}{key}"] = item
    return found


def row_of(array: Any) -> Row:
    """Shape and dtype of a row."""
    return Row(tuple(array.shape[1:]), array.dtype)


def numbered(group: Any, prefix: str) -> list[str]:
    """Names such as `demo_7` in a group, in the order of their numbers."""
    names = [n for n in group if n.startswith(prefix) and n[len(prefix) :].isdigit()]
    return sorted(names, key=lambda name: int(name[len(prefix) :]))


def read_d4rl(path: Path, config: ReadConfig) -> Recording:
    """Opens a D4RL file; reads shapes and the marks of the ends.

    Raises:
      UserError: the file is damaged or lacks something.
    """
    with reading(path):
        table = _Table(path)
    return read_table(path, "d4rl", table, config, ends_task=True)


class _Table:
    """The arrays of an HDF5 file.

    Attributes:
      rows: shape and dtype of a row, by key.
      counts: number of rows, by key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_file(path) as file:
            arrays = arrays_in(file)
            self.rows = {key: row_of(array) for key, array in arrays.items()}
            self.counts = {key: int(array.shape[0]) for key, array in arrays.items()}

    @contextlib.contextmanager
    def open(self, keys: Iterable[str]) -> Iterator[dict[str, Stream]]:
        with open_file(self._path) as file:
            yield {key: _stream(file[key]) for key in keys}


def _stream(array: Any) -> Stream:
    """Reads an array from its beginning."""
    position = 0

    def read_rows(count: int) -> np.ndarray:
        nonlocal position
        position += count
        return array[position - count : position]

    return read_rows


def read_robomimic(path: Path, config: ReadConfig) -> Recording:
    """Opens a robomimic file; reads the shapes of every demonstration.

    Raises:
      UserError: the file is damaged, demonstrations lack something or differ in their shapes.
    """
    with reading(path), open_file(path) as file:
        if "data" not in file:
            raise missing_key(path, "data", file)
        data = file["data"]
        names = numbered(data, "demo_")
        if not names:
            raise missing_key(path, "data/demo_0", (f"data/{n}" for n in data))
        demos = {name: found_in(data[name]) for name in names}
        environment = _environment(data.attrs.get("env_args"))
    first = demos[names[0]]
    observations = {k.removeprefix("obs/"): a.row for k, a in first.items() if _is_obs(k)}
    if not observations:
        raise missing_key(path, f"data/{names[0]}/obs", (f"data/{names[0]}/{k}" for k in first))
    chosen = choose(path, observations, config.observation, observations)
    if "actions" not in first:
        raise missing_key(path, f"data/{names[0]}/actions", first)
    action_size = check_action(path, "actions", first["actions"].row)
    keys = {c.name: f"obs/{c.key}" for c in chosen}
    following = {c.name: f"next_obs/{c.key}" for c in chosen}
    has = {
        key: all(key in demo for demo in demos.values())
        for key in (*following.values(), "rewards", "dones", "states")
    }
    has_next = all(has[key] for key in following.values())
    state_rows = {demo["states"].row for demo in demos.values() if "states" in demo}
    has["states"] &= len(state_rows) == 1
    has["rewards"] &= config.rewards
    used = ["actions", *keys.values(), *(following.values() if has_next else ())]
    used += [key for key in ("rewards", "dones", "states") if has[key]]
    expected = {key: first[key].row for key in used}
    for name, demo in demos.items():
        _check(path, f"data/{name}", demo, expected)
    notes = [] if has["dones"] else ["there are no 'dones': every episode counts as truncated"]

    def batches(tally: Tally) -> Batches:
        with open_file(path) as file:
            for name in names:
                with reading(path):
                    demo = file["data"][name]
                    read = {key: demo[key][()] for key in used}
                yield from _episode(path, f"data/{name}", read, chosen, config, tally)

    return Recording(
        path=path,
        format="robomimic",
        observation=specs(chosen),
        keys={c.name: f"obs/{c.source}" for c in chosen},
        action_size=action_size,
        has_reward=has["rewards"],
        num_episodes=len(names),
        batches=batches,
        environment=environment,
        notes=notes,
    )


def _check(path: Path, where: str, demo: dict[str, Found], expected: dict[str, Row]) -> None:
    """Every demonstration has the same arrays, and as many rows in each of them."""
    for key, row in expected.items():
        if key not in demo:
            raise missing_key(path, f"{where}/{key}", (f"{where}/{k}" for k in demo))
        check_numbers(path, f"{where}/{key}", demo[key].row.dtype)
        if demo[key].row != row:
            raise UserError(
                f"{path}: rows of '{where}/{key}' are {demo[key].row}; in the demonstrations "
                f"before they are {row}"
            )
    counts = {f"{where}/{key}": demo[key].count for key in expected}
    check_lengths(path, counts, demo["actions"].count, f"'{where}/actions'")


def _episode(
    path: Path,
    where: str,
    read: dict[str, np.ndarray],
    chosen: list[Chosen],
    config: ReadConfig,
    tally: Tally,
) -> Iterator[EpisodeBatch]:
    size = len(read["actions"])
    if size == 0:
        tally.empty_episodes += 1
        return
    terminated = np.zeros(size, bool)
    if "dones" in read:
        terminated[-1] = read["dones"].reshape(size)[-1] != 0
    has_next = any(key.startswith("next_obs/") for key in read)
    rows = Rows(
        observation={c.name: c.take(read[f"obs/{c.key}"]) for c in chosen},
        action=read["actions"],
        stops=np.array([size]),
        terminated=terminated,
        reward=read["rewards"].reshape(size) if "rewards" in read else None,
        next_observation=(
            {c.name: c.take(read[f"next_obs/{c.key}"]) for c in chosen} if has_next else None
        ),
        state={"states": read["states"]} if "states" in read else {},
    )
    batch, kept = to_batch(rows, tally)
    if len(kept):
        keys = {f"observation/{c.name}": f"obs/{c.key}" for c in chosen}
        keys |= {"action": "actions", "reward": "rewards"}
        batch = only_good(path, batch, [where], keys, config, tally)
    if len(batch.length):
        yield batch


def _is_obs(key: str) -> bool:
    return key.startswith("obs/")


def _environment(env_args: Any) -> str | None:
    """The name in robomimic's `env_args`, which is JSON text."""
    try:
        return str(json.loads(env_args)["env_name"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
