"""Units of actions: what a dataset's mean, and whether an environment means the same.

Actions in a dataset are in [-1, 1], whatever a robot's are. A dataset in other units trains like
any other, and its prior does nothing of use. The bounds that actions were mapped from are therefore
kept, and what a dataset's actions fill of [-1, 1] is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from behavior_priors.config.ranges import LARGEST
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec

KEY = "action_bounds"
"""Where a dataset's metadata keep bounds, in `extra`: `low`, `high`, and whose they are, `from`."""

TINY = 0.1
"""Share of the bounds within which the actions of every dimension cannot be meant so."""

SMALL = 0.3
"""Share of the bounds within which that is doubtful."""

UNUSED = 0.05
"""Share of the bounds within which those of one dimension are doubtful, if others are larger."""

NARROW = 0.5
"""Half the range of an environment's own bounds below which they can be told from [-1, 1]."""

BY_HAND = "--action_low and --action_high"
"""Source of bounds that the user has written down."""

_BEYOND = 1.001
_RARE = 0.01
"""Share of the steps that may go beyond the bounds: rounding, or a few unclipped actions."""


class Bounds(NamedTuple):
    """Of actions, in the units of whoever takes them.

    Attributes:
      low: `[action_size]`.
      high: `[action_size]`.
      source: whose they are, for messages.
    """

    low: np.ndarray
    high: np.ndarray
    source: str

    @classmethod
    def read(cls, low: Any, high: Any, size: int, source: str) -> Bounds | None:
        """Makes bounds of numbers that somebody else wrote; None where they are no bounds."""
        try:
            arrays = [np.asarray(x, np.float64).reshape(-1) for x in (low, high)]
            low, high = (np.broadcast_to(x, (size,)) for x in arrays)
        except (TypeError, ValueError, OverflowError):
            return None
        # whoever writes down the largest float32 means that there are none
        if not (np.maximum(np.abs(low), np.abs(high)) <= LARGEST).all():
            return None
        # actions between narrower ones would be lost
        return cls(low, high, source) if (high - low >= 1 / LARGEST).all() else None

    @property
    def half(self) -> np.ndarray:
        """Half the range, `[action_size]`."""
        return (self.high - self.low) / 2

    def are_unit(self) -> bool:
        """Whether they are -1 and 1, and nothing has to be mapped."""
        return self.equal(Bounds(-np.ones(self.low.size), np.ones(self.low.size), ""))

    def equal(self, other: Bounds) -> bool:
        """Whether both are the same, up to rounding."""
        close = 1e-3 * self.half
        low, high = np.abs(self.low - other.low), np.abs(self.high - other.high)
        return bool((low <= close).all() and (high <= close).all())

    def as_json(self) -> dict[str, Any]:
        """For a dataset's metadata."""
        return {"low": self.low.tolist(), "high": self.high.tolist(), "from": self.source}

    def __str__(self) -> str:
        """As messages show them: `[-3, 2], [-0.6, 0.6]`, one for all dimensions that agree."""
        pairs = [f"[{a:.4g}, {b:.4g}]" for a, b in zip(self.low, self.high, strict=True)]
        return pairs[0] if len(set(pairs)) == 1 else ", ".join(pairs)


def bounds_of(info: Mapping[str, Any], size: int, source: str = "the environment") -> Bounds | None:
    """An environment's own bounds from its `Env.info`; None where it has no others than ours."""
    if "action_low" not in info:
        return None
    return Bounds.read(info["action_low"], info["action_high"], size, source)


def stored_bounds(reader: EpisodeReader) -> Bounds | None:
    """What a dataset's actions were mapped from; None where nobody said."""
    said = reader.metadata.extra.get(KEY)
    if not isinstance(said, dict):
        return None
    size, source = reader.metadata.action_size, str(said.get("from"))
    return Bounds.read(said.get("low"), said.get("high"), size, source)


