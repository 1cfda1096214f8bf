"""HDF5 files: what is in them, those whose episodes are groups, and D4RL's.

D4RL's (Fu et al. 2020) are one table: `observations`, `actions`, `rewards`, `terminals` (the task
ended) and `timeouts` (the recording ended), perhaps `next_observations` and `infos/`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.paths import check_regular, system_said
from behavior_priors.data.readers import images
from behavior_priors.data.readers.base import UNREADABLE, ReadConfig, Recording, Stream, reading
from behavior_priors.data.readers.groups import Found, Groups, ReadFn
from behavior_priors.data.readers.hdf5_guard import check_file, register_filters
from behavior_priors.data.readers.tables import read_table
from behavior_priors.data.sizes import check_declared
from behavior_priors.errors import UserError


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


def found_in(group: Any, prefix: str = "") -> dict[str, Found]:
    """All arrays in a group and its groups, by their path from it.

    One that cannot be opened, such as a link to nothing, harms only those who ask for it.
    """
    found: dict[str, Found] = {}
    for key in group:
        if not isinstance(key, str):  # bytes that are no text, by which nobody can ask for it
            continue
        name = f"{prefix}{key}"
        try:
            item = group[key]
            if hasattr(item, "keys"):
                found |= found_in(item, f"{name}/")
            elif getattr(item, "shape", None):  # single values have no rows
                found[name] = _found(item)
        except UserError:
            raise
        except UNREADABLE as error:
            found[name] = Found(0, _NOTHING, _reason(group, key, error))
    return found


def _found(array: Any) -> Found:
    """Size and form of an array; of encoded images, those that they become."""
    count = int(array.shape[0])
    if (image := images.row_in_hdf5(array)) is not None:
        path = Path(array.file.filename)
        # of images of varying length, an array's own bytes are only where to find them
        is_fixed = len(array.shape) == 2
        stored = array.id.get_storage_size() if is_fixed else path.stat().st_size
        check_declared(path, array.name, (count, *image.shape), 1, stored)
        return Found(count, image, is_jpeg=True)
    return Found(count, Row(tuple(array.shape[1:]), array.dtype))


def _reason(group: Any, key: str, error: BaseException) -> str:
    link = group.get(key, getlink=True)
    if target := getattr(link, "path", ""):
        return f"it is a link to {target!r}, which is not there"
    return system_said(error)


def groups_of(path: Path, labels: Sequence[str]) -> Groups:
    """Episodes that are groups of a file, by their paths in it.

    Raises:
      UserError: the file is damaged.
    """

    @contextlib.contextmanager
    def open_groups() -> Iterator[ReadFn]:
        def read(label: str, key: str, rows: slice) -> np.ndarray:
            with reading(path):
                return _rows(file[label][key], rows)

        with open_file(path) as file:
            yield read

    with reading(path), open_file(path) as file:
        episodes = {label: found_in(_group(path, file, label)) for label in labels}
    return Groups(path, episodes, open_groups)


def _group(path: Path, file: Any, label: str) -> Any:
    try:
        group = file[label]
    except UNREADABLE as error:
        why = _reason(file, label, error)
        raise UserError(f"{path}: {label!r} cannot be read: {why}; get the file again") from error
    if not hasattr(group, "keys"):
        raise UserError(f"{path}: {label!r} is an array; it should be a group with an episode's")
    return group


def _rows(array: Any, rows: slice) -> np.ndarray:
    image = images.row_in_hdf5(array)
    return array[rows] if image is None else images.decode(array[rows], image)


def numbered(group: Any, prefix: str) -> list[str]:
    """Names such as `demo_7` in a group, in the order of their numbers; none in an array."""
    if not hasattr(group, "keys"):
        return []
    pattern = re.compile(re.escape(prefix) + r"[0-9]{1,18}")
    names = [name for name in group if isinstance(name, str) and pattern.fullmatch(name)]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


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
      problems: why an array cannot be read, by key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_file(path) as file:
            arrays = found_in(file)
        self.rows = {key: found.row for key, found in arrays.items() if not found.problem}
        self.counts = {key: arrays[key].count for key in self.rows}
        self.problems = {key: found.problem for key, found in arrays.items() if found.problem}

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
        return _rows(array, slice(position - count, position))

    return read_rows


_NOTHING = Row((), np.dtype(np.float32))
"""Of an array that cannot be opened."""
