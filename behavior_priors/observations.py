"""How arrays of others become observations: one rule for environments and for files.

Names, dtypes and images, in three functions. An image is uint8 or float32, channels last
`[height, width, channels]`; all other numbers are float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.errors import UserError

UNNAMED = "observation"
"""An array that has no name."""

NUMBERS = "numbers"
"""In the place of axes: the array is no image, whatever it looks like."""

LEAST_SIDE = 8
"""Pixels of a grey image `[height, width]` of uint8; a smaller matrix stays what it is."""

LEAST_FLOAT_SIDE = 16
"""Pixels of an image that is not of uint8; smaller arrays hold numbers, such as rotations."""


class Arrangement(NamedTuple):
    """What an array of another library's is stored as.

    Attributes:
      shape: that it gets, `[height, width, channels]` if it is an image.
      dtype: that it gets.
      axes: its own axes in the order in which they are wanted: height, width, then frames and
        channels, which become one; for numbers their own order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[int, ...]

    @property
    def is_trivial(self) -> bool:
        """Whether only the dtype may change."""
        return self.axes == tuple(range(len(self.axes))) and len(self.axes) == len(self.shape)

    def apply(self, array: Any) -> Any:
        """An array `[..., *its shape]` of NumPy's or JAX's as `[..., *shape]`."""
        if not self.is_trivial:
            lead = array.ndim - len(self.axes)
            order = (*range(lead), *(lead + axis for axis in self.axes))
            array = array.transpose(order).reshape(*array.shape[:lead], *self.shape)
        return array if array.dtype == self.dtype else array.astype(self.dtype)


def name_of(path: Sequence[str]) -> str:
    """The name of an array under nested keys: the keys joined by dots.

    The element of a tuple is called by its number, which Minari writes as `_index_0`. A slash in a
    key is a dot too, and whatever could not stand in a flag, such as a comma or a space, is `_`.
    """
    parts = (re.sub(r"^_index_(\d+)$", r"\1", str(key)).replace("/", ".") for key in path)
    return re.sub(r"[^\w.\-]", "_", ".".join(parts).strip(".")) or UNNAMED


def is_image(shape: Sequence[int], dtype: Any) -> bool:
    """Whether networks see an array `shape` as an image, in an environment of this library."""
    if len(shape) != 3:
        return False
    return np.dtype(dtype) == np.uint8 or (
        np.issubdtype(dtype, np.floating) and min(shape[:2]) >= LEAST_FLOAT_SIDE
    )


def arrange(shape: Sequence[int], dtype: Any, name: str, axes: str | None = None) -> Arrangement:
    """Decides what an array of another library's is, and how it is stored.

    Images are arrays of uint8 with three axes or more, or with two of 8 pixels at least; and other
    numbers with three axes or more, two of them at least 16 pixels long. Of three axes, the first
    or the last one holds the channels (or grey frames), if it is shorter than both others; of four,
    the first one holds frames, if it is shorter than both sides. Frames become channels:
    `(4, 64, 64, 3)` is `(64, 64, 12)`, the first frame's channels first. Everything else are
    numbers, and become float32, except for small matrices of uint8, which stay that.

    Args:
      shape: of one element, without the axis of rows.
      dtype: that it has.
      name: of the array and what it is of, for messages.
      axes: what the user says that the axes are of arrays with so many of them: a letter each, `h`,
        `w`, `c` and `f` for frames, such as `fhwc`; or `numbers`, for every array that looks like
        an image; None for the rule above.

    Raises:
      UserError: it looks like an image, but it is unclear which axes are which; or it cannot be one
        with the axes given.
    """
    shape, dtype = tuple(int(n) for n in shape), np.dtype(dtype)
    own = tuple(range(len(shape)))
    numbers = Arrangement(shape, np.dtype(np.float32), own)
    if axes is not None and axes != NUMBERS:
        check_axes(axes)
        if len(axes) == len(shape):
            return _image(shape, dtype, axes, name)
    if not _looks_like_image(shape, dtype):
        is_patch = dtype == np.uint8 and len(shape) > 1
        return numbers._replace(dtype=dtype) if is_patch else numbers
    if axes == NUMBERS:
        return numbers._replace(shape=(math.prod(shape),))
    if (found := _recognise(shape)) is None:
        raise UserError(
            f"{name} has the shape {shape} and looks like an image, but not which axes are its "
            "height, width and channels; say so with image_axes=hwc, chw, fhwc, fchw, hwcf (f: "
            "frames), or image_axes=numbers if it is none"
        )
    return _image(shape, dtype, found, name)


def check_axes(axes: str) -> None:
    """Refuses what cannot be the axes of images.

    Raises:
      UserError: not one letter for each, or no height or width.
    """
    if axes != NUMBERS and not (
        set("hw") <= set(axes) <= set("hwcf") and len(set(axes)) == len(axes)
    ):
        raise UserError(
            f"image_axes={axes} should be one letter for each axis: h, w, c, and f for frames, "
            f"such as hwc, chw or fhwc; or {NUMBERS}"
        )


def _looks_like_image(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    if 0 in shape:
        return False
    if dtype == np.uint8:
        return len(shape) > 2 or (len(shape) == 2 and min(shape) >= LEAST_SIDE)
    return len(shape) > 2 and sorted(shape)[-2] >= LEAST_FLOAT_SIDE


def _recognise(shape: tuple[int, ...]) -> str | None:
    """The axes of an image, if its shape tells."""
    if len(shape) == 2:
        return "hw"
    if len(shape) == 4:
        inner = _recognise(shape[1:])
        sides = [n for n, axis in zip(shape[1:], inner or "", strict=False) if axis in "hw"]
        # with as many frames as pixels, frames may as well be a side, and a side the frames
        return f"f{inner}" if inner and shape[0] < min(sides) else None
    if len(shape) == 3 and shape[2] < min(shape[:2]):
        return "hwc"
    if len(shape) == 3 and shape[0] < min(shape[1:]):
        return "chw"
    return None


def _image(shape: tuple[int, ...], dtype: np.dtype, axes: str, name: str) -> Arrangement:
    order = tuple(axes.index(axis) for axis in "hwfc" if axis in axes)
    height, width, *rest = (shape[axis] for axis in order)
    image = (height, width, math.prod(rest))
    stored = dtype if dtype == np.uint8 else np.dtype(np.float32)
    if 0 in image or not is_image(image, stored):
        raise UserError(
            f"{name} has the shape {shape} and cannot be an image of {dtype} with the axes {axes}: "
            f"its sides should be at least {1 if dtype == np.uint8 else LEAST_FLOAT_SIDE} pixels"
        )
    return Arrangement(image, stored, order)
