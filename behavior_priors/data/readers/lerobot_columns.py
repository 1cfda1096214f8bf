"""The columns of LeRobot's files: what a row of each is, and the rows of an episode."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.readers import images
from behavior_priors.data.readers.arrow_columns import numpy_dtype, to_numpy
from behavior_priors.data.readers.base import reading
from behavior_priors.data.sizes import Declared
from behavior_priors.errors import UserError

INFO_FILE = "meta/info.json"


class Feature(TypedDict):
    """What `info.json` says of a column or a camera."""

    dtype: str
    shape: list[int]
    names: NotRequired[Any]


class Piece(NamedTuple):
    """The rows of an episode.

    Attributes:
      file: of `data/`.
      rows: in it.
      task: the number of its task; None where the dataset has none.
    """

    file: Path
    rows: slice
    task: int | None

    @property
    def length(self) -> int:
        return self.rows.stop - self.rows.start


def open_parquet(path: Path) -> Any:
    """A file of Parquet.

    Raises:
      UserError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow; pip install 'behavior-priors[arrow]'"
        ) from error
    return pyarrow.parquet.ParquetFile(path)


class Columns:
    """Columns of one file at a time, read as they are asked for and sliced for its episodes."""

    def __init__(self, features: Mapping[str, Feature]) -> None:
        self._features = features
        self._file: Path | None = None
        self._table: Any = None
        self._arrays: dict[str, Any] = {}

    def read(self, piece: Piece, name: str) -> np.ndarray:
        """Rows of an episode."""
        if piece.file is not self._file:
            self.forget()
            self._file, self._table = piece.file, open_parquet(piece.file)
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = self._column(name)
        if not isinstance(array, np.ndarray):
            part = array.slice(piece.rows.start, piece.length)
            with reading(piece.file):
                return images.decode(part.field("bytes").to_pylist())
        return array[piece.rows]

    def _column(self, name: str) -> Any:
        """All rows of a column; of encoded images as they are."""
        assert self._file is not None
        feature = self._features[name]
        with reading(self._file):
            column = self._table.read(columns=[name]).column(0).combine_chunks()
            if feature["dtype"] == "image":
                return column
            return to_numpy(column, _shape(column.type, feature))

    def forget(self) -> None:
        """Lets go of what has been read."""
        if self._table is not None:
            self._table.close()
        self._file = self._table = None
        self._arrays.clear()


def rows_in(file: Path, features: Mapping[str, Feature], pictures: set[str]) -> dict[str, Row]:
    """What a file has that can be read: shapes and dtypes of a row, by the name of the column."""
    stored = file.stat().st_size
    declared = Declared(file, stored)
    rows: dict[str, Row] = {}
    with reading(file), contextlib.closing(open_parquet(file)) as table:
        count = table.metadata.num_rows
        for field in table.schema_arrow:
            feature = features.get(field.name)
            if feature is None:
                continue
            if feature["dtype"] == "image":
                if field.name in pictures:
                    first = table.read_row_group(0, columns=[field.name]).column(0)[0]
                    rows[field.name] = images.row_of(first["bytes"].as_py())
                continue
            row = Row(_shape(field.type, feature), numpy_dtype(_inner(field.type)))
            if not row.dtype.hasobject:
                declared.add(field.name, (count, *row.shape), row.dtype.itemsize, stored)
            rows[field.name] = row
    return rows


def _inner(kind: Any) -> Any:
    """The type of the numbers in lists."""
    from pyarrow import types

    while types.is_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind


def _shape(kind: Any, feature: Feature) -> tuple[int, ...]:
    """The shape of a row of a column: that of its feature, or none where it is one number."""
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_fixed_size_list(kind)
    shape = tuple(feature["shape"])
    if min(shape, default=0) < 0:
        raise UserError(f"{INFO_FILE} says that a feature has the shape {list(shape)}")
    return shape if is_list else ()
