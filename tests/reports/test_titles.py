"""Titles: environments by their short names, and no line longer than the figure is wide."""

from __future__ import annotations

import pytest

from behavior_priors.reports.titles import in_lines, short_name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("grasp/mug", "grasp/mug"),
        ("grasp/mug?reward=dense", "grasp/mug"),
        ("gym/examples.hidden_goal.hidden_goal:HiddenGoal-v0?tasks=a:b.json", "HiddenGoal-v0"),
        ("examples.push.push_env:north_east", "north_east"),
        ("brax/pusher?episode_length=100", "brax/pusher"),
    ],
)
def test_environments_have_short_names(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_long_title_has_several_lines() -> None:
    assert in_lines("a title") == "a title"
    lines = in_lines(" ".join(["word"] * 30) + " " + "x" * 100).split("\n")
    assert max(map(len, lines)) == 60
    assert " ".join(lines[:2]) == " ".join(["word"] * 24)
