"""Datasets in other units than [-1, 1] are refused or doubted, with the flag that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.bounds import BY_HAND, check_units, doubts
from behavior_priors.data.dataset import check_compatible
from behavior_priors.data.episodes import (
    EpisodeBatch,
    EpisodeMetadata,
    EpisodeReader,
    EpisodeWriter,
)
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec, ArraySpec

STEPS = 200
SPAN = np.linspace(-1, 1, STEPS)[:, None]
NARROW = {"action_low": [-0.05, -0.05], "action_high": [0.05, 0.05]}
CAR = {"action_low": [-3.0, -0.6], "action_high": [2.0, 0.6]}


def write(folder: Path, actions: Any, **extra: Any) -> EpisodeReader:
    """One episode of actions `[STEPS, 2]`."""
    actions = np.broadcast_to(np.asarray(actions, np.float32), (STEPS, 2))
    metadata = EpisodeMetadata(
        observation={"x": ArraySpec(())},
        action_size=2,
        environment="unknown",
        policy="unknown",
        extra=extra,
    )
    writer = EpisodeWriter.create(folder, metadata)
    writer.write(
        EpisodeBatch({"x": np.zeros(STEPS + 1, np.float32)}, actions, np.array([STEPS], np.int32))
    )
    writer.finish()
    return EpisodeReader(folder)


def told(low: Any, high: Any, source: str = "--bounds_of=gym/A-v0") -> dict[str, Any]:
    return {"action_bounds": {"low": low, "high": high, "from": source}}


REFUSED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "in the units of narrow bounds": (
        0.05 * SPAN,
        {},
        NARROW,
        r"from \[-0.05, 0.05\], so in the units of the environment's bounds \[-0.05, 0.05\]",
    ),
    "likewise, and the environment does not say": (0.05 * SPAN, {}, {}, "within 0.05 of"),
    "at the threshold": (0.1 * SPAN, {}, {}, "within 0.1 of"),
    "in the units of half as narrow bounds": (
        0.4 * SPAN,
        {},
        {"action_low": [-0.4, -0.4], "action_high": [0.4, 0.4]},
        r"from \[-0.4, 0.4\], so in the units of the environment's bounds \[-0.4, 0.4\]",
    ),
    "one dimension in its own units": (
        np.concatenate([SPAN, 0.5 + 0.4 * SPAN], axis=1),
        {},
        {"action_low": [-1.0, 0.0], "action_high": [1.0, 1.0]},
        r"in the units of the environment's bounds \[-1, 1\], \[0, 1\]",
    ),
    "beyond": (2 * SPAN, {}, {}, r"reach 2, beyond \[-1, 1\], in 50.00% of the steps"),
    "mapped from other bounds": (
        SPAN,
        told([-2.0, -0.6], [2.0, 0.6]),
        CAR,
        r"mapped from \[-2, 2\], \[-0.6, 0.6\] to \[-1, 1\], but are mapped to \[-3, 2\], \[-0.6",
    ),
    "divided by what was seen": (
        SPAN,
        {"action_offset": None, "action_scale": [2.5, 0.6]},
        CAR,
        r"mapped from \[-2.5, 2.5\], \[-0.6, 0.6\]",
    ),
    "beyond bounds that were told, mostly": (10 * SPAN, told([-1.0], [1.0]), {}, "reach 10"),
}

DOUBTED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "small": (0.3 * SPAN, {}, {}, "within 0.3 of"),
    "tiny, but the bounds were told": (0.05 * SPAN, told([-1.0], [1.0]), {}, "within 0.05 of"),
    "tiny, but acted out here": (0.05 * SPAN, {"episodes": 1, "round": 1}, {}, "within 0.05 of"),
    "one dimension": (np.concatenate([SPAN, 0.05 * SPAN], axis=1), {}, {}, "0.05 in dimension 1"),
    "rarely beyond": (np.where(np.arange(STEPS)[:, None] == 7, 1.5, SPAN), {}, {}, "reach 1.5"),
    "nobody said": (SPAN, {}, CAR, r"nobody said .* mapped to \[-3, 2\], \[-0.6, 0.6\]"),
    "mapped from unit bounds": (SPAN, told([-1.0], [1.0]), CAR, r"mapped from \[-1, 1\] to"),
}

GOOD: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "the whole range": (SPAN, {}, {}),
    "one dimension at rest": (np.concatenate([SPAN, 0 * SPAN], axis=1), {}, {}),
    "a third of it": (0.31 * SPAN, {}, {}),
    "the environment's own bounds are -1 and 1": (
        SPAN,
        {},
        {"action_low": [-1.0] * 2, "action_high": [1.0] * 2},
    ),
    "mapped from the environment's bounds": (
        SPAN,
        told([-3.0, -0.6000000238418579], [2.0, 0.6000000238418579]),
        CAR,
    ),
    "divided by the environment's bounds": (
        SPAN,
        {"action_offset": [-0.5, 0.0], "action_scale": [2.5, 0.6]},
        CAR,
    ),
    "meant as it is, by the user's word": (
        SPAN,
        told([-1.0], [1.0], BY_HAND),
        CAR,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_units_are_refused(case: str, tmp_path: Path) -> None:
    actions, extra, info, message = REFUSED[case]
    reader = write(tmp_path / "data", actions, **extra)
    with pytest.raises(UserError, match=f"data: .*{message}.*; .*--bounds_of=ENV.*--action_low"):
        check_compatible(reader, {}, ActionSpec(2), info)
    assert check_units(reader, ActionSpec(2, bound=None), info) == []


@pytest.mark.parametrize("case", DOUBTED)
def test_perhaps_other_units_are_doubted(case: str, tmp_path: Path) -> None:
    actions, extra, info, message = DOUBTED[case]
    (line,) = check_compatible(write(tmp_path / "d", actions, **extra), {}, ActionSpec(2), info)
    assert "\n" not in line
    with pytest.raises(UserError, match=f"d: .*{message}.*; .*--bounds_of=ENV.*--action_low"):
        raise UserError(line)


@pytest.mark.parametrize("case", GOOD)
def test_the_same_units_are_taken_without_a_word(case: str, tmp_path: Path) -> None:
    actions, extra, info = GOOD[case]
    reader = write(tmp_path / "data", actions, **extra)
    assert check_compatible(reader, {}, ActionSpec(2), info) == []


def test_bounds_that_are_none_do_no_harm(tmp_path: Path) -> None:
    for number, said in enumerate(
        ("x", 3, [], {}, {"low": "a", "high": []}, {"low": [1, 2, 3], "high": 4}, {"low": [[]]})
    ):
        reader = write(tmp_path / str(number), SPAN, action_bounds=said)
        assert check_units(reader, ActionSpec(2), {}) == []


def test_a_conversion_says_what_is_wrong_for_any_environment(tmp_path: Path) -> None:
    (line,) = doubts(write(tmp_path / "data", 4 * SPAN))
    assert "reach 4, beyond [-1, 1]" in line
    assert doubts(write(tmp_path / "good", SPAN)) == []
