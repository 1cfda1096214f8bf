"""NumPy archives as OGBench writes them.

Arrays `observations`, `actions` and `terminals` of equal length, of which `terminals` marks each
episode's last row: the row of the last observation, whose action led nowhere that is known. Others
(`rewards`, `masks`, `next_observations`, `qpos`, `qvel`) are used where they are there. With
`timeouts`, `terminals` marks ends of the task, as in D4RL.

Park et al. 2024, "OGBench: Benchmarking Offline Goal-Conditioned RL", and its `load_dataset`.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.readers.base import ReadConfig, Recording, reading
from behavior_priors.data.readers.rows import Stream, read_table
from behavior_priors.data.readers.selection import missing_key
from behavior_priors.types import UserError


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a NumPy archive; reads headers and the marks of the ends.

    Raises:
      UserError: the file is no archive, is damaged, or lacks something.
    """
    with reading(path):
        archive = _Archive(path)
    if not archive.rows:
        raise missing_key(path, "observations", ())
    return read_table(path, "npz", archive, config, ends_task="timeouts" in archive.rows)


class _Archive:
    """The arrays of a `.npz`, decompressed as they are read: `numpy.load` would need all of each.

    Attributes:
      rows: shape and dtype of a row, by key.
      counts: number of rows, by key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.counts: dict[str, int] = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not name.endswith(".npy"):
                    raise UserError(f"{path}: has the member {name!r}; a .npz holds .npy only")
                with archive.open(name) as file:
                    shape, _, dtype = _header(file)
                key = name.removesuffix(".npy")
                if shape:  # single values are no columns
                    self.rows[key] = Row(tuple(shape[1:]), dtype)
                    self.counts[key] = shape[0]

    @contextlib.contextmanager
    def open(self, keys: Iterable[str]) -> Iterator[dict[str, Stream]]:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            files = {key: stack.enter_context(archive.open(f"{key}.npy")) for key in keys}
            yield {key: _stream(file) for key, file in files.items()}


def _stream(file: IO[bytes]) -> Stream:
    """Reads an array from its beginning."""
    shape, is_fortran, dtype = _header(file)
    if is_fortran and len(shape) > 1:
        return _column_major(file, shape, dtype)
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))

    def read_rows(count: int) -> np.ndarray:
        data = file.read(count * row_bytes)
        if len(data) != count * row_bytes:
            raise EOFError(f"an array has {len(data)} bytes where {count * row_bytes} should be")
        return np.frombuffer(data, dtype).reshape(count, *shape[1:])

    return read_rows


def _column_major(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> Stream:
    """Rows of an array that is stored by columns: all of it has to be read first."""
    array = np.frombuffer(file.read(), dtype).reshape(shape, order="F")
    position = 0

    def read_rows(count: int) -> np.ndarray:
        nonlocal position
        position += count
        return array[position - count : position]

    return read_rows


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and dtype; nothing is unpickled."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f".npy version {version} is unknown")
