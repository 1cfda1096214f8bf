"""HDF5 files of ManiSkill (Tao et al. 2025; Gu et al. 2023), as its `RecordEpisode` writes them.

A group `traj_N` is an episode, in it `obs` (an array, or groups of arrays) and `env_states` with
one row more than `actions`, `terminated`, `truncated`, `success` and `rewards` have. A file beside
it, of the same name but for its ending `.json`, says which environment it was.
"""

from __future__ import annotations

from pathlib import Path

from behavior_priors.data.readers.base import ReadConfig, Recording, reading
from behavior_priors.data.readers.group_reader import read_groups
from behavior_priors.data.readers.groups import GroupLayout
from behavior_priors.data.readers.hdf5 import groups_of, numbered, open_file
from behavior_priors.data.readers.json_text import as_mapping, read_beside, text_in
from behavior_priors.data.readers.selection import missing_key
from behavior_priors.errors import UserError

LAYOUT = GroupLayout(
    name="maniskill",
    observation="obs",
    following=None,
    ended="terminated",
    success=("success",),
    states="env_states",
    without_observations=(
        "; have ManiSkill replay it with --save-traj and an --obs-mode, or choose from env_states "
        "with --observation"
    ),
)


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a ManiSkill file; reads the shapes of every episode.

    Raises:
      UserError: the file is damaged, episodes lack something or differ in their shapes.
    """
    with reading(path), open_file(path) as file:
        names = numbered(file, "traj_")
        if not names:
            raise missing_key(path, "traj_0", file)
    notes: list[str] = []
    environment = None
    try:
        about = as_mapping(read_beside(path.parent, f"{path.stem}.json").get("env_info"))
        environment = text_in(about.get("env_id"))
    except UserError as error:  # such as a link, which every file in a cache of Hugging Face's is
        notes.append(f"which environment it was is not known: {error}")
    return read_groups(groups_of(path, names), LAYOUT, config, environment=environment, notes=notes)
