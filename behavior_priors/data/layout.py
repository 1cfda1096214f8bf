"""Whole episodes as arrays: which there are, how their rows line up, and what they may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.data.metadata import EpisodeMetadata
from behavior_priors.data.names import check_name
from behavior_priors.data.shards import StoredArray
from behavior_priors.errors import UserError


@dataclasses.dataclass(frozen=True)
class EpisodeBatch:
    """Whole episodes, one after the other: `E` episodes with `T` steps in all.

    An episode of n steps has n actions and n + 1 observations, so that what its last action led to
    is kept. An episode that is not terminated was truncated.

    Attributes:
      observation: named arrays `[T + E, ...]`.
      action: `[T, action_size]` float32.
      length: `[E]` int32, steps of each episode, at least one.
      reward: `[T]` float32, of the step that the action made; NaN in all steps of an episode whose
        rewards are not known.
      terminated: `[E]` bool, the last step ended the task.
      success: `[E]` bool, the task's condition held after the last step.
      scene: `[E]` int32, index into the metadata's scene table.
      initial_state: named arrays `[E, ...]`: the state of the simulation from which the stored
        actions can be executed again.
      info: named arrays `[E, ...]`, whatever else is worth keeping of an episode.
    """

    observation: Mapping[str, np.ndarray]
    action: np.ndarray
    length: np.ndarray
    reward: np.ndarray | None = None
    terminated: np.ndarray | None = None
    success: np.ndarray | None = None
    scene: np.ndarray | None = None
    initial_state: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    info: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_padded(
        cls,
        observation: Mapping[str, Any],
        action: Any,
        length: Any,
        reward: Any = None,
        **per_episode: Any,
    ) -> EpisodeBatch:
        """Joins episodes that were recorded side by side, as a scan under `vmap` records them.

        Args:
          observation: named arrays `[E, T_max + 1, ...]`.
          action: `[E, T_max, action_size]`.
          length: `[E]`; what follows an episode's end is dropped.
          reward: `[E, T_max]`.
          **per_episode: the other attributes, as they are.
        """
        length = np.asarray(length)
        return cls(
            observation={name: unpad(x, length + 1) for name, x in observation.items()},
            action=unpad(action, length),
            length=length,
            reward=None if reward is None else unpad(reward, length),
            **per_episode,
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> EpisodeBatch:
        """Makes a batch of arrays under the names that they have in a shard."""
        fields: dict[str, Any] = {"observation": {}}
        for name, array in arrays.items():
            group, _, inner = name.partition("/")
            if inner:
                fields.setdefault(group, {})[inner] = array
            else:
                fields[group] = array
        return cls(**fields)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays under the names that they have in a shard, always in the same order."""
        arrays = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                for inner in sorted(value):
                    arrays[f"{field.name}/{inner}"] = np.asarray(value[inner])
            elif value is not None:
                arrays[field.name] = np.asarray(value, dtype=_DTYPES[field.name])
        return arrays


