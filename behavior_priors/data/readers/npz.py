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
from behavior_priors.data.npy import members, read_header
from behavior_priors.data.paths import system_said
from behavior_priors.data.readers.base import UNREADABLE, ReadConfig, Recording, Stream, reading
from behavior_priors.data.readers.kinds import describe_archive
from behavior_priors.data.readers.selection import missing_key
from behavior_priors.data.readers.tables import read_table
from behavior_priors.data.sizes import check_declared
from behavior_priors.errors import UserError


def read(path: Path, config: ReadConfig) -> Recording:
    """Opens a NumPy archive; reads headers and the marks of the ends.

    Raises:
      UserError: the file is no archive, is damaged, or lacks something.
    """
    with reading(path):
        archive = _Archive(path)
    if not archive.rows and not archive.problems:
        raise missing_key(path, "observations", ())
    return read_table(path, "npz", archive, config, ends_task="timeouts" in archive.rows)


class _Archive:
    """The arrays of a `.npz`, decompressed as they are read: `numpy.load` would need all of each.

    Attributes:
      rows: shape and dtype of a row, by key.
      counts: number of rows, by key.
      problems: why an array cannot be read, by key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.counts: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        with zipfile.ZipFile(path) as archive:
            if (seems := describe_archive(archive.namelist())) is not None:
                raise UserError(f"{path}: {seems}")
            for info in members(archive, path, arrays_only=False):
                key = info.filename.removesuffix(".npy")
                try:
                    self._look(archive, info, key)
                except UNREADABLE as error:
                    self.problems[key] = f"it is truncated or damaged ({system_said(error)})"

    def _look(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str) -> None:
        with archive.open(info) as file:
            header = read_header(file)
        if header.dtype.kind in "biufc":
            check_declared(self.path, key, header.shape, header.dtype.itemsize, info.compress_size)
            if info.file_size != header.size + header.data_size:
                raise ValueError(
                    f"{key!r} declares the shape {list(header.shape)} and has "
                    f"{info.file_size - header.size} bytes"
                )
        if header.shape:  # single values are no columns
            self.rows[key] = Row(header.shape[1:], header.dtype)
            self.counts[key] = header.shape[0]

    @contextlib.contextmanager
    def open(self, keys: Iterable[str]) -> Iterator[dict[str, Stream]]:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            files = {key: stack.enter_context(archive.open(f"{key}.npy")) for key in keys}
            yield {key: _stream(file) for key, file in files.items()}


def _stream(file: IO[bytes]) -> Stream:
    """Reads an array from its beginning."""
    shape, is_fortran, dtype, _ = read_header(file)
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
