"""Datasets of this library as LeRobot's, version 3.0, without torch.

See `data.readers.lerobot` for the layout. Nothing is lost of observations, actions, rewards and
flags: what each action led to is `next.observation.NAME`, which no policy of LeRobot's takes for an
input. Pictures of three channels become PNG, and so keep their pixels.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.errors import UserError
from behavior_priors.system.files import replacing, write_atomically

VERSION = "v3.0"

FILE_BYTES = 100 << 20
"""Of a file, before it is compressed; LeRobot's own."""

GROUP_BYTES = 8 << 20
"""Of a row group; each takes time of its own to read."""

FILES_PER_CHUNK = 1000

ProgressFn = Callable[[int, int], None]
"""`(episodes, steps)` written so far."""


class Task(NamedTuple):
    """What LeRobot wants to know of recordings beside what they hold.

    Attributes:
      fps: steps a second.
      words: what was to be done.
      robot: which one it was; None where that is not known.
    """

    fps: int
    words: str
    robot: str | None = None


def write(
    reader: EpisodeReader, folder: Path, task: Task, progress: ProgressFn | None = None
) -> None:
    """Writes a dataset into a folder, some episodes at a time.

    Args:
      reader: of the dataset.
      folder: to be made; must not be there, or be empty.
      task: what else is to be said.
      progress: is told of each shard.

    Raises:
      UserError: pyarrow is missing, the folder is not empty, or cannot be written.
    """
    _require_pyarrow()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already; give a new or empty folder")
    if not reader.complete:
        raise UserError(f"{reader.directory} is not complete; collect or convert the rest first")
    columns = _Columns(reader)
    totals = _Statistics()
    rows: list[dict[str, Any]] = []
    steps = 0
    with _Files(folder, columns) as files:
        for batch in reader.shards():
            for number, table in columns.tables(batch, task.fps, len(rows), steps):
                place = files.add(table)
                length = len(table)
                rows.append(
                    {
                        "episode_index": number,
                        "tasks": [task.words],
                        "length": length,
                        "data/chunk_index": place // FILES_PER_CHUNK,
                        "data/file_index": place % FILES_PER_CHUNK,
                        "dataset_from_index": steps,
                        "dataset_to_index": steps + length,
                        "meta/episodes/chunk_index": 0,
                        "meta/episodes/file_index": 0,
                    }
                )
                steps += length
            totals.add(columns.numbers(batch))
            if progress is not None:
                progress(len(rows), steps)
    _write_meta(folder, columns, task, rows, steps, totals)


def _require_pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "writing Parquet needs pyarrow; pip install 'behavior-priors[arrow]'"
        ) from error
    return pyarrow


class _Column(NamedTuple):
    """A feature.

    Attributes:
      dtype: in LeRobot's words.
      shape: of a row, `[1]` for a number.
      names: of its axes or entries; None where there are none.
    """

    dtype: str
    shape: tuple[int, ...]
    names: Any = None


class _Columns:
    """The features of a dataset, and its episodes as tables of them."""

    def __init__(self, reader: EpisodeReader) -> None:
        spec = reader.metadata.observation
        self.features: dict[str, _Column] = {}
        for prefix in ("observation", "next.observation"):
            for name, x in spec.items():
                self.features[f"{prefix}.{name}"] = _column(x.shape, np.dtype(x.dtype))
        self.features["action"] = _Column("float32", (reader.metadata.action_size,))
        if "reward" in reader.layout:
            self.features["next.reward"] = _Column("float32", (1,))
        self.features["next.done"] = _Column("bool", (1,))
        self.features["next.truncated"] = _Column("bool", (1,))
        if "success" in reader.layout:
            self.features["next.success"] = _Column("bool", (1,))
        self.features["timestamp"] = _Column("float32", (1,))
        for name in ("frame_index", "episode_index", "index", "task_index"):
            self.features[name] = _Column("int64", (1,))
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
        pyarrow = _require_pyarrow()
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
        pyarrow = _require_pyarrow()
        fields = [pyarrow.field(n, _kind(pyarrow, x)) for n, x in self.features.items()]
        known = {"info": {"features": {n: _hugging(x) for n, x in self.features.items()}}}
        return pyarrow.schema(fields, metadata={"huggingface": json.dumps(known)})


def _column(shape: tuple[int, ...], dtype: np.dtype) -> _Column:
    if dtype == np.uint8 and len(shape) == 3 and shape[2] == 3:
        return _Column("image", shape, ["height", "width", "channels"])
    return _Column(dtype.name, shape or (1,))


def _kind(pyarrow: Any, column: _Column) -> Any:
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


def _hugging(column: _Column) -> dict[str, Any]:
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


def _array(rows: np.ndarray, column: _Column) -> Any:
    """Rows as a column."""
    pyarrow = _require_pyarrow()
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


class _Files(contextlib.ExitStack):
    """The files of `data/`; episodes of some megabytes are a row group."""

    def __init__(self, folder: Path, columns: _Columns) -> None:
        super().__init__()
        self._folder, self._columns = folder, columns
        self._number = -1
        self._bytes = self._waiting_bytes = 0
        self._waiting: list[Any] = []
        self._writer: Any = None

    def add(self, table: Any) -> int:
        """Writes an episode; returns the number of the file that it is in."""
        if self._writer is None or self._bytes + table.nbytes > FILE_BYTES:
            self.close()
            self._number += 1
            self._bytes = 0
            place = f"chunk-{self._number // FILES_PER_CHUNK:03d}"
            name = f"file-{self._number % FILES_PER_CHUNK:03d}.parquet"
            partial = self.enter_context(replacing(self._folder / "data" / place / name))
            parquet = _require_pyarrow().parquet
            self._writer = parquet.ParquetWriter(str(partial), self._columns.schema())
            self.callback(self._writer.close)
            self.callback(self._flush)
        self._bytes += table.nbytes
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= GROUP_BYTES:
            self._flush()
        return self._number

    def _flush(self) -> None:
        if self._waiting:
            table = _require_pyarrow().concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(table)
            self._waiting.clear()
            self._waiting_bytes = 0


class _Statistics:
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


def _write_meta(
    folder: Path,
    columns: _Columns,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    steps: int,
    totals: _Statistics,
) -> None:
    pyarrow = _require_pyarrow()
    episodes = pyarrow.Table.from_pylist(list(rows))
    _write_table(folder / "meta/episodes/chunk-000/file-000.parquet", episodes)
    tasks = pyarrow.table({"task_index": [0], "task": [task.words]})
    _write_table(
        folder / "meta/tasks.parquet",
        tasks.replace_schema_metadata({"pandas": json.dumps(_PANDAS)}),
    )
    write_atomically(folder / "meta/stats.json", json.dumps(totals.result(), indent=4))
    info = {
        "codebase_version": VERSION,
        "robot_type": task.robot,
        "total_episodes": len(rows),
        "total_frames": steps,
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": FILE_BYTES >> 20,
        "video_files_size_in_mb": 200,
        "fps": task.fps,
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": {
            name: {"dtype": x.dtype, "shape": list(x.shape), "names": x.names}
            for name, x in columns.features.items()
        },
    }
    # last: a folder without it is no dataset yet
    write_atomically(folder / "meta/info.json", json.dumps(info, indent=4))


def _write_table(path: Path, table: Any) -> None:
    parquet = _require_pyarrow().parquet
    with replacing(path) as partial:
        parquet.write_table(table, str(partial))


_PANDAS: dict[str, Any] = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {
            "name": "task",
            "field_name": "task",
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        },
    ],
    "pandas_version": "2.0.0",
}
"""What pandas has to know to take the words for the index."""