def check_units(
    reader: EpisodeReader, action_spec: ActionSpec, info: Mapping[str, Any]
) -> list[str]:
    """Compares the units of a dataset's actions with an environment's.

    Args:
      reader: the dataset.
      action_spec: of the environment; unbounded actions have no units.
      info: the environment's `Env.info`, with `action_low` and `action_high` where it has bounds of
        its own.

    Returns:
      What is doubtful, in a line each.

    Raises:
      UserError: the actions are clearly in other units.
    """
    if action_spec.bound is None or not reader.num_steps:
        return []
    own, told = bounds_of(info, action_spec.size), stored_bounds(reader)
    action = reader.read_array("action") / np.float32(action_spec.bound)
    seen = Bounds(action.min(axis=0), action.max(axis=0), "")
    refusal, doubt = _compare(seen, own, told, _divided(reader))
    said = [] if doubt is None else [doubt]
    beyond = float((np.abs(action) > _BEYOND).any(axis=1).mean())
    wrong, doubtful = _fill(seen, beyond)
    # what `collect` recorded was acted out as it is
    is_known = told is not None or "round" in reader.metadata.extra
    if wrong and (beyond > NARROW or not is_known):
        refusal = refusal or wrong
    elif wrong or doubtful:
        said.append(wrong or doubtful or "")
    if refusal is not None:
        raise UserError(f"{reader.directory}: {refusal}; {_advice(told)}")
    return [f"{reader.directory}: {line}; {_advice(told)}" for line in said]


def doubts(reader: EpisodeReader) -> list[str]:
    """What is wrong or doubtful with the units of a dataset, whatever environment it is for."""
    try:
        return check_units(reader, ActionSpec(reader.metadata.action_size), {})
    except UserError as error:
        return [str(error)]


def _advice(told: Bounds | None) -> str:
    said = "convert it again with --bounds_of=ENV, or with --action_low and --action_high, "
    if told is None:
        return said + "the bounds that its actions had (-1 and 1 if they are meant as they are)"
    return said + f"if the bounds are not those of {told.source}"


def _compare(
    seen: Bounds, own: Bounds | None, told: Bounds | None, divided: Bounds | None
) -> tuple[str | None, str | None]:
    """What is wrong, and what is doubtful, with the bounds that became -1 and 1."""
    used = told or divided
    if own is None or (used is not None and used.equal(own)):
        return None, None
    if used is None:
        refusal = _own_units(seen, own)
        if refusal is not None or own.are_unit():
            return refusal, None
        return None, f"nobody said what its actions were mapped from; they are mapped to {own}"
    other = f"its actions were mapped from {used} to [-1, 1], but are mapped to {own}"
    if told is None or not (own.are_unit() or told.are_unit()):
        return other, None
    return None, None if told.are_unit() and told.source == BY_HAND else other


def _divided(reader: EpisodeReader) -> Bounds | None:
    """What became -1 and 1 where actions were divided by something, whoever chose it."""
    size, extra = reader.metadata.action_size, reader.metadata.extra
    offset, scale = extra.get("action_offset"), extra.get("action_scale")
    if offset is None and scale is None:
        return None
    try:
        middle = np.asarray(offset or [0.0] * size, np.float64)
        half = np.asarray(scale or [1.0] * size, np.float64)
        return Bounds.read(middle - half, middle + half, size, "")
    except (TypeError, ValueError):  # whoever wrote the metadata was not this library
        return None


def _own_units(seen: Bounds, own: Bounds) -> str | None:
    """Actions are within an environment's own bounds where these are much narrower than ours."""
    differs = (np.abs(own.low + 1) > 1e-3) | (np.abs(own.high - 1) > 1e-3)
    differs &= seen.low < seen.high  # one that never changes says nothing
    slack = 1e-3 * own.half
    within = (seen.low >= own.low - slack) & (seen.high <= own.high + slack)
    if not differs.any() or not (within & (own.half <= NARROW))[differs].all():
        return None
    return f"its actions are from {seen}, so in the units of the environment's bounds {own}"


def _fill(seen: Bounds, beyond: float) -> tuple[str | None, str | None]:
    """What is wrong, and what is doubtful, with the part of [-1, 1] that actions fill."""
    reach = np.maximum(np.abs(seen.low), np.abs(seen.high))
    if reach.max() > _BEYOND:
        said = f"its actions reach {reach.max():.4g}, beyond [-1, 1], in {beyond:.2%} of the steps"
        return (said, None) if beyond > _RARE else (None, said)
    within = f"its actions are within {reach.max():.4g} of [-1, 1] in every dimension"
    if reach.max() <= TINY:
        return within, None
    if reach.max() <= SMALL:
        return None, within
    few = [str(n) for n in np.flatnonzero((reach > 0) & (reach <= UNUSED))]
    if few:
        return None, f"its actions stay within {UNUSED:g} in dimension {', '.join(few)}"
    return None, None
