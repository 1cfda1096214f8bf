"""What episodes are like: lengths, ranges, saturation, gathered while they pass by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from behavior_priors.data.layout import EpisodeBatch, unknown_rewards

SATURATED = 0.99
"""Share of the limit beyond which an action counts as saturated."""

_VALUES = 2**18
"""Values that are looked at together, as many as a processor's cache holds."""


class Statistics:
    """Range, mean and standard deviation of rows that come bit by bit.

    They are kept for each entry of the last axis and shared along the axes before it: one for each
    element of a vector, each channel of an image.

    Attributes:
      shape: of a row.
      dtype: of a row.
      count: values seen of each entry.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.count = 0
        entries = self.shape[-1:]
        self._mean = np.zeros(entries)
        self._squares = np.zeros(entries)
        self._low = np.full(entries, np.inf)
        self._high = np.full(entries, -np.inf)

    def add(self, array: np.ndarray) -> None:
        """Takes rows `[n, *shape]` into account; the update is Chan, Golub and LeVeque's (1983)."""
        size = math.prod(self.shape)
        repeats = size // max(1, self._mean.size)  # how often an entry comes in a row
        rows = max(1, _VALUES // max(1, size))
        for start in range(0, len(array), rows):
            # whole rows are reduced first, because NumPy is slow over a short last axis
            chunk = array[start : start + rows].reshape(-1, size).astype(np.float64)
            added = len(chunk) * repeats
            mean = self._fold(chunk.sum(axis=0), np.sum) / added
            self._low = np.minimum(self._low, self._fold(chunk.min(axis=0), np.min))
            self._high = np.maximum(self._high, self._fold(chunk.max(axis=0), np.max))
            chunk -= np.tile(mean.reshape(-1), repeats)
            difference, count = mean - self._mean, self.count + added
            self._squares += self._fold(np.square(chunk, out=chunk).sum(axis=0), np.sum)
            self._squares += difference**2 * (self.count * added / count)
            self._mean += difference * (added / count)
            self.count = count

    def _fold(self, values: np.ndarray, reduce: Callable[..., np.ndarray]) -> np.ndarray:
        """Values of a row to values of each entry of its last axis."""
        return reduce(values.reshape(-1, *self.shape[-1:]), axis=0)

    def as_json(self) -> dict[str, Any]:
        """Shape, dtype, and a value for each entry, in the array's own units."""
        deviation = np.sqrt(self._squares / max(1, self.count))
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "min": self._low.tolist(),
            "max": self._high.tolist(),
            "mean": self._mean.tolist(),
            "std": deviation.tolist(),
        }


@dataclasses.dataclass
class Report:
    """What is known of the episodes that have been added.

    Attributes:
      limit: magnitude of an action that a robot can just carry out, a number or `[action_size]`.
    """

    limit: Any = 1.0
    _lengths: list[np.ndarray] = dataclasses.field(default_factory=list)
    _returns: list[np.ndarray] = dataclasses.field(default_factory=list)
    _arrays: dict[str, Statistics] = dataclasses.field(default_factory=dict)
    _terminated: int = 0
    _saturated: int = 0
    _unrewarded: int = 0
    _actions: int = 0

    def add(self, batch: EpisodeBatch) -> None:
        """Takes whole episodes into account."""
        arrays = {f"observation/{name}": array for name, array in batch.observation.items()}
        arrays["action"] = batch.action
        if batch.reward is not None:
            starts = np.cumsum(batch.length) - batch.length
            returns = np.add.reduceat(batch.reward.astype(np.float64), starts)
            unknown = unknown_rewards(batch.reward, batch.length)
            self._unrewarded += int(unknown.sum())
            if not unknown.all():
                arrays["reward"] = batch.reward[~np.repeat(unknown, batch.length)]
                self._returns.append(returns[~unknown])
        for name, array in arrays.items():
            if name not in self._arrays:
                self._arrays[name] = Statistics(array.shape[1:], array.dtype)
            self._arrays[name].add(array)
        self._lengths.append(batch.length)
        if batch.terminated is not None:
            self._terminated += int(batch.terminated.sum())
        self._saturated += int((np.abs(batch.action) > SATURATED * np.asarray(self.limit)).sum())
        self._actions += batch.action.size

    @property
    def num_episodes(self) -> int:
        """How many have been added."""
        return sum(map(len, self._lengths))

    def statistics(self) -> dict[str, Any]:
        """Those of each array, by its name in a shard."""
        return {name: array.as_json() for name, array in self._arrays.items()}

    def as_json(self) -> dict[str, Any]:
        """The rest as plain values; there is at least one episode."""
        lengths = np.concatenate(self._lengths)
        report: dict[str, Any] = {
            "episodes": len(lengths),
            "steps": int(lengths.sum()),
            "length_min": int(lengths.min()),
            "length_median": float(np.median(lengths)),
            "length_max": int(lengths.max()),
            "terminated": self._terminated,
            "truncated": len(lengths) - self._terminated,
            "action_saturation": self._saturated / self._actions,
        }
        if self._returns:
            returns = np.concatenate(self._returns)
            report["return_min"] = float(returns.min())
            report["return_mean"] = float(returns.mean())
            report["return_max"] = float(returns.max())
        if self._unrewarded:
            report["episodes_without_rewards"] = self._unrewarded
        return report


def lines(report: Mapping[str, Any], statistics: Mapping[str, Any]) -> list[str]:
    """Both as a few lines of text; an array's entries are summed up by their extremes."""
    text = [
        f"{report['episodes']} episodes, {report['steps']} steps; length {report['length_min']} "
        f"to {report['length_max']}, median {report['length_median']:g}; "
        f"{report['terminated']} terminated, {report['truncated']} truncated"
    ]
    width = max(map(len, statistics))
    for name, array in statistics.items():
        row = f"{array['dtype']}{array['shape']}"
        mean, std = np.atleast_1d(array["mean"]), np.atleast_1d(array["std"])
        text.append(
            f"{name:{width}s}  {row:14s}  from {np.min(array['min']):.4g} to "
            f"{np.max(array['max']):.4g}, mean {_between(mean)}, std {_between(std)}"
        )
    if "return_mean" in report:
        text.append(
            f"returns from {report['return_min']:.4g} to {report['return_max']:.4g}, "
            f"mean {report['return_mean']:.4g}"
        )
    if "episodes_without_rewards" in report:
        text.append(f"{report['episodes_without_rewards']} episodes have no rewards (NaN)")
    text.append(f"{report['action_saturation']:.2%} of the action entries are saturated")
    return text


def _between(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
