"""Episodes of rows `(observation, action, reward)`, and tables of such rows with marks at the ends.

A row's observation is what its action was chosen from. What an episode's last action led to is
known only where the file has the next observations too; otherwise the last observation is that of
the last row, whose action is left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from behavior_priors.data.layout import EpisodeBatch, Row
from behavior_priors.data.readers.base import (
    Batches,
    ReadConfig,
    Recording,
    Tally,
    only_good,
    reading,
)
from behavior_priors.data.readers.selection import (
    Chosen,
    as_float32,
    check_action,
    check_lengths,
    check_numbers,
    choose,
    missing_key,
    specs,
)
from behavior_priors.types import UserError

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

    def open(self, keys: Iterable[str]) -> AbstractContextManager[dict[str, Stream]]:
        """Begins to read some of the arrays, and holds the file open as long as it lasts."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of whole episodes.

    Attributes:
      observation: named arrays `[n, ...]`.
      action: `[n, action_size]`, or `[n]`.
      stops: `[E]`, the row after each episode's last one.
      terminated: `[n]` bool, the row's action ended the task.
      reward: `[n]`.
      next_observation: what the actions led to, where the file has it.
      state: named arrays `[n, ...]` of the simulation's state.
    """

    observation: Mapping[str, np.ndarray]
    action: np.ndarray
    stops: np.ndarray
    terminated: np.ndarray
    reward: np.ndarray | None = None
    next_observation: Mapping[str, np.ndarray] | None = None
    state: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def to_batch(rows: Rows, tally: Tally) -> tuple[EpisodeBatch, np.ndarray]:
    """Joins rows to episodes.

    Returns:
      The episodes that have an action, and the number `[E]` that each has among `rows.stops`.
    """
    stops = rows.stops
    starts = np.concatenate([[0], stops[:-1]])
    following = rows.next_observation
    steps = stops - starts if following is not None else stops - starts - 1
    kept = np.flatnonzero(steps > 0)
    is_kept = np.repeat(steps > 0, stops - starts)
    has_action = is_kept.copy()
    if following is None:
        has_action[stops - 1] = False
        tally.lost_actions += len(stops)
        tally.lost_terminations += int(rows.terminated[stops - 1].sum())
    tally.empty_episodes += len(stops) - len(kept)
    last = starts[kept] + steps[kept] - 1
    vectors = rows.action if rows.action.ndim == 2 else rows.action[:, None]
    observation = {}
    for name, array in rows.observation.items():
        if following is None:
            observation[name] = array if is_kept.all() else array[is_kept]
        else:
            observation[name] = np.insert(array, stops, following[name][stops - 1], axis=0)
    batch = EpisodeBatch(
        observation=observation,
        action=as_float32(vectors[has_action]),
        length=steps[kept].astype(np.int32),
        reward=None if rows.reward is None else as_float32(rows.reward[has_action]),
        terminated=rows.terminated[last],
        initial_state={name: array[starts[kept]] for name, array in rows.state.items()},
    )
    return batch, kept


def gaps(
    observation: Mapping[str, np.ndarray], following: Mapping[str, np.ndarray], stops: np.ndarray
) -> np.ndarray:
    """Rows `[g]` that begin an episode, unmarked: their observation is not the one announced."""
    size = int(stops[-1])
    differs = np.zeros(size - 1, bool)
    for name, array in observation.items():
        now, announced = array[1:], following[name][:-1]
        within_row = tuple(range(1, array.ndim))
        unequal = np.flatnonzero((now != announced).any(axis=within_row))
        close = np.isclose(now[unequal], announced[unequal], 1e-4, 1e-5)
        # NaN says nothing about what follows what; it is found later, in its episode
        known = np.isfinite(now[unequal]) & np.isfinite(announced[unequal])
        differs[unequal] |= (known & ~close).any(axis=within_row)
    differs[stops[:-1] - 1] = False
    return np.flatnonzero(differs) + 1


def read_table(
    path: Path, format_name: str, table: Table, config: ReadConfig, *, ends_task: bool
) -> Recording:
    """Finds episodes in a table whose rows `terminals` and `timeouts` divide.

    Args:
      path: the file, for messages.
      format_name: of the layout.
      table: its arrays.
      config: what is wanted.
      ends_task: `terminals` marks the end of the task, not just of the recording.

    Raises:
      UserError: keys are missing, arrays do not line up, or no row ends an episode.
    """
    for key in ("actions", "terminals"):
        if key not in table.rows:
            raise missing_key(path, key, table.rows)
    size = table.counts["actions"]
    action_size = check_action(path, "actions", table.rows["actions"])
    defaults = [k for k in table.rows if k.split("/")[0] in ("observations", "observation")]
    if not defaults and not config.observation:
        raise missing_key(path, "observations", table.rows)
    named = {*defaults, *(s.key for s in config.observation if s.key not in _NO_OBSERVATION)}
    per_row = {
        key: row
        for key, row in table.rows.items()
        if key in named or (table.counts[key] == size and key not in _NO_OBSERVATION)
    }
    chosen = choose(path, per_row, config.observation, defaults)
    following = {c.name: f"next_{c.key}" for c in chosen}
    has_next = all(key in table.rows for key in following.values())
    reward_key = "rewards" if config.rewards and "rewards" in table.rows else None
    states = [k for k in _STATES if k in table.rows]
    flags = [k for k in ("terminals", "timeouts", "masks") if k in table.rows]
    used = [c.key for c in chosen] + flags + states + ([reward_key] if reward_key else [])
    used += list(following.values()) if has_next else []
    for key in used:
        check_numbers(path, key, table.rows[key].dtype)
    check_lengths(path, {k: table.counts[k] for k in used}, size, "'actions'")
    for c in chosen if has_next else ():
        if table.rows[following[c.name]].shape != table.rows[c.key].shape:
            raise UserError(
                f"{path}: rows of {following[c.name]!r} are {table.rows[following[c.name]]}; they "
                f"should be {table.rows[c.key]}, as those of {c.key!r}"
            )
    for key in flags + ([reward_key] if reward_key else []):
        if table.rows[key].shape not in ((), (1,)):
            raise UserError(f"{path}: {key!r} is {table.rows[key]} a row; it should be one number")
    with reading(path), table.open(flags) as streams:
        flag = {key: read(size).reshape(size) for key, read in streams.items()}
    ended = flag["terminals"] != 0
    if "timeouts" in flag:
        ended |= flag["timeouts"] != 0
    if not ended.any():
        raise UserError(
            f"{path}: no row of {' or '.join(map(repr, flags[:2]))} marks the end of an episode; "
            "set it to true in each episode's last row"
        )
    notes = []
    if not ended[-1]:
        notes.append("the last episode is cut off by the end of the file; it counts as truncated")
        ended[-1] = True
    if "masks" in flag:
        terminated = flag["masks"] == 0
    else:
        terminated = (flag["terminals"] != 0) & ends_task
    if ends_task and "timeouts" not in flag:
        notes.append("there are no 'timeouts': 'terminals' alone divide it into episodes")
    stops = np.flatnonzero(ended) + 1
    layout = _Layout(path, chosen, following if has_next else None, reward_key, states)
    return Recording(
        path=path,
        format=format_name,
        observation=specs(chosen),
        keys={c.name: c.source for c in chosen},
        action_size=action_size,
        has_reward=reward_key is not None,
        num_episodes=len(stops),
        batches=lambda tally: _batches(layout, table, stops, terminated, config, tally),
        notes=notes,
    )


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Which arrays of a table are what; `following` has the keys of the next observations."""

    path: Path
    chosen: Sequence[Chosen]
    following: Mapping[str, str] | None
    reward: str | None
    states: Sequence[str]


