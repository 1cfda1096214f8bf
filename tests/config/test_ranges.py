from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import numpy as np
import pytest

from behavior_priors.config import ranges
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import (
    Count,
    InnerShare,
    LearningRate,
    Limit,
    Range,
    Real,
    Seed,
    Share,
    ShareBelowOne,
    SideBySide,
)
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (Count, [1, 2_147_483_647, np.int64(5)], {0: "at least 1", 2**31: "at most 2147483647"}),
        (Count, [], {1.5: "an integer", math.nan: "an integer", "1": "an integer"}),
        (Seed, [0, 4_294_967_295], {-1: "at least 0", 4_294_967_296: "at most 4294967295"}),
        (SideBySide, [1_048_576], {10**9: "at most 1048576", 10**400: "at most 1048576"}),
        (LearningRate, [1e-30, 10, np.float32(0.1)], {0: "positive", 11: "at most 10"}),
        # what single precision makes zero or infinity of
        (LearningRate, [], {1e-46: "positive", math.inf: "a finite number", "x": "a number"}),
        (Share, [0, 1, 0.5], {-0.1: "in [0, 1]", 1.1: "in [0, 1]", math.nan: "in [0, 1]"}),
        (InnerShare, [0.999], {0: "between 0 and 1", 1 - 1e-12: "between 0 and 1"}),
        (ShareBelowOne, [0], {1: "at least 0 and below 1", -1: "at least 0 and below 1"}),
        (Real, [-1e30, 1e30], {math.nan: "a finite number", -math.inf: "at least -1e+30"}),
        (Limit | None, [None, 2.0], {0: "positive, or none", math.nan: "a finite number, or none"}),
        (tuple[Count, ...], [(), (1, 2)], {(1, 0): "at least 1", (1, None): "an integer"}),
        (Count, [], {None: "an integer"}),
        (Annotated[float, Range(above=2, below=3)], [2.5], {2: "above 2", 3: "below 3"}),
        (str, ["x"], {}),
    ],
)
def test_values_are_in_their_range_or_told_what_they_should_be(
    hint: Any, good: list[Any], bad: dict[Any, str]
) -> None:
    assert [ranges.complaint(hint, value) for value in good] == [None] * len(good)
    assert {value: ranges.complaint(hint, value) for value in bad} == bad


@dataclasses.dataclass(frozen=True)
class Config:
    name: str = "x"
    steps: Count = 1
    widths: tuple[Count, ...] = (1,)


def test_configs_are_checked_by_the_types_of_their_fields() -> None:
    check_ranges(Config())
    with pytest.raises(UserError, match=r"^widths=\(3, 0\) should be at least 1$"):
        check_ranges(Config(widths=(3, 0)))


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_a_seed_that_jax_would_take_for_another_makes_no_key(seed: int) -> None:
    with pytest.raises(UserError, match=f"seed={seed} should be at "):
        named_key(seed, "evaluate")
