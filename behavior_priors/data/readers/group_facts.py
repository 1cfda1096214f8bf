"""What each episode of a file has besides observations and actions, and what it lacks.

What an episode lacks is missing of this episode only: its rewards are NaN, its state is NaN, its
flags are false. Notes say what is missing, and where.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from behavior_priors.data.paths import system_said
from behavior_priors.data.readers.base import ReadConfig, few
from behavior_priors.data.readers.groups import GroupLayout, Groups, ReadFn, in_group
from behavior_priors.data.readers.selection import Chosen
from behavior_priors.errors import UserError
from behavior_priors.observations import name_of


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a file's episodes, each by its label.

    Attributes:
      reward: they have rewards.
      following: they have what their last action led to.
      terminated: their last action ended the task.
      success: the task's condition held at last; None where the file does not say.
      state: named arrays of the simulation's first state, equal in their dtype, NaN where there is
        none.
    """

    reward: Mapping[str, bool]
    following: Mapping[str, bool]
    terminated: Mapping[str, bool]
    success: Mapping[str, bool | None]
    state: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def has_reward(self) -> bool:
        """An episode at least has rewards."""
        return any(self.reward.values())

    @property
    def has_success(self) -> bool:
        """It is known of an episode at least whether it succeeded."""
        return any(known is not None for known in self.success.values())


def read_facts(
    groups: Groups,
    layout: GroupLayout,
    chosen: Sequence[Chosen],
    config: ReadConfig,
    notes: list[str],
) -> Facts:
    """Reads what is small of every episode: flags of its last row, state of its first.

    Args:
      groups: the episodes.
      layout: how arrays are called.
      chosen: the observations.
      config: what is wanted.
      notes: gets one on all that only some episodes have.

    Raises:
      UserError: a flag cannot be read.
    """
    labels = list(groups.episodes)
    with groups.open() as read:
        optional = _Optional(groups, read)
        reward = {
            x: config.rewards and optional.can_read(x, "rewards", slice(None)) for x in labels
        }
        if config.rewards:
            _note(optional, "rewards", reward, "NaN there", notes)
        following = {x: _has_following(optional, x, layout, chosen) for x in labels}
        if layout.following is not None:
            rule = "their last actions are left out"
            _note(optional, layout.following, following, rule, notes)
        flags = {x: _last(optional, x, layout.ended) for x in labels}
        ended = {x: flag is not None for x, flag in flags.items()}
        _note(optional, layout.ended, ended, "they count as truncated", notes)
        if not any(ended.values()):
            notes.append(f"there are no {layout.ended!r}: every episode counts as truncated")
        success = _successes(optional, layout, notes)
        state = _states(groups, layout, read, notes)
    return Facts(reward, following, {x: bool(flags[x]) for x in labels}, success, state)


class _Optional:
    """The arrays that episodes need not have, and what is wrong with those that are of no use.

    Attributes:
      groups: the episodes.
    """

    def __init__(self, groups: Groups, read: ReadFn) -> None:
        self.groups = groups
        self._read = read
        self._problems: dict[str, dict[str, str]] = {
            label: {key: found.problem for key, found in arrays.items() if found.problem}
            for label, arrays in groups.episodes.items()
        }

    def read(self, label: str, key: str, rows: slice) -> np.ndarray | None:
        """Rows of an array; None where an episode has none that can be read."""
        if self.groups.find(label, key) is None:
            return None
        try:
            return self._read(label, key, rows)
        except UserError as error:
            self.add(label, key, system_said(error.__cause__ or error))
            return None

    def can_read(self, label: str, key: str, rows: slice) -> bool:
        """Whether an episode has rows of an array, and they can be read."""
        return self.read(label, key, rows) is not None

    def add(self, label: str, key: str, problem: str) -> None:
        """Remembers why an array is of no use."""
        self._problems[label][key] = problem

    def problems(self, label: str, key: str) -> list[str]:
        """What is wrong with an episode's arrays in a group, or with the one array."""
        return [problem for x, problem in self._problems[label].items() if in_group(x, key)]


def _note(
    optional: _Optional, key: str, has: Mapping[str, bool], rule: str, notes: list[str]
) -> None:
    """Says which episodes lack an array that others have, or what is wrong with it in all."""
    missing = [label for label, is_there in has.items() if not is_there]
    problems = [problem for label in missing for problem in optional.problems(label, key)]
    if len(missing) == len(has) and problems:
        notes.append(f"{key!r} is left out, it cannot be read: {problems[0]}")
    elif 0 < len(missing) < len(has):
        why = f"cannot be read ({problems[0]})" if problems else "is missing"
        notes.append(f"{key!r} {why} in {few(missing, len(has))}: {rule}")


