"""Ends of episodes that no mark gives: where a row does not follow the row before it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.readers.base import ReadConfig, Table, reading


def find_gaps(
    path: Path, table: Table, size: int, keys: Sequence[Sequence[str]], config: ReadConfig
) -> np.ndarray:
    """Rows `[g]` that do not follow the row before them, which has led to something else.

    Args:
      path: the file, for messages.
      table: its arrays, of which some have a `next_...`, what the rows' actions led to.
      size: rows.
      keys: of arrays to look at: of the first list of which any has its `next_...`.
      config: says how much is read at once.

    Raises:
      UserError: they cannot be read.
    """
    twins = next(filter(None, (_twins(table, some, size) for some in keys)), {})
    if not twins or not size:
        return np.zeros(0, np.int64)
    row_bytes = sum(table.rows[k].dtype.itemsize * math.prod(table.rows[k].shape) for k in twins)
    step = max(1, config.chunk_bytes // max(1, 2 * row_bytes))
    found: list[np.ndarray] = []
    with contextlib.ExitStack() as stack:
        with reading(path):
            streams = stack.enter_context(table.open([*twins, *twins.values()]))
        last: dict[str, np.ndarray] = {}
        for start in range(0, size, step):
            with reading(path):
                arrays = {key: read(min(step, size - start)) for key, read in streams.items()}
            announced = {
                key: np.concatenate([last[key], arrays[twin][:-1]]) if last else arrays[twin][:-1]
                for key, twin in twins.items()
            }
            now = {key: arrays[key] if last else arrays[key][1:] for key in twins}
            found.append(gaps(now, announced) + (start if last else start + 1))
            last = {key: arrays[twin][-1:] for key, twin in twins.items()}
    return np.concatenate(found)


def gaps(observation: Mapping[str, np.ndarray], announced: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows `[g]` that begin an episode: their observation is not the one announced before them.

    Args:
      observation: named arrays `[n, ...]`.
      announced: what the row before each has led to, `[n, ...]`.
    """
    differs = np.zeros(len(next(iter(observation.values()))), bool)
    for name, now in observation.items():
        before = announced[name]
        within_row = tuple(range(1, now.ndim))
        unequal = np.flatnonzero((now != before).any(axis=within_row))
        close = np.isclose(now[unequal], before[unequal], 1e-4, 1e-5)
        # NaN says nothing about what follows what; it is found later, in its episode
        known = np.isfinite(now[unequal]) & np.isfinite(before[unequal])
        differs[unequal] |= (known & ~close).any(axis=within_row)
    return np.flatnonzero(differs)


def _twins(table: Table, keys: Iterable[str], size: int) -> dict[str, str]:
    """Arrays that can be compared with what actions led to, and where that is."""
    pairs = {key: f"next_{key}" for key in keys if f"next_{key}" in table.rows}
    return {
        key: twin
        for key, twin in pairs.items()
        if table.rows[key].shape == table.rows[twin].shape
        and table.counts[key] == table.counts[twin] == size
        and all(table.rows[x].dtype.kind in "biuf" for x in (key, twin))
    }
