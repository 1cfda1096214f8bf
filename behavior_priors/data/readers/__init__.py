"""Readers of others' files, by the name of their layout.

A reader takes a path and a `ReadConfig` and returns a `Recording`: what is in the file, and a way
to read its episodes some at a time. To add a layout, write such a function and name it here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from behavior_priors.data.names import listed
from behavior_priors.data.paths import check_regular, kind_of
from behavior_priors.data.readers import hdf5, lerobot, maniskill, minari, npz, robomimic
from behavior_priors.data.readers.base import ReadConfig, Recording, Tally, reading
from behavior_priors.data.readers.kinds import describe_file, describe_folder
from behavior_priors.data.readers.selection import Selection
from behavior_priors.errors import UserError

__all__ = ["READERS", "ReadConfig", "Recording", "Selection", "Tally", "open_recording"]

READERS: dict[str, Callable[[Path, ReadConfig], Recording]] = {
    "npz": npz.read,
    "d4rl": hdf5.read_d4rl,
    "robomimic": robomimic.read,
    "minari": minari.read,
    "maniskill": maniskill.read,
    "lerobot": lerobot.read,
}
"""By the name of the layout."""

FOLDERS = ("minari", "lerobot")
"""Layouts that are folders."""

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def open_recording(
    path: str | Path, config: ReadConfig | None = None, format_name: str = "auto"
) -> Recording:
    """Opens a file that another program wrote.

    Args:
      path: the file, or the folder of a Minari dataset.
      config: what is wanted of it.
      format_name: one of `READERS`, or "auto" to look at what is inside.

    Raises:
      UserError: there is no such file, or it is of no known layout, damaged or incomplete.
    """
    path = Path(path)
    if kind_of(path) != "a folder":
        check_regular(path)
        if path.stat().st_size == 0:
            raise UserError(f"{path}: is empty; get it again")
    if format_name == "auto":
        format_name = detect(path)
    elif format_name not in READERS:
        raise UserError(f"format {format_name!r} is unknown; use auto or {', '.join(READERS)}")
    elif path.is_dir() and format_name not in FOLDERS:
        raise UserError(f"{path}: is a folder; a {format_name} recording is a file")
    elif not path.is_dir():
        if format_name == "lerobot":
            raise UserError(f"{path}: is a file; a LeRobot dataset is a folder, give that")
        kind, wanted = _magic(path), _ZIP if format_name == "npz" else _HDF5
        if kind != wanted:
            raise UserError(
                f"{path}: is no {'.npz' if wanted == _ZIP else 'HDF5'} file, or its beginning is "
                f"damaged; --format={format_name} needs one"
            )
    config = config or ReadConfig()
    if config.filter is not None and format_name not in ("robomimic", "lerobot"):
        raise UserError(
            f"--filter is for robomimic's filter keys and LeRobot's tasks; {path} is {format_name}"
        )
    if config.episode_length is not None and format_name not in ("npz", "d4rl"):
        raise UserError(
            f"--episode_length is for tables without marks; the episodes of {path} are known "
            f"({format_name})"
        )
    return READERS[format_name](path, config)


def detect(path: Path) -> str:
    """Finds out the layout of a file by what is inside; its name does not matter.

    Raises:
      UserError: it is none that can be read.
    """
    if kind_of(path) == "a folder":
        if lerobot.is_lerobot(path):
            return "lerobot"
        if minari.find(path) is None:
            raise UserError(f"{path}: {describe_folder(path)}")
        return "minari"
    check_regular(path)
    kind = _magic(path)
    if kind == _ZIP:
        return "npz"
    if kind != _HDF5:
        with reading(path):
            seems = describe_file(path)
        if seems is not None:
            raise UserError(f"{path}: {seems}")
        raise UserError(
            f"{path}: is neither a .npz nor an HDF5 file, or its beginning is damaged; readable "
            f"are {', '.join(READERS)}"
        )
    with reading(path), hdf5.open_file(path) as file:
        if "data" in file and hdf5.numbered(file["data"], "demo_"):
            return "robomimic"
        if hdf5.numbered(file, "episode_"):
            return "minari"
        if hdf5.numbered(file, "traj_"):
            return "maniskill"
        if "actions" in file:
            return "d4rl"
        raise UserError(
            f"{path}: is HDF5 of no known layout; it should hold data/demo_0 (robomimic), "
            "episode_0 (minari), traj_0 (maniskill) or actions (d4rl), but has "
            f"{listed(file)}"
        )


def _magic(path: Path) -> bytes:
    """The bytes that say what kind of file it is."""
    with reading(path), path.open("rb") as file:
        head = file.read(8)
    return _ZIP if head.startswith(_ZIP) else head
