"""What readers of others' files share: what is wanted of a file, and what was found in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from behavior_priors.data import npy
from behavior_priors.data.bounds import Bounds
from behavior_priors.data.layout import EpisodeBatch, Row, rows_per_episode
from behavior_priors.data.paths import remedy, system_said
from behavior_priors.data.readers.hdf5_guard import describe_filters
from behavior_priors.data.readers.selection import Selection
from behavior_priors.errors import UserError
from behavior_priors.types import ArraySpec

CHUNK_BYTES = 16 * 2**20

_SHOWN = 5
"""Episodes that a note names."""


@dataclasses.dataclass(frozen=True)
class ReadConfig:
    """What is wanted of a file.

    Attributes:
      observation: the arrays to keep; empty for every observation key, under its own name.
      rewards: keep rewards where the file has them.
      filter: of a robomimic file, the filter key whose demonstrations are wanted, of a LeRobot
        dataset the task; None for all.
      image_axes: what the axes of images are, such as `chw`, or `numbers`; None to look at shapes
        (see `observations.arrange`).
      episode_length: of a table, the rows after which a time limit ends an episode; None where
        marks say so.
      drop_bad_episodes: leave out episodes with NaN or infinity instead of refusing the file.
      chunk_bytes: about how much of a file is in memory at once; an episode is always whole.
    """

    observation: tuple[Selection, ...] = ()
    rewards: bool = True
    filter: str | None = None
    image_axes: str | None = None
    episode_length: int | None = None
    drop_bad_episodes: bool = False
    chunk_bytes: int = CHUNK_BYTES


Stream = Callable[[int], np.ndarray]
"""Gives the next n rows."""


class Table(Protocol):
    """Arrays of a file, by key, that are read from the front to the back."""

    @property
    def rows(self) -> Mapping[str, Row]:
        """Shape and dtype of a row of each array."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows each has."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Why an array cannot be read, of those that cannot."""

    def open(self, keys: Iterable[str]) -> AbstractContextManager[dict[str, Stream]]:
        """Begins to read some of the arrays, and holds the file open as long as it lasts."""


Batches = Generator[EpisodeBatch, None, None]
"""Episodes some at a time; holds a file open until it ends or is closed."""


@dataclasses.dataclass
class Tally:
    """What was left out on the way, so far.

    Attributes:
      bad_episodes: had NaN or infinity.
      empty_episodes: had no action whose outcome is known.
      lost_actions: last actions whose outcome the file does not have.
      lost_terminations: those of them that ended the task.
      gaps: ends that no flag marks: what came next does not follow from what came before.
    """

    bad_episodes: int = 0
    empty_episodes: int = 0
    lost_actions: int = 0
    lost_terminations: int = 0
    gaps: int = 0


@dataclasses.dataclass(frozen=True)
class Recording:
    """What a reader found in a file.

    Attributes:
      path: the file.
      format: name of its layout.
      observation: shape and dtype of the arrays that will be read.
      keys: where each of them comes from, such as `observations[0:7]`.
      action_size: length of an action.
      has_reward: rewards will be read; those of an episode that has none are NaN.
      num_episodes: how many the file marks.
      batches: begins to read: whole episodes, a bounded number of bytes at a time. What is left out
        is counted in the tally.
      environment: what the file says that it was recorded in.
      action_bounds: what the file says that its actions are between; None if it says nothing.
      notes: what the user should know about the file.
    """

    path: Path
    format: str
    observation: Mapping[str, ArraySpec]
    keys: Mapping[str, str]
    action_size: int
    has_reward: bool
    num_episodes: int
    batches: Callable[[Tally], Batches]
    environment: str | None = None
    action_bounds: Bounds | None = None
    notes: Sequence[str] = ()


def only_good(
    path: Path,
    batch: EpisodeBatch,
    labels: Sequence[str],
    keys: Mapping[str, str],
    config: ReadConfig,
    tally: Tally,
) -> EpisodeBatch:
    """Checks that all numbers are finite, or leaves out episodes where some are not.

    Args:
      path: the file.
      batch: the episodes.
      labels: what to call each of them.
      keys: of the file, by the name of an array in a batch.
      config: says what to do with bad episodes.
      tally: counts them.

    Raises:
      UserError: a number is not finite.
    """
    good = np.ones(len(batch.length), bool)
    for name, array in batch.to_arrays().items():
        is_checked = name in ("action", "reward") or name.startswith("observation/")
        if not is_checked or array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        starts = np.cumsum(rows_per_episode(name, batch.length))
        for row in np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1)):
            episode = int(np.searchsorted(starts, row, side="right"))
            good[episode] = False
            if config.drop_bad_episodes:
                continue
            first = starts[episode - 1] if episode else 0
            bad = array[row].reshape(-1)
            raise UserError(
                f"{path}: {keys.get(name, name)!r} holds {bad[~np.isfinite(bad)][0]} in "
                f"{labels[episode]}, row {row - first}; repair it, or leave out such episodes with "
                "--drop_bad_episodes"
            )
    tally.bad_episodes += int((~good).sum())
    return batch if good.all() else keep_episodes(batch, good)


def few(labels: Sequence[str], total: int) -> str:
    """Some episodes in words: `3 of 200 episodes (demo_4, demo_7, demo_9)`; many are counted."""
    shown = ", ".join(labels[:_SHOWN])
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return f"{len(labels)} of {total} episodes ({shown}{more})"


def keep_episodes(batch: EpisodeBatch, keep: np.ndarray) -> EpisodeBatch:
    """The episodes of a batch where `keep` `[E]` is true."""
    return EpisodeBatch.from_arrays(
        {
            name: array[np.repeat(keep, rows_per_episode(name, batch.length))]
            for name, array in batch.to_arrays().items()
        }
    )


def join(batches: Sequence[EpisodeBatch]) -> EpisodeBatch:
    """Batches one after the other, as one."""
    arrays = [batch.to_arrays() for batch in batches]
    return EpisodeBatch.from_arrays({n: np.concatenate([a[n] for a in arrays]) for n in arrays[0]})


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what libraries raise on files that they cannot read into one line.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{path}: {_why(path, error)}") from error


def _why(path: Path, error: BaseException) -> str:
    """What is wrong with a file, or with the way to it, and what helps."""
    reason = system_said(error)
    if (helps := remedy(error)) is not None:
        return f"cannot be read ({reason}); {helps}"
    if "required filter" in reason or "can't open directory" in reason:
        return (
            f"{describe_filters(path)} ({reason}); pip install hdf5plugin, or have it written with "
            "gzip"
        )
    if "unable to lock" in reason or "consistency flags" in reason:
        return (
            f"cannot be read ({reason}); another process is writing it, or was killed while it "
            "did; wait until that has closed it, or run h5clear -s on it"
        )
    return f"cannot be read, it is truncated or damaged ({reason}); get it again"


UNREADABLE = (
    *npy.UNREADABLE,
    KeyError,
    IndexError,
    TypeError,  # h5py's, of a type that NumPy has not
    OverflowError,
    MemoryError,
)
"""What zipfile, zlib, NumPy and h5py raise on damaged files."""
