"""Figures of texts and numbers that nobody has meant to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from behavior_priors.reports import adaptation_figures, figures

STEPS = np.array([0, 100, 200])


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("_hidden", " _hidden"),
        ("a\nb", "a b"),
        ("bad\udcff", r"bad\udcff"),
        ("文字", "文字"),
        ("$x", "$x"),
    ],
)
def test_a_legend_has_every_label(
    tmp_path: Path, drawn: list[Figure], label: str, shown: str
) -> None:
    figures.learning_curves(tmp_path / "a.png", {label: [(STEPS, STEPS / 200)]}, ylabel=label)
    adaptation_figures.adaptation_curves(
        tmp_path / "b.png", {label: np.ones((2, 3))}, exploration=0, title=label
    )
    curves, adaptation = (
        [text.get_text() for text in figure.legends[0].get_texts()] for figure in drawn
    )
    assert curves == [f"{shown} (one run)"]
    assert adaptation == [shown]


def test_what_single_precision_does_not_hold_is_left_out(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    runs = [(np.arange(4), np.array([-1.7e308, 1.0, 3e38, 1.7e308]))]
    figures.learning_curves(tmp_path / "a.png", {"SAC": runs}, ylabel="return")
    (line,) = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[1, 1.0], [2, 3e38]])
    returns = np.array([[1.0, -1.7e308, np.inf, 2.0], [3.0, 1.7e308, 1.0, 4.0]])
    adaptation_figures.adaptation_curves(
        tmp_path / "b.png", {"PEARL": returns}, exploration=0, oracle=1.7e308
    )
    (line,) = drawn[1].axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [2.0, np.nan, np.nan, 3.0])


def test_places_that_are_no_numbers_are_left_out(tmp_path: Path, drawn: list[Figure]) -> None:
    paths = np.ones((2, 3, 2))
    paths[1, 1:] = np.nan, 1.7e308
    goals = np.zeros((1, 2))
    adaptation_figures.goal_paths(tmp_path / "a.png", [paths], goals, exploration=1, radius=0.5)
    (axes,) = drawn[0].axes
    assert axes.get_xlim() == pytest.approx((-0.55, 1.05))


def test_steps_that_are_all_alike_have_an_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [(np.zeros(3), np.ones(3))]
    figures.learning_curves(tmp_path / "a.png", {"SAC": runs}, ylabel="return")
    assert drawn[0].axes[0].get_xlim()[0] == 0.0
    assert drawn[0].axes[0].get_xlim()[1] > 0.0
