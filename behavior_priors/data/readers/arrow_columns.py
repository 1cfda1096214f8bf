"""Columns of pyarrow's as arrays of NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from behavior_priors.data.readers import images


def numpy_dtype(kind: Any) -> np.dtype:
    """NumPy's dtype of a type of pyarrow's; Python objects for what is no number.

    pyarrow's own answer needs pandas from version 22 on.
    """
    from pyarrow import types

    if types.is_boolean(kind):
        return np.dtype(bool)
    for is_kind, letter in (
        (types.is_signed_integer, "i"),
        (types.is_unsigned_integer, "u"),
        (types.is_floating, "f"),
    ):
        if is_kind(kind):
            return np.dtype(f"{letter}{kind.bit_width // 8}")
    return np.dtype(object)


def to_numpy(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Rows `[n, *shape]` of an array of pyarrow's.

    Raises:
      ValueError: there are rows without a value.
    """
    from pyarrow import types

    if array.null_count:
        raise ValueError(f"{array.null_count} rows have no value")
    if types.is_binary(array.type) or types.is_large_binary(array.type):
        return images.decode(array.to_pylist())
    count = len(array)
    while types.is_fixed_size_list(array.type) or types.is_list(array.type):
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False).reshape(count, *shape)