def _has_following(
    optional: _Optional, label: str, layout: GroupLayout, chosen: Sequence[Chosen]
) -> bool:
    size = optional.groups.episodes[label]["actions"].count
    keys = [layout.following_key(c) for c in chosen]
    last = slice(max(0, size - 1), size)
    return all(key is not None and optional.can_read(label, key, last) for key in keys)


def _last(optional: _Optional, label: str, key: str) -> float | None:
    """The number in an array's last row, None where there is none."""
    found = optional.groups.find(label, key)
    if found is None or not found.count or found.row.dtype.kind not in "biuf":
        return None
    values = optional.read(label, key, slice(found.count - 1, found.count))
    if values is None or values.size != 1:
        return None
    if np.isnan(value := float(values.reshape(-1)[0])):
        optional.add(label, key, "its last row is nan")
        return None
    return value


def _successes(
    optional: _Optional, layout: GroupLayout, notes: list[str]
) -> dict[str, bool | None]:
    """In each episode, the last row of the first of the flags that it has."""
    labels = list(optional.groups.episodes)
    values = {label: _success(optional, label, layout) for label in labels}
    known = {label: value for label, value in values.items() if value is not None}
    key = next((key for key, _ in known.values()), "")
    if shares := [value for _, value in known.values() if value not in (0.0, 1.0)]:
        notes.append(f"{key!r} is left out, because it is no yes or no: {shares[0]:g}")
        return dict.fromkeys(labels)
    has = {label: label in known for label in labels}
    for flag in [key] if key else layout.success:
        _note(optional, flag, has, "false there, as is 'info/has_success'", notes)
    return {label: bool(known[label][1]) if label in known else None for label in labels}


def _success(optional: _Optional, label: str, layout: GroupLayout) -> tuple[str, float] | None:
    """Which flag an episode has, and what that says at last."""
    steps = optional.groups.episodes[label]["actions"].count
    for key in layout.success:
        found = optional.groups.find(label, key)
        # the first row may be of the reset
        if found is not None and found.count not in (steps, steps + 1):
            optional.add(label, key, f"it has {found.count} rows of {steps} steps")
        elif (value := _last(optional, label, key)) is not None:
            return key, value
    return None


def _states(
    groups: Groups, layout: GroupLayout, read: ReadFn, notes: list[str]
) -> dict[str, dict[str, np.ndarray]]:
    """The first row of each array of the simulation's state, by episode and name."""
    states: dict[str, dict[str, np.ndarray]] = {label: {} for label in groups.episodes}
    every = dict.fromkeys(
        key for arrays in groups.episodes.values() for key in arrays if in_group(key, layout.states)
    )
    for key in every:
        first: dict[str, np.ndarray] = {}
        wrong: dict[str, str] = {}
        for label in groups.episodes:
            value = _first_state(groups, layout, read, label, key)
            if isinstance(value, np.ndarray) and first:
                shape = next(iter(first.values())).shape
                if value.shape != shape:
                    value = f"it has the shape {list(value.shape)} a row, others {list(shape)}"
            if isinstance(value, str):
                wrong[label] = value
            else:
                first[label] = value
        if wrong:
            which = few(list(wrong), len(states)) if first else "all episodes"
            notes.append(f"{key!r} is left out of {which}: {next(iter(wrong.values()))}")
        if not first:
            continue
        inner = key.removeprefix(layout.states).strip("/")
        name = name_of(inner.split("/")) if inner else layout.states
        dtype = np.result_type(*first.values())
        if wrong and dtype.kind != "f":
            dtype = np.dtype(np.float64)
        absent = np.full(next(iter(first.values())).shape, np.nan if wrong else 0, dtype)
        for label in groups.episodes:
            states[label][name] = first.get(label, absent).astype(dtype)
    return states


def _first_state(
    groups: Groups, layout: GroupLayout, read: ReadFn, label: str, key: str
) -> np.ndarray | str:
    """The first row of an array of states, or why there is none."""
    found = groups.episodes[label].get(key)
    size = groups.episodes[label]["actions"].count + layout.extra_rows
    if found is None:
        return "it is missing"
    if found.problem:
        return f"it cannot be read ({found.problem})"
    if found.count != size:
        return f"it has {found.count} rows where {size} are expected"
    if not size:
        return "it is empty"
    if found.row.dtype.kind not in "biuf":
        return f"it holds {found.row.dtype}"
    try:
        return read(label, key, slice(0, 1))[0]
    except UserError as error:
        return f"it cannot be read ({system_said(error.__cause__ or error)})"
