"""Files that are one table: rows of all episodes, one after the other, with marks at the ends."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from behavior_priors.data.paths import system_said
from behavior_priors.data.readers.base import (
    Batches,
    ReadConfig,
    Recording,
    Table,
    Tally,
    only_good,
    reading,
)
from behavior_priors.data.readers.ends import Ends, find_ends
from behavior_priors.data.readers.gaps import find_gaps
from behavior_priors.data.readers.rows import Rows, to_batch
from behavior_priors.data.readers.selection import (
    Chosen,
    check_action,
    check_lengths,
    check_numbers,
    choose,
    missing_key,
    specs,
    split_numbers,
)
from behavior_priors.errors import UserError


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
    notes: list[str] = []
    _require(path, table, "actions")
    for key in ("timeouts", "masks"):
        if key in table.problems:
            _require(path, table, key)
    if config.episode_length is None or "terminals" in table.problems:
        _require(path, table, "terminals")
    size = table.counts["actions"]
    action_size = check_action(path, "actions", table.rows["actions"])
    chosen = _choose(path, table, config, size, notes)
    following = {c.name: f"next_{c.key}" for c in chosen if f"next_{c.key}" in table.rows}
    notes += _about_following(table, chosen, following)
    reward_key = "rewards" if config.rewards and "rewards" in table.rows else None
    if config.rewards and "rewards" in table.problems:
        notes.append(f"'rewards' are left out, they cannot be read: {table.problems['rewards']}")
    flags = [k for k in ("terminals", "timeouts", "masks") if k in table.rows]
    used = [c.key for c in chosen] + flags + ([reward_key] if reward_key else [])
    used += list(following.values())
    for key in used:
        check_numbers(path, key, table.rows[key].dtype)
    check_lengths(path, {k: table.counts[k] for k in used}, size, "'actions'")
    for c in chosen:
        if c.name in following and not c.takes(table.rows[following[c.name]]):
            raise UserError(
                f"{path}: rows of {following[c.name]!r} are {table.rows[following[c.name]]}; they "
                f"should be {table.rows[c.key]}, as those of {c.key!r}"
            )
    for key in flags + ([reward_key] if reward_key else []):
        if table.rows[key].shape not in ((), (1,)):
            raise UserError(f"{path}: {key!r} is {table.rows[key]} a row; it should be one number")
    with reading(path), table.open(flags) as streams:
        flag = {key: read(size).reshape(size) for key, read in streams.items()}
    observed = [key for key in table.rows if key.split("/")[0] in _GROUPS]
    gaps = find_gaps(path, table, size, [[c.key for c in chosen], observed], config)
    ends = find_ends(path, flag, size, config.episode_length, gaps, ends_task=ends_task)
    states = _readable_states(path, table, size, config, notes)
    is_complete = len(following) == len(chosen)
    layout = _Layout(path, chosen, following if is_complete else None, reward_key, states)
    return Recording(
        path=path,
        format=format_name,
        observation=specs(chosen),
        keys={c.name: c.source for c in chosen},
        action_size=action_size,
        has_reward=reward_key is not None,
        num_episodes=len(ends.stops),
        batches=lambda tally: _batches(layout, table, ends, config, tally),
        notes=[*ends.notes, *notes],
    )


def _about_following(
    table: Table, chosen: Sequence[Chosen], following: Mapping[str, str]
) -> list[str]:
    """Why last actions are left out, where the file has what some of them led to."""
    without = [c.key for c in chosen if c.name not in following]
    unreadable = [f"next_{key}" for key in without if f"next_{key}" in table.problems]
    notes = [f"{key!r} is left out, it cannot be read: {table.problems[key]}" for key in unreadable]
    if following and without:
        notes.append(f"{without[0]!r} has no 'next_{without[0]}': last actions are left out")
    return notes


def _require(path: Path, table: Table, key: str) -> None:
    if key in table.problems:
        raise UserError(f"{path}: {key!r} cannot be read: {table.problems[key]}; get it again")
    if key not in table.rows:
        raise missing_key(path, key, table.rows)


def _choose(
    path: Path, table: Table, config: ReadConfig, size: int, notes: list[str]
) -> list[Chosen]:
    """Finds the wanted observations among arrays of as many rows as there are actions."""
    for selection in config.observation:
        if selection.key in table.problems:
            _require(path, table, selection.key)
    defaults = [key for key in table.rows if key.split("/")[0] in _GROUPS]
    if not config.observation:
        unreadable = [key for key in table.problems if key.split("/")[0] in _GROUPS]
        if not defaults:
            _require(path, table, unreadable[0] if unreadable else "observations")
        defaults, said = split_numbers(table.rows, defaults)
        notes += said
        notes += [
            f"{key!r} is left out, it cannot be read: {table.problems[key]}" for key in unreadable
        ]
    named = {*defaults, *(s.key for s in config.observation if s.key not in _NO_OBSERVATION)}
    per_row = {
        key: row
        for key, row in table.rows.items()
        if key in named or (table.counts[key] == size and key not in _NO_OBSERVATION)
    }
    return choose(path, per_row, config.observation, defaults, config.image_axes)


def _readable_states(
    path: Path, table: Table, size: int, config: ReadConfig, notes: list[str]
) -> list[str]:
    """The arrays of the simulation's state that line up and can be read to their end."""
    states = []
    for key in _STATES:
        problem = table.problems.get(key, "")
        if key in table.rows:
            problem = _state_problem(path, table, key, size, config)
            if not problem:
                states.append(key)
        if problem:
            notes.append(f"{key!r} is left out: {problem}")
    return states


def _state_problem(path: Path, table: Table, key: str, size: int, config: ReadConfig) -> str:
    """Why an array of the simulation's state cannot be used; empty if it can."""
    row = table.rows[key]
    if table.counts[key] != size:
        return f"it has {table.counts[key]} rows where 'actions' has {size}"
    if row.dtype.kind not in "biuf":
        return f"it holds {row.dtype}"
    step = max(1, config.chunk_bytes // max(1, row.dtype.itemsize * math.prod(row.shape)))
    try:
        with reading(path), table.open([key]) as streams:
            for start in range(0, size, step):
                streams[key](min(step, size - start))
    except UserError as error:
        return f"it cannot be read ({system_said(error.__cause__ or error)})"
    return ""


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
    ends: Ends,
    config: ReadConfig,
    tally: Tally,
) -> Batches:
    stops = ends.stops
    tally.gaps += ends.unmarked
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
            following = None
            if layout.following is not None:
                following = {
                    c.name: c.take(arrays[layout.following[c.name]]) for c in layout.chosen
                }
            rows = Rows(
                observation=observation,
                action=arrays["actions"],
                stops=stops[number:upto] - start,
                terminated=ends.terminated[start:stop],
                reward=arrays[layout.reward].reshape(-1) if layout.reward else None,
                next_observation=following,
                state={key.rpartition("/")[2]: arrays[key] for key in layout.states},
            )
            batch, kept = to_batch(rows, tally)
            if len(kept):
                labels = [f"episode {number + k}" for k in kept]
                batch = only_good(layout.path, batch, labels, keys, config, tally)
            if len(batch.length):
                yield batch
            number, start = upto, stop


_STATES = ("qpos", "qvel", "infos/qpos", "infos/qvel")
"""MuJoCo's state as OGBench and D4RL store it."""

_GROUPS = ("observations", "observation")

_NO_OBSERVATION = ("actions", "terminals", "timeouts", "rewards", "masks")
