"""Episodes on disk, one format for scripted, human and converted data.

A dataset is a directory with `metadata.json` and numbered shards, each holding whole episodes. The
format is described in `docs/data_format.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.layout import (
    EpisodeBatch,
    Layout,
    check_layout,
    check_rows,
    check_values,
    required_layout,
    rows_per_episode,
)
from behavior_priors.data.metadata import (
    METADATA_FILE,
    EpisodeMetadata,
    Totals,
    read_metadata,
    write_metadata,
)
from behavior_priors.data.paths import exists, system_said
from behavior_priors.data.shards import TEMPORARY_PREFIX, Shard, write_shard
from behavior_priors.errors import UserError
from behavior_priors.system import locks
from behavior_priors.system.trust import allow_path

__all__ = ["EpisodeBatch", "EpisodeMetadata", "EpisodeReader", "EpisodeSelection", "EpisodeWriter"]

EpisodeSelection = slice | range | Sequence[int] | np.ndarray | None
"""Which episodes, in increasing order; None for all."""


class EpisodeWriter:
    """Adds shards to a dataset, one per `write`; between two writes the dataset is valid.

    `create` and `resume` make one. It holds the directory's lock until it is complete, or given up.

    Attributes:
      directory: the dataset.
      metadata: what it says about itself.
      totals: what is on disk; `totals.num_shards` is also the number of the next shard.
      complete: `finish` was called, now or in an earlier process.
    """

    def __init__(self, directory: Path, metadata: EpisodeMetadata) -> None:
        """Only for `create` and `resume`, which look at the directory."""
        self.directory = directory
        self.metadata = metadata
        self.totals = Totals(0, 0, 0)
        self.complete = False
        self._layout: Layout | None = None
        self._lock: locks.Lock | None = None

    @classmethod
    def create(cls, directory: str | Path, metadata: EpisodeMetadata) -> EpisodeWriter:
        """Begins a dataset in a new or empty directory.

        Raises:
          UserError: something else is at that place, another process writes there, or it cannot be
            written.
        """
        writer = cls(Path(directory), metadata)
        try:
            writer.directory.mkdir(parents=True, exist_ok=True)
            writer._lock = _hold(writer.directory)
            names = {path.name for path in writer.directory.iterdir()} - {locks.LOCK_FILE}
        except UserError:
            raise
        except (OSError, ValueError) as error:  # a ValueError of a name with a NUL
            reason = system_said(error)
            raise UserError(
                f"{directory}: cannot be made a directory ({reason}); give another place"
            ) from error
        if not all(name.startswith(TEMPORARY_PREFIX) for name in names):
            raise UserError(
                f"{directory}: exists and is not empty; give another directory, or remove this one"
            )
        write_metadata(writer.directory, metadata, totals=None)
        return writer

    @classmethod
    def resume(cls, directory: str | Path, metadata: EpisodeMetadata) -> EpisodeWriter:
        """Continues a dataset after its last shard, or begins one where there is none.

        Raises:
          UserError: the dataset is damaged, was made with other metadata, or another process writes
            to it.
        """
        directory = Path(directory)
        if not exists(directory / METADATA_FILE):
            return cls.create(directory, metadata)
        writer = cls(directory, metadata)
        if read_metadata(directory)[1] is None:
            try:
                writer._lock = _hold(directory)
            except OSError as error:
                raise UserError(f"{directory}: cannot be written ({error.strerror})") from error
        reader = EpisodeReader(directory)
        if difference := reader.metadata.difference(metadata):
            raise UserError(
                f"{directory / METADATA_FILE}: cannot be continued, it was made with another "
                f"{difference}; give another directory, or what it was made with"
            )
        writer.totals = reader.totals
        writer.complete = reader.complete
        writer._layout = reader.layout if reader.totals.num_shards else None
        return writer

    def write(self, episodes: EpisodeBatch) -> None:
        """Adds one shard; a batch without episodes gives an empty one, so that numbers go on.

        Raises:
          UserError: the arrays do not fit the metadata or the shards before, or hold NaN or
            infinity, or the disk is full; the shards before are intact.
          ValueError: the dataset is complete.
        """
        if self.complete:
            raise ValueError(f"{self.directory} is complete; nothing can be added to it")
        path = self.directory / _shard_name(self.totals.num_shards)
        arrays = episodes.to_arrays()
        layout = check_layout(path, arrays, self.metadata, self._layout)
        check_rows(path, arrays, arrays["length"])
        for name, array in arrays.items():
            check_values(path, name, array, self.metadata, arrays["length"])
        write_shard(path, arrays)
        self._layout = layout
        self.totals = Totals(
            self.totals.num_shards + 1,
            self.totals.num_episodes + len(arrays["length"]),
            self.totals.num_steps + len(arrays["action"]),
        )

    def finish(self) -> None:
        """Marks the dataset as complete.

        Raises:
          UserError: the disk is full.
        """
        write_metadata(self.directory, self.metadata, self.totals)
        self.complete = True
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class EpisodeReader:
    """A dataset whose shapes are known at once and whose arrays are read when asked for.

    Attributes:
      directory: the dataset.
      metadata: what it says about itself.
      complete: its writer finished; otherwise it holds what was written before an interruption.
      lengths: `[num_episodes]` int32, steps of each episode.
      layout: the arrays that every shard holds, with the shape and dtype of a row.
      totals: numbers of shards, episodes and steps.
    """

    def __init__(self, directory: str | Path, *, trust: Sequence[str] = ()) -> None:
        """Reads the metadata, every shard's headers and the episodes' lengths.

        Args:
          directory: the dataset.
          trust: what the metadata may name for the environment; see `trust.FromFile`.

        Raises:
          UserError: a file is missing, damaged, of another version, of other dimensions; or a link
            out of the directory; or a file names the directory, and the user has not allowed that.
        """
        self.directory = allow_path(directory) if isinstance(directory, str) else directory
        self.metadata, said = read_metadata(self.directory, trust)
        self.complete = said is not None
        self.layout = required_layout(self.metadata)
        self._shards = [Shard(path) for path in _shard_paths(self.directory)]
        self._shard_lengths: list[np.ndarray] = []
        for shard in self._shards:
            before = self.layout if self._shard_lengths else None
            self.layout = check_layout(shard.path, shard.arrays, self.metadata, before)
            lengths = shard.read("length")
            check_values(shard.path, "length", lengths, self.metadata, lengths)
            check_rows(shard.path, shard.arrays, lengths)
            self._shard_lengths.append(lengths)
        self.lengths = np.concatenate([np.zeros(0, np.int32), *self._shard_lengths])
        self.totals = Totals(len(self._shards), len(self.lengths), int(self.lengths.sum()))
        if said and said != self.totals:
            raise UserError(
                f"{self.directory}: holds {self.totals.num_episodes} episodes in "
                f"{self.totals.num_shards} shards, but metadata.json says {said.num_episodes} in "
                f"{said.num_shards}; restore the missing files or collect it again"
            )

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return self.totals.num_episodes

    @property
    def num_steps(self) -> int:
        """Number of steps of all episodes."""
        return self.totals.num_steps

    def read(
        self, episodes: EpisodeSelection = None, names: Sequence[str] | None = None
    ) -> EpisodeBatch:
        """Returns some episodes.

        Args:
          episodes: which.
          names: the observations to read, the others stay on disk; None for all of them.

        Raises:
          UserError: a shard is damaged, or holds NaN or infinity.
          KeyError: there is no such observation.
        """
        wanted = self.metadata.observation if names is None else names
        stored = [name for name in self.layout if not name.startswith("observation/")]
        stored += [f"observation/{name}" for name in wanted]
        return EpisodeBatch.from_arrays({name: self.read_array(name, episodes) for name in stored})

    def read_array(self, name: str, episodes: EpisodeSelection = None) -> np.ndarray:
        """Returns the rows of one array that belong to some episodes, and reads no other array.

        Args:
          name: as stored, such as "action" or "observation/gripper".
          episodes: which.

        Raises:
          UserError: a shard is damaged, or holds NaN or infinity.
          KeyError: there is no such array.
        """
        row = self.layout[name]
        chosen = self._chosen(episodes)
        parts = [np.zeros((0, *row.shape), row.dtype)]
        first = 0
        for shard, lengths in zip(self._shards, self._shard_lengths, strict=True):
            here = chosen[(first <= chosen) & (chosen < first + len(lengths))] - first
            first += len(lengths)
            if len(here):
                array = shard.read(name, _rows(rows_per_episode(name, lengths), here))
                check_values(shard.path, name, array, self.metadata, lengths[here])
                parts.append(array)
        return np.concatenate(parts)

    def shards(self, names: Sequence[str] | None = None) -> Iterator[EpisodeBatch]:
        """Yields the episodes of one shard after the other; `names` as in `read`."""
        first = 0
        for lengths in self._shard_lengths:
            yield self.read(range(first, first + len(lengths)), names)
            first += len(lengths)

    def _chosen(self, episodes: EpisodeSelection) -> np.ndarray:
        if episodes is None or isinstance(episodes, slice):
            chosen = np.arange(self.num_episodes)[episodes or slice(None)]
        else:
            chosen = np.asarray(episodes, dtype=int)
        if np.any(np.diff(chosen) <= 0):
            raise ValueError("episodes must be given in increasing order, each of them once")
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < self.num_episodes:
            raise IndexError(f"there are episodes 0 to {self.num_episodes - 1} only")
        return chosen


def _hold(directory: Path) -> locks.Lock:
    """The lock of a dataset under way.

    Raises:
      UserError: another process has it.
      OSError: the directory cannot be written.
    """
    path = directory / locks.LOCK_FILE
    lock = locks.hold(path)
    if lock is None:
        raise UserError(
            f"{directory}: is being written by {locks.holder(path)}; wait for it or stop it, or "
            "give another directory"
        )
    return lock


def _rows(counts: np.ndarray, episodes: np.ndarray) -> slice | np.ndarray:
    """Rows of the given episodes where every episode has `counts` rows."""
    if len(episodes) == len(counts):
        return slice(None)
    stops = np.cumsum(counts)
    return np.concatenate([np.arange(stops[e] - counts[e], stops[e]) for e in episodes])


def _shard_name(number: int) -> str:
    return f"episodes-{number:05d}.npz"


def _shard_paths(directory: Path) -> list[Path]:
    """All shards in order.

    Raises:
      UserError: a number is missing.
    """
    found = {path.name for path in directory.glob("episodes-*.npz")}
    names = [_shard_name(number) for number in range(len(found))]
    if missing := sorted(set(names) - found):
        raise UserError(
            f"{directory / missing[0]}: is missing, though later shards are there; restore it or "
            "collect the data again"
        )
    return [directory / name for name in names]
