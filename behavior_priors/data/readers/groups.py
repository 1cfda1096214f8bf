"""Files in which every episode has arrays of its own: what they hold, and checks of it.

What learning needs, observations and actions, every episode must have, in the same shape. Dtypes
may differ, where the same becomes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from behavior_priors.data.layout import Row
from behavior_priors.data.readers.base import ReadConfig, few
from behavior_priors.data.readers.selection import (
    Chosen,
    check_action,
    check_lengths,
    check_numbers,
    choose,
    missing_key,
    split_numbers,
)
from behavior_priors.errors import UserError


@dataclasses.dataclass(frozen=True)
class Found:
    """An array in a file, which may be closed meanwhile.

    Attributes:
      count: number of rows.
      row: shape and dtype of each.
      problem: why it cannot be read; empty if it can.
      is_jpeg: its images are encoded so.
    """

    count: int
    row: Row
    problem: str = ""
    is_jpeg: bool = False


ReadFn = Callable[[str, str, slice], np.ndarray]
"""`(label of an episode, key, rows)`; raises a `UserError` if they cannot be read."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """The episodes of a file.

    Attributes:
      path: the file, or its folder.
      episodes: arrays by key, by the label of their episode, such as `data/demo_0`.
      open: begins to read, and holds the file open as long as it lasts.
    """

    path: Path
    episodes: Mapping[str, Mapping[str, Found]]
    open: Callable[[], AbstractContextManager[ReadFn]]

    def find(self, label: str, key: str) -> Found | None:
        """An array of an episode, if it is there and can be read."""
        found = self.episodes[label].get(key)
        return None if found is None or found.problem else found


@dataclasses.dataclass(frozen=True)
class GroupLayout:
    """How a layout calls the arrays of an episode.

    Attributes:
      name: of the layout.
      observation: the group of the observations, or the one array.
      following: the group of what actions led to, which an episode may lack; None where there is
        one observation more than actions.
      ended: the flag whose last row says that the task ended.
      needs_ended: no episode may lack it.
      success: flags whose last row says that the task's condition held, the first of them that is
        there.
      states: the group of the simulation's states, or the one array; empty for none.
      without_observations: what helps where there are none.
    """

    name: str
    observation: str
    following: str | None
    ended: str
    needs_ended: bool = False
    success: Sequence[str] = ()
    states: str = ""
    without_observations: str = ""

    @property
    def extra_rows(self) -> int:
        """How many more observations than actions an episode has."""
        return 1 if self.following is None else 0

    def following_key(self, chosen: Chosen) -> str | None:
        """Where what actions led to is found, of an observation."""
        if self.following is None or not in_group(chosen.key, self.observation):
            return None
        return self.following + chosen.key.removeprefix(self.observation)


def in_group(key: str, group: str) -> bool:
    """Whether an array lies in a group, or is all of it."""
    return bool(group) and (key == group or key.startswith(f"{group}/"))


def choose_observations(
    groups: Groups, layout: GroupLayout, config: ReadConfig, notes: list[str]
) -> list[Chosen]:
    """Finds the wanted observations, in the first episode.

    Args:
      groups: the episodes, one at least.
      layout: how arrays are called.
      config: what is wanted.
      notes: gets one on what is left out.

    Raises:
      UserError: there are none, or what is wanted is absent or cannot be read.
    """
    label, first = next(iter(groups.episodes.items()))
    readable = {key: found.row for key, found in first.items() if not found.problem}
    defaults = [] if config.observation else _defaults(groups, layout, readable, notes)
    for selection in config.observation:
        asked = first.get(selection.key) or first.get(f"{layout.observation}/{selection.key}")
        if asked is not None and asked.problem:
            raise _unreadable(groups.path, f"{label}/{selection.key}", asked)
    roles = ("actions", "rewards", "truncations", "truncated", layout.ended, layout.following or "")
    offered = {k: row for k, row in readable.items() if not any(in_group(k, r) for r in roles)}
    chosen = choose(groups.path, offered, config.observation, defaults, config.image_axes)
    if encoded := [c.key for c in chosen if first[c.key].is_jpeg]:
        notes.append(f"{', '.join(encoded)}: stored as JPEG, so the pixels are not exact")
    return chosen


def _defaults(
    groups: Groups, layout: GroupLayout, readable: Mapping[str, Row], notes: list[str]
) -> list[str]:
    """The observations of numbers that are readable in every episode; notes are of the others."""
    total, label = len(groups.episodes), next(iter(groups.episodes))
    unreadable: dict[str, list[str]] = {}
    for other, arrays in groups.episodes.items():
        for key, found in arrays.items():
            if found.problem and in_group(key, layout.observation):
                unreadable.setdefault(key, []).append(other)
    keys = [key for key in readable if in_group(key, layout.observation)]
    defaults = [key for key in keys if key not in unreadable]
    if not defaults and unreadable:
        key, where = next(iter(unreadable.items()))
        raise _unreadable(groups.path, f"{where[0]}/{key}", groups.episodes[where[0]][key])
    if not defaults:
        there = (f"{label}/{key}" for key in groups.episodes[label])
        error = missing_key(groups.path, f"{label}/{layout.observation}", there)
        raise UserError(f"{error}{layout.without_observations}")
    _check_first_has_all(groups, layout)
    for key, where in unreadable.items():
        why = groups.episodes[where[0]][key].problem
        within = "" if len(where) == total else f" in {few(where, total)}"
        notes.append(f"{key!r} is left out, it cannot be read{within}: {why}")
    defaults, said = split_numbers(readable, defaults)
    notes += said
    return defaults


def _check_first_has_all(groups: Groups, layout: GroupLayout) -> None:
    """No observation is left out because the first episode happens to lack it."""
    label, first = next(iter(groups.episodes.items()))
    for other, arrays in groups.episodes.items():
        for key in arrays:
            if in_group(key, layout.observation) and key not in first:
                raise UserError(
                    f"{groups.path}: has no '{label}/{key}', as {other!r} has; name the arrays "
                    "that all episodes have with --observation"
                )


def check_actions(groups: Groups) -> int:
    """The length of an action, which is the same in all episodes.

    Raises:
      UserError: an episode has none, or other ones, or they are no vectors of real numbers.
    """
    sizes: dict[str, int] = {}
    for label, arrays in groups.episodes.items():
        where = f"{label}/actions"
        if any(key.startswith("actions/") for key in arrays):
            raise UserError(
                f"{groups.path}: {where!r} are several arrays, of a dictionary or a tuple; they "
                "should be one vector of floating-point numbers"
            )
        row = _require(groups, label, "actions").row
        sizes[label] = check_action(groups.path, where, row)
        before = next(iter(sizes))
        if sizes[label] != sizes[before]:
            raise UserError(
                f"{groups.path}: rows of {where!r} are {row}; in the episodes before they are "
                f"{groups.episodes[before]['actions'].row}"
            )
    return sizes[before]


def check_episode(
    groups: Groups, label: str, layout: GroupLayout, chosen: Sequence[Chosen], config: ReadConfig
) -> None:
    """Checks that an episode's arrays line up, and are as in the first episode.

    Raises:
      UserError: something is missing, or of another shape or length.
    """
    path, size = groups.path, groups.episodes[label]["actions"].count
    than = f"'{label}/actions'"
    for c in chosen:
        found = _require(groups, label, c.key)
        check_numbers(path, f"{label}/{c.key}", found.row.dtype)
        if not c.takes(found.row):
            raise UserError(
                f"{path}: rows of '{label}/{c.key}' are {found.row}; in the episodes before they "
                f"are {c.row}"
            )
        wide = f"{than} with its {size} rows" if layout.extra_rows else than
        check_lengths(path, {f"{label}/{c.key}": found.count}, size + layout.extra_rows, wide)
        following = groups.find(label, layout.following_key(c) or "")
        if following is not None:
            where = f"{label}/{layout.following_key(c)}"
            check_numbers(path, where, following.row.dtype)
            check_lengths(path, {where: following.count}, size, than)
            if not c.takes(following.row):
                raise UserError(
                    f"{path}: rows of {where!r} are {following.row}; those of '{label}/{c.key}' "
                    f"are {found.row}"
                )
    if layout.needs_ended:
        _require(groups, label, layout.ended)
    for key in (layout.ended, *(["rewards"] if config.rewards else [])):
        per_step = groups.find(label, key)
        if per_step is not None:
            where, row = f"{label}/{key}", per_step.row
            check_numbers(path, where, row.dtype)
            check_lengths(path, {where: per_step.count}, size, than)
            if row.shape not in ((), (1,)):
                raise UserError(f"{path}: {where!r} is {row} a row; it should be one number")


def _require(groups: Groups, label: str, key: str) -> Found:
    found = groups.episodes[label].get(key)
    if found is None:
        there = (f"{label}/{k}" for k in groups.episodes[label])
        raise missing_key(groups.path, f"{label}/{key}", there)
    if found.problem:
        raise _unreadable(groups.path, f"{label}/{key}", found)
    return found


def _unreadable(path: Path, where: str, found: Found) -> UserError:
    return UserError(f"{path}: {where!r} cannot be read: {found.problem}; get the file again")