def pad(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Lays episodes side by side: `[sum(counts), ...]` to `[E, max(counts), ...]`, zeros after."""
    is_row = np.arange(counts.max(initial=0)) < counts[:, None]
    padded = np.zeros((*is_row.shape, *rows.shape[1:]), rows.dtype)
    padded[is_row] = rows
    return padded


def unpad(padded: Any, counts: np.ndarray) -> np.ndarray:
    """Joins episodes: `[E, T_max, ...]` to `[sum(counts), ...]`, dropping what is padding."""
    padded = np.asarray(padded)
    return padded[np.arange(padded.shape[1]) < counts[:, None]]


class Row(NamedTuple):
    """Shape and dtype of one row of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        """As messages show it, such as `float32[7]`."""
        return f"{self.dtype.name}{list(self.shape)}"


Layout = dict[str, Row]
"""The arrays that every shard of a dataset has."""


def required_layout(metadata: EpisodeMetadata) -> Layout:
    """The arrays that no shard may lack."""
    layout = {
        "action": Row((metadata.action_size,), _DTYPES["action"]),
        "length": Row((), _DTYPES["length"]),
    }
    for name, spec in metadata.observation.items():
        layout[f"observation/{name}"] = Row(tuple(spec.shape), np.dtype(spec.dtype))
    return layout


def rows_per_episode(name: str, lengths: np.ndarray) -> np.ndarray:
    """How many rows of the named array belong to each episode, `[E]`."""
    if name.startswith("observation/"):
        return lengths + 1
    return lengths if name in _PER_STEP else np.ones_like(lengths)


def check_layout(
    path: Path,
    arrays: Mapping[str, np.ndarray] | Mapping[str, StoredArray],
    metadata: EpisodeMetadata,
    before: Layout | None,
) -> Layout:
    """Checks names, shapes and dtypes of one shard's arrays.

    Args:
      path: the shard, for the message.
      arrays: what it holds; only shapes and dtypes are looked at.
      metadata: what it should hold.
      before: the layout of the shards before it; None for the first.

    Returns:
      The shard's layout.

    Raises:
      UserError: something is missing, unknown or different.
    """
    for name, array in arrays.items():
        if not array.shape:
            raise UserError(f"{path}: {name!r} is a single value; it should have rows")
    layout = {name: Row(tuple(array.shape[1:]), array.dtype) for name, array in arrays.items()}
    required = required_layout(metadata)
    expected = {**required, **_OPTIONAL} if before is None else before
    for name in required if before is None else before:
        if name not in layout:
            raise UserError(f"{path}: the array {name!r} is missing; every shard needs it")
    for name, row in layout.items():
        check_name(str(path), name)
        is_free = before is None and name.startswith(_FREE_GROUPS) and row.dtype.kind in "biuf"
        if name not in expected and not is_free:
            raise UserError(
                f"{path}: the array {name!r} ({row}) has no place there; metadata.json, the format "
                "and the shards before know " + ", ".join(sorted(expected))
            )
        if name in expected and row != expected[name]:
            raise UserError(f"{path}: rows of {name!r} are {row}; they should be {expected[name]}")
    return layout


def check_rows(
    path: Path,
    arrays: Mapping[str, np.ndarray] | Mapping[str, StoredArray],
    lengths: np.ndarray,
) -> None:
    """Checks that every array has the rows that the episodes' lengths call for.

    Raises:
      UserError: one has more or fewer.
    """
    for name, array in arrays.items():
        rows = int(rows_per_episode(name, lengths).sum())
        if array.shape[:1] != (rows,):
            raise UserError(
                f"{path}: {name!r} has shape {list(array.shape)}; its {len(lengths)} episodes "
                f"with {int(lengths.sum())} steps call for {rows} rows"
            )


def check_values(
    path: Path, name: str, array: np.ndarray, metadata: EpisodeMetadata, lengths: np.ndarray
) -> None:
    """Checks that what learning uses is finite, and that indices and lengths make sense.

    Args:
      path: the shard, for the message.
      name: of the array.
      array: its rows, of whole episodes.
      metadata: what it should hold.
      lengths: of these episodes.

    Raises:
      UserError: a value is not usable.
    """
    is_bad = np.zeros(1, bool)
    if name.startswith(_FINITE) and array.dtype.kind == "f":
        is_bad, rule = ~np.isfinite(array), "values must be finite"
        if name == "reward":
            is_bad &= ~np.repeat(unknown_rewards(array, lengths), lengths)
    elif name == "length":
        is_bad, rule = array < 1, "an episode has at least one step"
    elif name == "scene":
        count = len(metadata.scenes)
        is_bad, rule = (array < 0) | (array >= count), f"metadata.json lists {count} scenes"
    if is_bad.any():
        first = np.argwhere(is_bad)[0]
        raise UserError(
            f"{path}: {name!r} holds {array[tuple(first)]} in row {first[0]}; {rule}, "
            "so leave out such episodes"
        )


def unknown_rewards(reward: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Which episodes have no rewards, `[E]` bool: those whose rewards are NaN in every step."""
    if not len(lengths):
        return np.zeros(0, bool)
    return np.logical_and.reduceat(np.isnan(reward), np.cumsum(lengths) - lengths)


_DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "action": np.float32,
        "reward": np.float32,
        "length": np.int32,
        "scene": np.int32,
        "terminated": np.bool_,
        "success": np.bool_,
    }.items()
}
_OPTIONAL = {name: Row((), _DTYPES[name]) for name in ("reward", "terminated", "success", "scene")}
_PER_STEP = ("action", "reward")
_FINITE = ("observation/", "action", "reward")
_FREE_GROUPS = ("initial_state/", "info/")
