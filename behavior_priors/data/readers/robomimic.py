"""HDF5 files of robomimic (Mandlekar et al. 2021).

A group `data/demo_N` is an episode, in it `obs/KEY`, `actions`, and perhaps `next_obs/KEY`,
`rewards`, `dones` and `states`. The last row's `dones` says whether the task ended there; earlier
ones do not divide an episode. `mask/KEY` are filter keys: lists of demonstrations by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.readers.base import UNREADABLE, ReadConfig, Recording, reading
from behavior_priors.data.readers.group_reader import read_groups
from behavior_priors.data.readers.groups import GroupLayout
from behavior_priors.data.readers.hdf5 import groups_of, numbered, open_file
from behavior_priors.data.readers.json_text import as_mapping, text_in
from behavior_priors.data.readers.selection import missing_key
from behavior_priors.errors import UserError

LAYOUT = GroupLayout(
    name="robomimic", observation="obs", following="next_obs", ended="dones", states="states"
)


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a robomimic file; reads the shapes of every demonstration.

    Raises:
      UserError: the file is damaged, demonstrations lack something or differ in their shapes, or
        there is no such filter key.
    """
    notes = []
    with reading(path), open_file(path) as file:
        if "data" not in file:
            raise missing_key(path, "data", file)
        data = file["data"]
        names = numbered(data, "demo_")
        if not names:
            inside = data if hasattr(data, "keys") else ()
            raise missing_key(path, "data/demo_0", (f"data/{n}" for n in inside))
        filters = _filters(file.get("mask"))
        if config.filter is not None:
            names = _filtered(path, file, filters, config.filter, names)
        elif filters:
            notes.append(
                f"all demonstrations are read; --filter takes those of one of the filter keys "
                f"{', '.join(filters)}"
            )
        environment = _environment(data.attrs.get("env_args"))
    groups = groups_of(path, [f"data/{name}" for name in names])
    return read_groups(groups, LAYOUT, config, environment=environment, notes=notes)


def _filters(mask: Any) -> list[str]:
    """The names of the lists in `mask`, which need be neither there nor a group."""
    found = []
    for key in mask if hasattr(mask, "keys") else ():
        with contextlib.suppress(*UNREADABLE):
            if isinstance(key, str) and hasattr(mask[key], "shape"):
                found.append(key)
    return sorted(found)


def _filtered(
    path: Path, file: Any, filters: Sequence[str], wanted: str, names: Sequence[str]
) -> list[str]:
    """The demonstrations of a filter key, in the order of their numbers."""
    if wanted not in filters:
        there = f"it has {', '.join(filters)}" if filters else "it has none"
        raise UserError(f"{path}: has no filter key {wanted!r}; {there}")
    values = np.asarray(file["mask"][wanted][()]).reshape(-1).tolist()
    listed = {x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in values}
    if absent := sorted(listed - set(names)):
        raise UserError(
            f"{path}: the filter key {wanted!r} lists {absent[0]!r} and {len(absent) - 1} others "
            "that are not among its demonstrations; get the file again"
        )
    if not listed:
        raise UserError(f"{path}: the filter key {wanted!r} lists no demonstration; use another")
    return [name for name in names if name in listed]


def _environment(env_args: Any) -> str | None:
    """The name in robomimic's `env_args`, which is JSON text."""
    return text_in(as_mapping(env_args).get("env_name"))
