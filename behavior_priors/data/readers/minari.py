"""Minari datasets (https://minari.farama.org, "Dataset Standards").

In HDF5: a folder with `data/main_data.hdf5`, or that file. A group `episode_N` is an episode, in it
`observations` (an array, or groups of arrays) with one row more than `actions`, `rewards`,
`terminations` and `truncations` have. In Arrow or Parquet: see `minari_arrow`. `metadata.json`
beside the data says which environment they are of.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from behavior_priors.data.paths import check_inside
from behavior_priors.data.readers import minari_arrow
from behavior_priors.data.readers.base import ReadConfig, Recording, reading
from behavior_priors.data.readers.group_reader import read_groups
from behavior_priors.data.readers.groups import GroupLayout
from behavior_priors.data.readers.hdf5 import groups_of, numbered, open_file
from behavior_priors.data.readers.minari_metadata import (
    DATA_FILE,
    action_bounds,
    environment_id,
    observation_space,
    read_metadata,
)
from behavior_priors.data.readers.selection import missing_key
from behavior_priors.errors import UserError

LAYOUT = GroupLayout(
    name="minari",
    observation="observations",
    following=None,
    ended="terminations",
    needs_ended=True,
    success=("infos/success", "infos/is_success"),
)

_PREFIX = "episode_"


def find(path: Path) -> Path | None:
    """What is to be read of a dataset that is given as a folder, if it is one."""
    for folder in (path / "data", path):
        if (folder / DATA_FILE).is_file():
            return folder / DATA_FILE
        if minari_arrow.episodes_in(folder):
            return folder
    return None


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a Minari dataset; reads the shapes of every episode.

    Raises:
      UserError: the file is damaged, episodes lack something or differ in their shapes.
    """
    if path.is_dir():
        place = find(path)
        if place is None:
            raise UserError(
                f"{path}: has neither data/{DATA_FILE} nor Arrow files; give the folder of a "
                "Minari dataset"
            )
        check_inside(path, place)
        path = place
    if path.is_dir():
        said = read_metadata(path / DATA_FILE, {})
        groups = minari_arrow.groups_of(path, observation_space(said))
    else:
        with reading(path), open_file(path) as file:
            names = numbered(file, _PREFIX)
            if not names:
                raise missing_key(path, f"{_PREFIX}0", file)
            said = read_metadata(path, file.attrs)
        groups = groups_of(path, names)
    recording = read_groups(groups, LAYOUT, config, environment=environment_id(said))
    return dataclasses.replace(recording, action_bounds=action_bounds(said, recording.action_size))
