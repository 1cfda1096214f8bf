"""Episodes as arrays in memory, the way training wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from behavior_priors.data.bounds import check_units
from behavior_priors.data.episodes import EpisodeReader, EpisodeSelection
from behavior_priors.errors import UserError
from behavior_priors.keys import named_generator
from behavior_priors.types import ActionSpec, ArraySpec, ObservationSpec


def load_transitions(
    reader: EpisodeReader, names: Sequence[str], episodes: EpisodeSelection = None
) -> dict[str, Any]:
    """Loads pairs of observation and action; last observations have no action and are dropped.

    Args:
      reader: the dataset.
      names: the observations to load; no other is read.
      episodes: which; None for all of them.

    Returns:
      `{"observation": {name: [N, ...]}, "action": [N, action_size]}` in the order of the steps.

    Raises:
      UserError: a name is not in the dataset, there is no step, or a shard is damaged.
    """
    for name in names:
        _require_observation(reader, name)
    length = reader.read_array("length", episodes)
    if not len(length):
        raise UserError(f"{reader.directory}: holds no episode to learn from; collect more")
    last_rows = np.cumsum(length + 1) - 1
    observation = {
        name: np.delete(reader.read_array(f"observation/{name}", episodes), last_rows, axis=0)
        for name in names
    }
    return {"observation": observation, "action": reader.read_array("action", episodes)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """Pieces of episodes, all of the same length, that may overlap.

    Attributes:
      observation: arrays `[steps, ...]`, each step's own.
      action: `[steps, action_size]`.
      start: `[examples]` int32, the step that each piece begins with.
      length: of a piece, in steps.
      steps: `[examples]` int32, how many of these there are; None for all.
    """

    observation: Mapping[str, Any]
    action: Any
    start: Any
    length: int = field(metadata={"static": True})
    steps: Any = None

    def take(self, examples: Any) -> dict[str, Any]:
        """Some of the pieces, given by number `[n]`: arrays `[n, length, ...]`.

        Where pieces may be shorter, `counts` `[n, length]` says which steps there are.
        """
        index = np.arange(self.length)
        rows = self.start[examples][:, None] + index
        batch: dict[str, Any] = {}
        if self.steps is not None:
            batch["counts"] = index < self.steps[examples][:, None]
            rows = rows.clip(max=len(self.action) - 1)
        return batch | {
            "observation": {name: x[rows] for name, x in self.observation.items()},
            "action": self.action[rows],
        }


def load_windows(
    reader: EpisodeReader,
    names: Sequence[str],
    length: int,
    episodes: EpisodeSelection = None,
    stride: int = 1,
) -> Windows:
    """Loads pieces that lie within an episode each.

    Args:
      reader: the dataset.
      names: the observations to load; no other is read.
      length: of a piece, in steps.
      episodes: which; None for all of them.
      stride: steps between the beginnings of an episode's pieces.

    Raises:
      UserError: as `load_transitions`, or no episode is as long as a piece.
    """
    steps = load_transitions(reader, names, episodes)
    lengths = reader.read_array("length", episodes)
    first = np.cumsum(lengths) - lengths
    starts = [
        np.arange(begin, begin + n - length + 1, stride, dtype=np.int32)
        for begin, n in zip(first, lengths, strict=True)
        if n >= length
    ]
    if not starts:
        raise UserError(
            f"{reader.directory}: the longest episode has {lengths.max()} steps, but pieces of "
            f"{length} are wanted; use longer episodes or a shorter horizon"
        )
    return Windows(**steps, start=np.concatenate(starts), length=length)


def load_episodes(reader: EpisodeReader, length: int, episodes: EpisodeSelection = None) -> Windows:
    """Loads the actions of episodes, each from its beginning: pieces of at most so many steps.

    Args:
      reader: the dataset.
      length: of a piece, in steps; of a longer episode nothing beyond it is taken.
      episodes: which; None for all of them.

    Raises:
      UserError: as `load_transitions`.
    """
    steps = load_transitions(reader, (), episodes)
    lengths = reader.read_array("length", episodes)
    first = np.cumsum(lengths) - lengths
    return Windows(
        **steps,
        start=first.astype(np.int32),
        length=length,
        steps=np.minimum(lengths, length).astype(np.int32),
    )


def join(parts: Sequence[Any]) -> Any:
    """Several datasets as one, with the rows of one after those of the other.

    Args:
      parts: of one kind and with the same names: what `load_transitions` gives, or `Windows` of
        equal lengths.
    """
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Windows):
        rows = np.cumsum([0, *(len(part.action) for part in parts)])
        parts = [
            dataclasses.replace(part, start=(part.start + first).astype(part.start.dtype))
            for part, first in zip(parts, rows[:-1], strict=True)
        ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def split_by_episode(
    num_episodes: int, validation_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides episodes at random, so that no episode is seen on both sides.

    Args:
      num_episodes: how many there are.
      validation_fraction: share of the second part, which has at least one episode.
      seed: equal seeds give equal parts.

    Returns:
      Numbers of the episodes for training and for validation, each in increasing order.

    Raises:
      UserError: one part would be empty.
    """
    num_validation = max(1, round(validation_fraction * num_episodes))
    if not 0 < validation_fraction < 1 or num_validation >= num_episodes:
        raise UserError(
            f"{num_episodes} episodes cannot be split with validation_fraction="
            f"{validation_fraction}; at least 2 episodes and a fraction between 0 and 1 are needed"
        )
    order = named_generator(seed, "split").permutation(num_episodes)
    return np.sort(order[num_validation:]), np.sort(order[:num_validation])


