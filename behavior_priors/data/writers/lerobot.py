"""Datasets of this library as LeRobot's, version 3.0, without torch.

See `data.readers.lerobot` for the layout. Nothing is lost of observations, actions, rewards and
flags: what each action led to is `next.observation.NAME`, which no policy of LeRobot's takes for an
input. Pictures of three channels become PNG, and so keep their pixels.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.writers.lerobot_columns import Columns, Statistics, require_pyarrow
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
    require_pyarrow()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already; give a new or empty folder")
    if not reader.complete:
        raise UserError(f"{reader.directory} is not complete; collect or convert the rest first")
    columns = Columns(reader)
    totals = Statistics()
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


class _Files(contextlib.ExitStack):
    """The files of `data/`; episodes of some megabytes are a row group."""

    def __init__(self, folder: Path, columns: Columns) -> None:
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
            parquet = require_pyarrow().parquet
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
            table = require_pyarrow().concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(table)
            self._waiting.clear()
            self._waiting_bytes = 0


def _write_meta(
    folder: Path,
    columns: Columns,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    steps: int,
    totals: Statistics,
) -> None:
    pyarrow = require_pyarrow()
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
    parquet = require_pyarrow().parquet
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
