"""Images that are encoded as JPEG in others' files, as Minari stores every image.

Each is the bytes of one file. Nothing but JPEG is decoded.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from behavior_priors.data.layout import Row

_BEGINNING = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_LEAST_BYTES = 64
"""A JPEG's tables alone take more."""


def row_in_hdf5(array: Any) -> Row | None:
    """Shape and dtype of each image of an HDF5 array; None if it holds no encoded images.

    Minari stores bytes of images as rows of uint8: of varying length, unless all happen to be of
    equal length.
    """
    import h5py

    if len(array.shape) == 1:
        if h5py.check_vlen_dtype(array.dtype) != np.uint8:
            return None
    elif array.dtype != np.uint8 or len(array.shape) != 2 or array.shape[1] < _LEAST_BYTES:
        return None
    if not array.shape[0] or not is_jpeg(array[0].tobytes()):
        return None
    return row_of(array[0].tobytes())


def is_jpeg(data: bytes) -> bool:
    """Whether bytes are those of a JPEG file."""
    return data.startswith(_BEGINNING) and data.endswith(_END)


def row_of(data: bytes) -> Row:
    """Shape and dtype of an encoded image.

    Raises:
      ValueError: it is damaged.
    """
    image = decode_one(data)
    return Row(image.shape, image.dtype)


def decode(rows: Sequence[Any]) -> np.ndarray:
    """Images `[n, ...]` uint8, of their bytes.

    Raises:
      ValueError: one is damaged, or of another size.
    """
    if not len(rows):
        raise ValueError("there is no image")
    return np.stack([decode_one(bytes(row)) for row in rows])


def decode_one(data: bytes) -> np.ndarray:
    """One image, `[height, width]` or `[height, width, 3]`.

    Raises:
      ValueError: it is damaged, or no JPEG.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an encoded image is damaged: {error}") from error