def observation_spec_from_data(
    observation: Mapping[str, np.ndarray], minimum_scale: float = 1e-2
) -> dict[str, ArraySpec]:
    """Specs whose location and scale are the data's mean and standard deviation.

    Both are taken for each entry of the last axis and shared along the axes before it: one for each
    element of a vector, each component in a list of poses, each channel of an image.

    Args:
      observation: named arrays `[N, ...]`.
      minimum_scale: floor of the scale in the array's own units, for what hardly varies.
    """
    return {
        name: _array_spec_from_data(array, minimum_scale) for name, array in observation.items()
    }


def check_compatible(
    reader: EpisodeReader,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    info: Mapping[str, Any] | None = None,
) -> list[str]:
    """Checks that a dataset can teach about an environment; it may hold further observations.

    Args:
      reader: the dataset.
      observation_spec: of the environment, what shall be learned from.
      action_spec: of the environment.
      info: the environment's `Env.info`, which may say what its own bounds of actions are.

    Returns:
      What is doubtful about the units of the actions, in a line each.

    Raises:
      UserError: an observation is missing, dimensions or dtypes differ, or the actions are clearly
        in other units.
    """
    for name, spec in observation_spec.items():
        _require_observation(reader, name)
        stored = reader.layout[f"observation/{name}"]
        if (stored.shape, stored.dtype) != (tuple(spec.shape), np.dtype(spec.dtype)):
            raise UserError(
                f"{reader.directory}: observation {name!r} is {stored} there, but the environment "
                f"has {np.dtype(spec.dtype).name}{list(spec.shape)}; use data collected in it, or "
                "let the networks see others (such as --flow.observation)"
            )
    if reader.metadata.action_size != action_spec.size:
        raise UserError(
            f"{reader.directory}: actions have {reader.metadata.action_size} dimensions there, but "
            f"{action_spec.size} in the environment; use data collected in it"
        )
    return check_units(reader, action_spec, info or {})


def _require_observation(reader: EpisodeReader, name: str) -> None:
    names = reader.metadata.observation
    if name not in names:
        raise UserError(
            f"{reader.directory}: there is no observation {name!r}; there are "
            f"{', '.join(sorted(names))}; only what the networks see has to be there, so let them "
            "see these (such as --flow.observation), or convert it with --observation=NAME=KEY"
        )


def _array_spec_from_data(array: np.ndarray, minimum_scale: float) -> ArraySpec:
    """One array's spec; float64 copies are made of some rows at a time, so that images fit."""
    entries_shape = array.shape[1:][-1:]
    rows = array.reshape(-1, *entries_shape)
    chunks = [slice(start, start + 65536) for start in range(0, len(rows), 65536)]
    mean = sum(rows[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    variance = sum(np.square(rows[chunk] - mean).sum(axis=0) for chunk in chunks) / len(rows)
    return ArraySpec(
        shape=array.shape[1:],
        dtype=array.dtype,
        location=np.float32(mean),
        scale=np.float32(np.maximum(np.sqrt(variance), minimum_scale)),
    )
