"""Where the episodes of a table end, and which of these ends were the task's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from behavior_priors.errors import UserError


class Ends(NamedTuple):
    """How a table is divided.

    Attributes:
      stops: `[E]`, the row after each episode's last one.
      terminated: `[n]` bool, the row's action ended the task.
      unmarked: how many of the stops no mark gives, but what is observed next.
      notes: what the user should know about it.
    """

    stops: np.ndarray
    terminated: np.ndarray
    unmarked: int
    notes: list[str]


def find_ends(
    path: Path,
    flags: Mapping[str, np.ndarray],
    size: int,
    episode_length: int | None,
    gaps: np.ndarray,
    *,
    ends_task: bool,
) -> Ends:
    """Divides a table by the marks that it has, and after so many rows at the latest.

    What a time limit ends is truncated: with a limit, also where `terminals` is set, because files
    without `timeouts` may set it at every end.

    Args:
      path: the file, for messages.
      flags: `terminals`, `timeouts` and `masks`, as far as they are there, each `[n]`.
      size: n.
      episode_length: rows after which a time limit ends an episode; None for no such limit.
      gaps: `[g]`, rows that do not follow the row before them.
      ends_task: `terminals` marks the end of the task, not just of the recording.

    Raises:
      UserError: no row ends an episode, or the limit is no number of rows.
    """
    if episode_length is not None and episode_length < 1:
        raise UserError(f"--episode_length={episode_length} should be at least 1")
    nothing = np.zeros(size, bool)
    terminals = _is_set(flags["terminals"]) if "terminals" in flags else nothing
    timeouts = _is_set(flags["timeouts"]) if "timeouts" in flags else nothing
    marked = terminals | timeouts
    ended = marked.copy()
    ended[gaps - 1] = True
    if not marked.any() and (episode_length is None or not size):
        raise UserError(f"{path}: {_no_end(flags, ends_task)}")
    notes = []
    terminated = flags["masks"] == 0 if "masks" in flags else terminals & ends_task
    if episode_length is not None:
        limited = _after(np.flatnonzero(ended), size, episode_length)
        if claimed := int((limited & terminated & ~timeouts).sum()) if "masks" not in flags else 0:
            notes.append(
                f"{claimed} episodes of {episode_length} rows count as truncated by the time "
                "limit, though their 'terminals' are set"
            )
            terminated = terminated & ~limited
        marked |= limited
        ended |= limited
    elif ends_task and not timeouts.any():
        which = "no row of 'timeouts' is set" if "timeouts" in flags else "there are no 'timeouts'"
        notes.append(
            f"{which}: 'terminals' alone divide it into episodes; if time limits ended some of "
            "them, give --episode_length, the rows after which they did"
        )
    if not ended[-1]:
        notes.append("the last episode is cut off by the end of the file; it counts as truncated")
        ended[-1] = True
    unmarked = int((~marked[gaps - 1]).sum())
    return Ends(np.flatnonzero(ended) + 1, terminated, unmarked, notes)


def _is_set(flag: np.ndarray) -> np.ndarray:
    """`[n]` bool; NaN is no mark."""
    return (flag != 0) & (flag == flag)


def _no_end(flags: Mapping[str, np.ndarray], ends_task: bool) -> str:
    """What is wrong with a table that no mark divides, and what would be right."""
    if not ends_task:
        return (
            "no row of 'terminals' marks the end of an episode; set it to true in each episode's "
            "last row, or give --episode_length, the rows of an episode"
        )
    timeouts = "'timeouts'" if "timeouts" in flags else "'timeouts' (which it has not)"
    return (
        f"no row of 'terminals' or {timeouts} marks the end of an episode; set 'timeouts' to true "
        "in each last row of an episode that a time limit ended, 'terminals' where the task "
        "ended, or give --episode_length, the rows after which the time limit ends one"
    )


def _after(last: np.ndarray, size: int, episode_length: int) -> np.ndarray:
    """`[n]` bool: rows that are the given number in their episode, whose marked ends are `last`."""
    starts = np.concatenate([[0], last[last < size - 1] + 1])
    row = np.arange(size)
    within = row - starts[np.searchsorted(starts, row, side="right") - 1]
    return within % episode_length == episode_length - 1