def _batches(
    layout: _Layout,
    table: Table,
    stops: np.ndarray,
    terminated: np.ndarray,
    config: ReadConfig,
    tally: Tally,
) -> Batches:
    wanted = {"actions", *layout.states, *(c.key for c in layout.chosen)}
    wanted |= set((layout.following or {}).values()) | ({layout.reward} if layout.reward else set())
    bytes_per_row = sum(
        table.rows[key].dtype.itemsize * int(np.prod(table.rows[key].shape)) for key in wanted
    )
    keys = {f"observation/{c.name}": c.key for c in layout.chosen}
    keys |= {"action": "actions", "reward": "rewards"}
    number = start = 0
    with contextlib.ExitStack() as stack:
        with reading(layout.path):
            streams = stack.enter_context(table.open(wanted))
        while number < len(stops):
            limit = start + config.chunk_bytes // max(1, bytes_per_row)
            upto = max(number + 1, int(np.searchsorted(stops, limit, side="right")))
            stop = int(stops[upto - 1])
            with reading(layout.path):
                arrays = {key: read(stop - start) for key, read in streams.items()}
            observation = {c.name: c.take(arrays[c.key]) for c in layout.chosen}
            following, inner = None, stops[number:upto] - start
            numbers = np.arange(number, upto)
            if layout.following is not None:
                following = {
                    c.name: c.take(arrays[layout.following[c.name]]) for c in layout.chosen
                }
                found = gaps(observation, following, inner)
                tally.gaps += len(found)
                # an episode that is divided passes its number on to its parts
                divided = np.searchsorted(inner, found, side="right")
                numbers = np.insert(numbers, divided, numbers[divided])
                inner = np.sort(np.concatenate([inner, found]))
            rows = Rows(
                observation=observation,
                action=arrays["actions"],
                stops=inner,
                terminated=terminated[start:stop],
                reward=arrays[layout.reward].reshape(-1) if layout.reward else None,
                next_observation=following,
                state={key.rpartition("/")[2]: arrays[key] for key in layout.states},
            )
            batch, kept = to_batch(rows, tally)
            if len(kept):
                labels = [f"episode {numbers[k]}" for k in kept]
                batch = only_good(layout.path, batch, labels, keys, config, tally)
            if len(batch.length):
                yield batch
            number, start = upto, stop


_STATES = ("qpos", "qvel", "infos/qpos", "infos/qvel")
"""MuJoCo's state as OGBench and D4RL store it."""

_NO_OBSERVATION = ("actions", "terminals", "timeouts", "rewards", "masks")
