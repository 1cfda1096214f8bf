"""Archives of arrays, `.npz`, as a stranger may have written them: nothing in one is believed.

NumPy's own functions unpickle, or hand headers to its parsers of dtypes, which execute nothing but
fail in many ways. Here a header is a literal of limited length with a plain dtype, and a member has
the bytes that it declares.
"""

from __future__ import annotations

import ast
import math
import re
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,  # zipfile's, of a damaged byte that names an unknown compression
    RuntimeError,  # zipfile's, of an encrypted member
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and this module raise on damaged archives."""

_MAX_MEMBERS = 10_000
_MAX_HEADER = 10_000
"""Bytes; NumPy's own limit."""

_MAX_LENGTH = 2**62
"""Of an axis."""

_PLAIN = re.compile(r"[<>|=]?[?biufcmMOSUV]\d{0,9}(\[[\w/]{1,9}\])?")
"""Dtypes of one kind, such as `<f4` or `|O`."""

OPAQUE = np.dtype("V1")
"""Stands for records and whatever else is more than a number."""


class Header(NamedTuple):
    """What a `.npy` says about itself.

    Attributes:
      shape: of the array.
      is_fortran: columns come first.
      dtype: of its elements; `OPAQUE` where these are not of one kind.
      size: bytes of the header.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    size: int

    @property
    def data_size(self) -> int:
        """Bytes of the array itself."""
        return self.dtype.itemsize * math.prod(self.shape)


def read_header(file: IO[bytes]) -> Header:
    """Reads a `.npy` up to its data; nothing is unpickled.

    Raises:
      ValueError: it is no `.npy`, or of an unknown version, or says what no array can be.
      EOFError: it is cut off.
    """
    start = _read(file, 8)
    if start[:6] != b"\x93NUMPY":
        raise ValueError("it is no .npy")
    if start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError(f".npy version {start[6]}.{start[7]} is unknown")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(_read(file, width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"its .npy header has {length} bytes; at most {_MAX_HEADER} are read")
    try:
        said = ast.literal_eval(_read(file, length).decode("latin1").strip())
        shape, is_fortran, descr = said["shape"], said["fortran_order"], said["descr"]
        axes = tuple(int(n) for n in shape)
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("its .npy header does not say shape, order and dtype") from error
    if not isinstance(shape, tuple) or not all(0 <= n < _MAX_LENGTH for n in axes):
        raise ValueError("its .npy header says a shape that no array can have")
    return Header(axes, bool(is_fortran), _read_dtype(descr), len(start) + width + length)


def _read(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError("its .npy header is cut off")
    return data


def _read_dtype(descr: object) -> np.dtype:
    if isinstance(descr, list | tuple):
        return OPAQUE
    if not isinstance(descr, str) or not _PLAIN.fullmatch(descr):
        raise ValueError(f"its .npy header says the dtype {str(descr)[:40]!r}, which is none")
    try:
        return np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its .npy header says the dtype {descr!r}, which is none") from error


def members(
    archive: zipfile.ZipFile, path: Path, *, arrays_only: bool = True
) -> list[zipfile.ZipInfo]:
    """The arrays that an archive holds, if they can be what they seem.

    Args:
      archive: open.
      path: its file, for its size.
      arrays_only: refuse an archive that holds something else; it is left out otherwise.

    Raises:
      ValueError: it has too many members, two of one name, or some that overlap, or one that is no
        `.npy`, or compressed as NumPy compresses none.
    """
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise ValueError(f"it has {len(infos)} members; at most {_MAX_MEMBERS} are read")
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise ValueError("its members overlap")
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        if name in seen:
            raise ValueError(f"it has two members {name!r}")
        seen.add(name)
        if not name.endswith(".npy") and arrays_only:
            raise ValueError(f"has the member {name!r}; a .npz holds .npy only")
        if info.flag_bits & 1:
            raise ValueError(f"its member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its member {name!r} is compressed in a way that NumPy does not use")
    return [info for info in infos if info.filename.endswith(".npy")]
