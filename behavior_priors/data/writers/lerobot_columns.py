"""Features of LeRobot's: a dataset of this library as columns, and statistics of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.errors import UserError


def require_pyarrow() -> Any:
    """The library.

    Raises:
      UserError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "writing Parquet needs pyarrow; pip install 'behavior-priors[arrow]'"
        ) from error
    return pyarrow


class Column(NamedTuple):
    """A feature.

    Attributes:
      dtype: in LeRobot's words.
      shape: of a row, `[1]` for a number.
      names: of its axes or entries; None where there are none.
    """

    dtype: str
    shape: tuple[int, ...]
    names: Any = None


class Columns:
    """The features of a dataset, and its episodes as tables of them."""

    def __init__(self, reader: EpisodeReader) -> None:
        spec = reader.metadata.observation
        self.features: dict[str, Column] = {}
        for prefix in ("observation", "next.observation"):
            for name, x in spec.items():
                self.features[f"{prefix}.{name}"] = _column(x.shape, np.dtype(x.dtype))
        self.features["action"] = Column("float32", (reader.metadata.action_size,))
        if "reward" in reader.layout:
            self.features["next.reward"] = Column("float32", (1,))
        self.features["next.done"] = Column("bool", (1,))
        self.features["next.truncated"] = Column("bool", (1,))
        if "success" in reader.layout:
            self.features["next.success"] = Column("bool", (1,))
        self.features["timestamp"] = Column("float32", (1,))
        for name in ("frame_index", "episode_index", "index", "task_index"):
            self.features[name] = Column("int64", (1,))
        self._names = list(spec)

    def tables(
        self, batch: EpisodeBatch, fps: int, first: int, index: int
    ) -> Iterator[tuple[int, Any]]:
        """Numbers of episodes and their rows.

        Args:
          batch: the episodes.
          fps: steps a second.
          first: number of the first one.
          index: number of its first row.
        """
        pyarrow = require_pyarrow()
        stops = np.cumsum(batch.length)
        ended = batch.terminated
        for i, stop in enumerate(stops):
            length = int(batch.length[i])
            start = stop - length
            here = slice(start + i, stop + i)
            following = slice(start + i + 1, stop + i + 1)
            last = np.arange(length) == length - 1
            terminated = bool(ended[i]) if ended is not None else False
            arrays: dict[str, Any] = {}
            for name in self._names:
                arrays[f"observation.{name}"] = batch.observation[name][here]
                arrays[f"next.observation.{name}"] = batch.observation[name][following]
            arrays["action"] = batch.action[start:stop]
            if batch.reward is not None:
                arrays["next.reward"] = batch.reward[start:stop]
            arrays["next.done"] = last
            arrays["next.truncated"] = last & (not terminated)
            if batch.success is not None:
                arrays["next.success"] = last & bool(batch.success[i])
            arrays["timestamp"] = (np.arange(length) / fps).astype(np.float32)
            arrays["frame_index"] = np.arange(length)
            arrays["episode_index"] = np.full(length, first + i)
            arrays["index"] = index + np.arange(length)
            arrays["task_index"] = np.zeros(length, np.int64)
            index += length
            yield (
                first + i,
                pyarrow.table(
                    [_array(arrays[name], x) for name, x in self.features.items()],
                    schema=self.schema(),
                ),
            )

    def numbers(self, batch: EpisodeBatch) -> dict[str, np.ndarray]:
        """The arrays of a batch that statistics are made of, by feature."""
        stops = np.cumsum(batch.length + 1)
        kept = np.ones(stops[-1] if len(stops) else 0, bool)
        kept[stops - 1] = False
        found = {
            f"observation.{name}": batch.observation[name][kept]
            for name in self._names
            if self.features[f"observation.{name}"].dtype != "image"
        }
        found["action"] = batch.action
        if batch.reward is not None:
            found["next.reward"] = batch.reward[:, None]
        return found

    def schema(self) -> Any:
        """Types of the columns, with what Hugging Face's `datasets` has to know of them."""
        pyarrow = require_pyarrow()
        fields = [pyarrow.field(n, _kind(pyarrow, x)) for n, x in self.features.items()]
        known = {"info": {"features": {n: _hugging(x) for n, x in self.features.items()}}}
        return pyarrow.schema(fields, metadata={"huggingface": json.dumps(known)})


def _column(shape: tuple[int, ...], dtype: np.dtype) -> Column:
    if dtype == np.uint8 and len(shape) == 3 and shape[2] == 3:
        return Column("image", shape, ["height", "width", "channels"])
    return Column(dtype.name, shape or (1,))


def _kind(pyarrow: Any, column: Column) -> Any:
    """The type of a column."""
    if column.dtype == "image":
        return pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kind = pyarrow.bool_() if column.dtype == "bool" else getattr(pyarrow, column.dtype)()
    if column.shape == (1,):
        return kind
    if len(column.shape) == 1:
        return pyarrow.list_(kind, column.shape[0])
    for _ in column.shape:
        kind = pyarrow.list_(kind)
    return kind


def _hugging(column: Column) -> dict[str, Any]:
    """A feature in the words of `datasets`."""
    value = {"dtype": column.dtype, "_type": "Value"}
    if column.dtype == "image":
        return {"_type": "Image"}
    if column.shape == (1,):
        return value
    if len(column.shape) == 1:
        return {"feature": value, "length": column.shape[0], "_type": "List"}
    kind = f"Array{len(column.shape)}D"
    return {"shape": list(column.shape), "dtype": column.dtype, "_type": kind}


def _array(rows: np.ndarray, column: Column) -> Any:
    """Rows as a column."""
    pyarrow = require_pyarrow()
    if column.dtype == "image":
        pictures = [{"bytes": _png(x), "path": None} for x in rows]
        return pyarrow.array(pictures, _kind(pyarrow, column))
    array = pyarrow.array(np.ascontiguousarray(rows).reshape(-1))
    if column.shape == (1,):
        return array
    if len(column.shape) == 1:
        return pyarrow.FixedSizeListArray.from_arrays(array, column.shape[0])
    for size in reversed(column.shape):
        count = len(array) // size
        offsets = pyarrow.array(np.arange(count + 1, dtype=np.int32) * size)
        array = pyarrow.ListArray.from_arrays(offsets, array)
    return array


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Statistics:
    """Least, greatest, mean and standard deviation of each feature, over all rows."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes some rows into account."""
        for name, array in arrays.items():
            x = array.astype(np.float64)
            new = {
                "count": len(x),
                "min": x.min(0, initial=np.inf),
                "max": x.max(0, initial=-np.inf),
                "sum": x.sum(0),
                "square": np.square(x).sum(0),
            }
            old = self._known.get(name)
            if old is not None:
                new["min"] = np.minimum(new["min"], old["min"])
                new["max"] = np.maximum(new["max"], old["max"])
                for what in ("count", "sum", "square"):
                    new[what] = new[what] + old[what]
            self._known[name] = new

    def result(self) -> dict[str, dict[str, Any]]:
        """What `stats.json` says."""
        found = {}
        for name, x in self._known.items():
            mean = x["sum"] / max(x["count"], 1)
            variance = np.maximum(x["square"] / max(x["count"], 1) - np.square(mean), 0.0)
            found[name] = {
                "min": x["min"].tolist(),
                "max": x["max"].tolist(),
                "mean": mean.tolist(),
                "std": np.sqrt(variance).tolist(),
                "count": [x["count"]],
            }
        return found
