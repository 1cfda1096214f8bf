"""Minari datasets in Arrow or Parquet files, which pyarrow reads.

A folder `N` is an episode, with files of one table. Each of its rows is an observation, the action
chosen from it and what came of that; the last row has an observation only. Arrays are flat there;
`observation_space` in `metadata.json` has their shapes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.paths import check_inside, check_regular
from behavior_priors.data.readers.arrow_columns import numpy_dtype, to_numpy
from behavior_priors.data.readers.base import reading
from behavior_priors.data.readers.groups import Found, Groups, ReadFn, in_group
from behavior_priors.data.sizes import Declared
from behavior_priors.errors import UserError

_ENDINGS = ("arrow", "parquet")

_MAX_DEPTH = 32
"""Spaces within spaces."""


def episodes_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each episode in the folder of a dataset, in the order of their numbers."""
    try:
        numbers = sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())
    except OSError:
        return {}
    found = {
        str(number): sorted(
            (file for ending in _ENDINGS for file in (folder / str(number)).glob(f"*.{ending}")),
            key=lambda file: (len(file.name), file.name),
        )
        for number in numbers
    }
    return {number: files for number, files in found.items() if files}


def groups_of(folder: Path, space: Mapping[str, Any]) -> Groups:
    """The episodes in the folder of a dataset.

    Args:
      folder: of the data.
      space: of observations, as Minari's metadata describe it; empty where it is not known.

    Raises:
      UserError: pyarrow is not installed, or a file is damaged or lies elsewhere.
    """
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise UserError(
            f"{folder}: reading Arrow and Parquet needs pyarrow; "
            "pip install 'behavior-priors[arrow]'"
        ) from error
    shapes = dict(_shapes(space, ("observations",)))
    files = {f"episode_{number}": paths for number, paths in episodes_in(folder).items()}
    leaves: dict[str, dict[str, _Leaf]] = {}
    episodes: dict[str, dict[str, Found]] = {}
    columns: dict[tuple[str, str], Any] = {}  # of one episode, read as they are asked for

    def table(label: str) -> Any:
        paths = files[label]
        return pyarrow.dataset.dataset(paths, format=paths[0].suffix.removeprefix("."))

    def read(label: str, key: str, rows: slice) -> np.ndarray:
        leaf = leaves[label][key]
        with reading(folder):
            if (label, leaf.path[0]) not in columns:
                for other in [place for place in columns if place[0] != label]:
                    del columns[other]
                column = table(label).to_table(columns=[leaf.path[0]]).column(0)
                columns[label, leaf.path[0]] = pyarrow.concat_arrays(column.chunks)
            array = columns[label, leaf.path[0]]
            for name in leaf.path[1:]:
                array = array.field(name)
            count = len(array) - _is_per_step(key)
            return to_numpy(array[:count][rows], leaf.shape)

    @contextlib.contextmanager
    def open_groups() -> Iterator[ReadFn]:
        yield read

    for label, paths in files.items():
        for path in paths:
            check_inside(folder, path)
            check_regular(path)
        stored = sum(path.stat().st_size for path in paths)
        with reading(folder):
            data = table(label)
            size = data.count_rows()
            leaves[label] = {"/".join(leaf.path): leaf for leaf in _leaves(data.schema, (), shapes)}
        episodes[label] = {}
        declared = Declared(paths[0], stored)
        for key, leaf in leaves[label].items():
            row = Row(leaf.shape, leaf.dtype)
            declared.add(key, (size, *row.shape), max(1, row.dtype.itemsize), stored)
            problem = ""
            if leaf.is_binary:
                try:
                    first = read(label, key, slice(0, 1))
                    row = Row(first.shape[1:], first.dtype)
                    declared.add(key, (size, *row.shape), 1, stored)
                except UserError as error:
                    problem = str(error)
            episodes[label][key] = Found(size - _is_per_step(key), row, problem, leaf.is_binary)
    return Groups(folder, episodes, open_groups)


class _Leaf(NamedTuple):
    """An array in a table: keys that lead to it, shape and dtype of a row (bytes: of none)."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    is_binary: bool


def _is_per_step(key: str) -> bool:
    """Whether an array has nothing in the row of the last observation."""
    return not (in_group(key, "observations") or in_group(key, "infos"))


def _leaves(
    fields: Any, above: tuple[str, ...], shapes: Mapping[tuple[str, ...], tuple[int, ...]]
) -> Iterator[_Leaf]:
    """The arrays of a schema or of a structure in it."""
    from pyarrow import types

    for field in fields:
        path, kind = (*above, field.name), field.type
        if types.is_struct(kind):
            yield from _leaves(kind, path, shapes)
            continue
        shape: tuple[int, ...] = ()
        if types.is_fixed_size_list(kind):
            shape, kind = (kind.list_size,), kind.value_type
            known = shapes.get(path, shape)
            shape = known if math.prod(known) == shape[0] else shape
        is_binary = types.is_binary(kind) or types.is_large_binary(kind)
        yield _Leaf(path, shape, numpy_dtype(kind), is_binary)


def _shapes(space: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Shapes of the arrays in a space that Minari has written down."""
    if not isinstance(space, dict) or len(path) > _MAX_DEPTH:
        return
    inner, shape = space.get("subspaces"), space.get("shape")
    if isinstance(inner, list):
        inner = {str(number): part for number, part in enumerate(inner)}
    if isinstance(inner, dict):
        for key, part in inner.items():
            yield from _shapes(part, (*path, key))
    elif isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape):
        yield path, tuple(shape)
