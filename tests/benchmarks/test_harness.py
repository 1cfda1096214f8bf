from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from benchmarks.harness import (
    BenchmarkError,
    Plan,
    Row,
    check_peers,
    largest_difference,
    race,
    rate_row,
    seconds_row,
    table,
)


class Clock:
    """Tells a time that passes only when a contestant works, and remembers who did."""

    def __init__(self) -> None:
        self.now = 100.0
        self.worked: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contestant(self, name: str, *seconds: float) -> Callable[[], None]:
        """Takes the given seconds, call by call; the last of them for ever."""
        remaining = list(seconds)

        def run() -> None:
            self.worked.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run


def test_turns_reverse_their_order_from_round_to_round() -> None:
    clock = Clock()
    contestants = {name: clock.contestant(name, 1.0) for name in "abc"}
    race(contestants, Plan(rounds=4, seconds=1.0, clock=clock))
    # twice each before the race: to compile, and to estimate
    assert "".join(clock.worked) == "aabbcc" + "abc" + "cba" + "abc" + "cba"


def test_a_turn_makes_as_many_calls_as_fit_and_gives_the_seconds_of_one() -> None:
    clock = Clock()
    # a first call that compiles for 30 s, then a quarter of a second each
    seconds = race(
        {"slow": clock.contestant("slow", 3.0), "quick": clock.contestant("quick", 30.0, 0.25)},
        Plan(rounds=3, seconds=1.0, clock=clock),
    )
    assert seconds == {"slow": [3.0, 3.0, 3.0], "quick": [0.25, 0.25, 0.25]}
    assert clock.worked.count("slow") == 2 + 3 * 1
    assert clock.worked.count("quick") == 2 + 3 * 4


def test_seconds_of_a_round_are_those_of_that_round() -> None:
    clock = Clock()
    uneven = clock.contestant("uneven", 9.0, 1.0, 2.0, 5.0, 3.0)
    seconds = race({"uneven": uneven}, Plan(rounds=3, seconds=1.0, clock=clock))
    assert seconds == {"uneven": [2.0, 5.0, 3.0]}


def test_ours_doing_twice_the_work_in_the_same_time_is_a_ratio_of_two() -> None:
    row = rate_row("x", "steps/s", (20, [0.5, 0.5, 0.5]), (10, [0.5, 0.5, 0.5]), equal="all")
    assert (row.ours, row.peer, row.ratio) == (40.0, 20.0, 2.0)
    assert (row.unit, row.rounds, row.equal) == ("steps/s", 3, "all")


def test_ours_taking_half_the_seconds_is_a_ratio_of_two() -> None:
    row = seconds_row("x", [3.0, 3.0], [6.0, 6.0], equal="all")
    assert (row.ours, row.peer, row.ratio, row.unit) == (3.0, 6.0, 2.0, "s")


def test_a_row_has_the_medians_over_rounds() -> None:
    # rates 1, 2, 10 and 1, 1, 2: their ratios 1, 2, 5 have the median 2, not 13/4
    row = rate_row("x", "1/s", (1, [1.0, 0.5, 0.1]), (1, [1.0, 1.0, 0.5]), equal="all")
    assert (row.ours, row.peer, row.ratio) == pytest.approx((2.0, 1.0, 2.0))
    assert row.ratio_range == pytest.approx((1.0, 5.0))
    assert row.rounds == 3


def test_a_row_names_the_versions_of_who_took_part() -> None:
    row = seconds_row("x", [1.0], [1.0], equal="all", packages=("distrax",))
    assert row.versions["distrax"] == metadata.version("distrax")
    assert row.versions["jax"] == metadata.version("jax")
    assert {"name", "unit", "ours", "peer", "ratio", "rounds", "equal", "versions"} <= set(
        row.as_json()
    )


def test_unequal_numbers_of_rounds_are_no_row() -> None:
    with pytest.raises(ValueError):
        seconds_row("x", [1.0, 1.0], [1.0], equal="all")


def test_differences_are_a_share_of_the_largest_value_or_absolute_below_one() -> None:
    assert largest_difference("x", jnp.array([200.0, 101.0]), np.array([200.0, 100.0]), 0.006) == (
        "x within 5.0e-03"
    )
    assert largest_difference("x", [0.25], [0.5], 0.25) == "x within 2.5e-01"
    assert largest_difference("x", np.arange(3), np.arange(3), 0.0) == "x exactly"


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        ([np.ones(2), np.ones(2)], [np.ones(2), np.array([1.0, 1.1])]),
        (np.array([0.0, np.nan]), np.zeros(2)),
        (np.array([np.inf]), np.array([np.inf])),
        (np.zeros((2, 1)), np.zeros(2)),
    ],
    ids=["second array", "not a number", "infinite", "shapes"],
)
def test_what_differs_is_no_benchmark(ours: object, peer: object) -> None:
    with pytest.raises(BenchmarkError, match="losses"):
        largest_difference("losses", ours, peer, tolerance=0.05)


def test_missing_peers_are_named_all_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check_peers({"one": ("json", "no_such_peer"), "two": ("json",), "three": ("neither_this",)})
    message = str(caught.value)
    assert "one needs no_such_peer; three needs neither_this" in message
    assert "two" not in message
    assert "make benchmarks" in message
    check_peers({"two": ("json",)})


def test_the_table_is_aligned() -> None:
    rows = [
        Row("short", "s", 1.0, 2.0, 2.0, (1.9, 2.1), 6, "all", {}),
        Row("a longer name", "steps/s", 123456.0, 1.0, 123456.0, (1.0, 2.0), 6, "all", {}),
    ]
    header, *lines = table(rows).splitlines()
    assert [line.index("all") for line in lines] == [header.index("equal")] * 2
    assert lines[0].split() == ["short", "1", "2", "s", "2.00", "1.90-2.10", "6", "all"]
