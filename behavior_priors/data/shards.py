"""One shard: a file of named arrays that is written whole or not at all, and read in part.

A shard is an uncompressed `.npz`, so `numpy.load` opens it too. Reading goes through the zip's
directory and the `.npy` headers instead, because that gives shapes without data, one array without
the others, and some rows without the rest.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from behavior_priors.data.npy import UNREADABLE, members, read_header
from behavior_priors.data.paths import check_member, remedy, system_said
from behavior_priors.errors import UserError
from behavior_priors.system import files

TEMPORARY_PREFIX = files.PARTIAL

ADVICE = (
    "free some space, or make it writable, and resume, which experiments.collect does with "
    "--resume; the files written before are intact"
)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file so that, whenever the process dies, `path` is absent, old or whole.

    Raises:
      UserError: the disk is full or refuses the file; `path` is as it was.
    """
    files.write_atomically(path, data, advice=ADVICE, sync=True)


def write_shard(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays; equal arrays in equal order give equal bytes.

    The file is put together in memory, so writing takes as much memory again as the arrays have.

    Raises:
      UserError: the disk is full or refuses the file.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    write_atomically(path, buffer.getbuffer())


class StoredArray(NamedTuple):
    """Where a shard keeps one array.

    Attributes:
      shape: `[rows, ...]`.
      dtype: of its elements.
      order: "C" or "F".
      start: file offset in bytes of its `.npy`, header included.
      stop: file offset of its end.
      header: length of the `.npy` header in bytes.
      checksum: CRC-32 of the bytes from `start` to `stop`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    order: Literal["C", "F"]
    start: int
    stop: int
    header: int
    checksum: int


class Shard:
    """The arrays of one file, known by shape at once and read when asked for.

    Attributes:
      path: the file.
      arrays: what it holds, by name.
    """

    def __init__(self, path: Path) -> None:
        """Reads the directory and the headers.

        Raises:
          UserError: the file is cut off or damaged, no uncompressed `.npz`, no regular file, or a
            link out of its folder.
        """
        self.path = path
        self._verified: set[str] = set()
        check_member(path.parent, path.name)
        try:
            self.arrays = _read_directory(path)
        except UNREADABLE as error:
            reason = system_said(error)
            if (helps := remedy(error)) is not None:
                raise UserError(f"{path}: cannot be read ({reason}); {helps}") from error
            raise UserError(
                f"{path}: is truncated, damaged or no uncompressed .npz ({reason}); restore it "
                "from a copy or collect the data again"
            ) from error

    def read(self, name: str, rows: slice | Sequence[int] | np.ndarray = slice(None)) -> np.ndarray:
        """Returns rows of one array; the first read of an array checks its checksum.

        Raises:
          UserError: the bytes are not those that were written.
        """
        stored = self.arrays[name]
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data = memoryview(mapped)[stored.start : stored.stop]
        if name not in self._verified:
            if zlib.crc32(data) != stored.checksum:
                raise UserError(
                    f"{self.path}: the array {name!r} is damaged (its checksum differs); "
                    "restore the file from a copy or collect the data again"
                )
            self._verified.add(name)
        flat = np.frombuffer(data, stored.dtype, offset=stored.header)
        return np.array(flat.reshape(stored.shape, order=stored.order)[rows])


_LOCAL_HEADER_SIZE = 30
"""Bytes of a zip member's header before its name and extra field, whose lengths end it."""


def _read_directory(path: Path) -> dict[str, StoredArray]:
    arrays = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for info in members(archive, path):
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ValueError(f"its member {info.filename!r} is compressed")
            file.seek(info.header_offset + _LOCAL_HEADER_SIZE - 4)
            lengths = np.frombuffer(file.read(4), "<u2")
            start = info.header_offset + _LOCAL_HEADER_SIZE + int(lengths.sum())
            file.seek(start)
            if start + info.file_size > path.stat().st_size:
                raise ValueError(f"its member {info.filename!r} goes beyond its end")
            header = read_header(file)
            if header.dtype.hasobject or info.file_size != header.size + header.data_size:
                raise ValueError(f"its member {info.filename!r} has not the size it declares")
            arrays[info.filename.removesuffix(".npy")] = StoredArray(
                shape=header.shape,
                dtype=header.dtype,
                order="F" if header.is_fortran else "C",
                start=start,
                stop=start + info.file_size,
                header=header.size,
                checksum=info.CRC,
            )
    return arrays
