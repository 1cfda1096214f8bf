"""Images that are encoded in others' files: JPEG, as Minari stores every one, or PNG, as LeRobot.

Each is the bytes of one file. Nothing else is decoded, and nothing before its own header has said
how large it becomes: a few hundred bytes can mean gigabytes.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from behavior_priors.data.layout import Row

_BEGINNING = b"\xff\xd8\xff"
_END = b"\xff\xd9"
MOST_PIXELS = 2**24
"""Of an image; a black one of so many takes 100 kB, and 50 MB when it is decoded."""

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
    """Shape `[height, width]` or `[height, width, 3]` and dtype of an encoded image, by its header.

    Raises:
      ValueError: it is damaged, or neither JPEG nor PNG.
    """
    with _opened(data) as image:
        return _row(image)


def decode(rows: Sequence[Any], row: Row | None = None) -> np.ndarray:
    """Images `[n, ...]` uint8, of their bytes.

    Args:
      rows: the bytes of each.
      row: what each has to become; None for what the first one does.

    Raises:
      ValueError: one is damaged, or of another size.
    """
    if not len(rows):
        raise ValueError("there is no image")
    decoded = []
    for data in map(bytes, rows):
        with _opened(data) as image:
            row = row or _row(image)
            if _row(image) != row:
                raise ValueError(f"an encoded image is {_row(image)}; others are {row}")
            decoded.append(np.asarray(image))
    return np.stack(decoded)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """An image of which the header only has been read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an encoded image is damaged: {error}") from error


def _row(image: Image.Image) -> Row:
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(
            f"an encoded image has {image.width} by {image.height} pixels; at most {MOST_PIXELS} "
            "are decoded"
        )
    channels = len(image.getbands())
    shape = (image.height, image.width, channels)
    return Row(shape if channels > 1 else shape[:2], np.dtype(np.uint8))
