"""Figures are written, and show what they were given."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from behavior_priors.errors import UserError
from behavior_priors.evaluation.statistics import success_rate
from behavior_priors.reports import (
    adaptation_figures,
    figures,
    maze_figure,
    trajectory_figure,
    video,
)

LOW, HIGH = np.array([0.1, -0.2, 0.0]), np.array([0.4, 0.2, 0.25])


def assert_is_picture(path: Path, *, least_width: int) -> None:
    with Image.open(path) as image:
        assert image.width >= least_width
        colors = image.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colors is not None
    assert len(colors) > 50


def test_learning_curves_show_means_and_ranges(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "figures" / "curves.png"
    steps = np.array([0, 100, 200])
    figures.learning_curves(
        path,
        {
            "PARROT": [(steps, np.array([0.0, 0.2, 0.8])), (steps, np.array([0.2, 0.6, 1.0]))],
            "SAC": [(steps, np.array([0.0, np.nan, 0.1]))],
        },
        ylabel="success rate",
    )
    assert_is_picture(path, least_width=1200)
    (axes,) = drawn[0].axes
    parrot, sac = axes.get_lines()
    assert parrot.get_label() == "PARROT (mean and range of 2 runs)"
    np.testing.assert_allclose(parrot.get_xydata(), [[0, 0.1], [100, 0.4], [200, 0.9]])
    assert sac.get_label() == "SAC (one run)"
    np.testing.assert_allclose(sac.get_xydata(), [[0, 0.0], [200, 0.1]])
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {(0, 0), (0, 0.2), (100, 0.2), (100, 0.6), (200, 0.8), (200, 1)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("environment steps", "success rate")


def test_panels_have_the_same_lines_and_axes(tmp_path: Path, drawn: list[Any]) -> None:
    steps = np.array([0, 100])
    rising, flat = (steps, np.array([0.0, 0.5])), (steps, np.array([0.1, 0.1]))
    path = tmp_path / "panels.png"
    figures.curve_panels(
        path,
        {"cap": {"SAC": [flat]}, "mug": {"PARROT": [rising, flat], "SAC": [rising, rising]}},
        ylabel="success rate",
        ylim=(0.0, 1.0),
    )
    assert_is_picture(path, least_width=1000)
    cap, mug = drawn[0].axes
    assert [axes.get_title() for axes in (cap, mug)] == ["cap", "mug"]
    parrot, sac = mug.get_lines()
    np.testing.assert_allclose(parrot.get_xydata(), [[0, 0.05], [100, 0.3]])
    assert cap.get_lines()[0].get_color() == sac.get_color() != parrot.get_color()
    assert cap.get_ylim() == mug.get_ylim() == (0.0, 1.0)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["SAC", "PARROT"]
    below = drawn[0].get_supxlabel()
    assert below == "environment steps (lines: one run; mean and range of 2 runs)"


@pytest.mark.parametrize("letters", [3, 60, 120, 200])
def test_a_legend_stays_within_its_figure_however_long_its_texts_are(
    tmp_path: Path, drawn: list[Any], letters: int
) -> None:
    run = np.array([0, 100]), np.array([0.0, 1.0])
    curves = {("context_order=in_order, " * 10)[:letters]: [run], "PARROT": [run]}
    figures.learning_curves(tmp_path / "a.png", curves, ylabel="return")
    (legend,) = drawn[0].legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn[0].bbox.width
    assert box.width > 0.2 * drawn[0].bbox.width
    assert legend.get_texts()[0].get_fontsize() == 13 or letters > 60


@pytest.mark.parametrize("count", [1, 4, 18, 40])
def test_a_legend_leaves_room_for_the_axes_however_many_lines_it_has(
    tmp_path: Path, drawn: list[Any], count: int
) -> None:
    run = np.array([0, 100]), np.array([0.0, 1.0])
    curves = {f"PARROT, object {n}": [run] for n in range(count)}
    figures.learning_curves(tmp_path / "a.png", curves, ylabel="return")
    drawn[0].draw_without_rendering()
    (legend,), (axes,) = drawn[0].legends, drawn[0].axes
    assert legend.get_window_extent().y0 >= 0
    highest = max(text.get_window_extent().y1 for text in legend.get_texts())
    assert highest < axes.get_tightbbox().y0
    assert axes.get_window_extent().height > 2.5 * drawn[0].dpi


def test_twelve_runs_get_a_bootstrap_band(tmp_path: Path, drawn: list[Any]) -> None:
    runs = [(np.arange(2), np.array([0.0, value])) for value in range(12)]
    figures.learning_curves(tmp_path / "curves.png", {"PARROT": runs}, ylabel="return")
    (line,) = drawn[0].axes[0].get_lines()
    assert "95% bootstrap interval of 12 runs" in line.get_label()
    assert line.get_ydata()[1] == 5.5
    band = drawn[0].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert 0 < band.max() < 11


def test_runs_of_other_steps_are_interpolated(tmp_path: Path, drawn: list[Any]) -> None:
    runs = [
        (np.array([0, 10, 20]), np.array([0.0, 1.0, 2.0])),
        (np.array([5, 15]), np.array([1.5, 3.5])),
    ]
    figures.learning_curves(tmp_path / "curves.png", {"PARROT": runs}, ylabel="return")
    (line,) = drawn[0].axes[0].get_lines()
    # At 5, 10 and 15 the runs are at 0.5, 1, 1.5 and at 1.5, 2.5, 3.5.
    np.testing.assert_allclose(line.get_xydata(), [[5.0, 1.0], [10.0, 1.75], [15.0, 2.5]])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "'SAC' has no finite value"),
        ([(np.arange(2), np.array([np.nan, np.inf]))], "'SAC' has no finite value"),
        ([(np.arange(2), np.zeros(2)), (np.arange(5, 7), np.zeros(2))], "'SAC' have no steps in"),
    ],
)
def test_curves_without_points_are_named(
    tmp_path: Path, runs: list[figures.Run], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        figures.learning_curves(tmp_path / "curves.png", {"SAC": runs}, ylabel="return")
    assert not list(tmp_path.iterdir())


def test_gripper_trajectories_show_paths_and_objects(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "trajectories.png"
    random = np.random.default_rng(0)
    panels = {
        "random actions": random.uniform(LOW, HIGH, (5, 9, 3)),
        "through the prior": random.uniform(LOW, HIGH, (4, 9, 3)),
    }
    trajectory_figure.gripper_trajectories(
        path,
        panels,
        object_positions=np.array([[0.2, 0.1, 0.02], [0.3, -0.1, 0.03]]),
        object_half_sizes=np.array([[0.02, 0.03, 0.02], [0.01, 0.01, 0.03]]),
        object_labels=["mug", "bar"],
        workspace=(LOW, HIGH),
    )
    assert_is_picture(path, least_width=1500)
    first_space, second_space, first_above, second_above, bar = drawn[0].axes
    assert (first_space.get_title(), second_space.get_title()) == tuple(panels)
    assert first_space.name == second_space.name == "3d"
    assert bar.get_ylabel() == "height of the gripper (m)"
    for axes, paths in zip((first_above, second_above), panels.values(), strict=True):
        (lines,) = axes.collections
        segments = np.array([piece.vertices for piece in lines.get_paths()])
        assert segments.shape == (len(paths) * 8, 2, 2)
        np.testing.assert_allclose(segments[:8, 0], paths[0, :8, :2])
        np.testing.assert_allclose(lines.get_array()[:8], (paths[0, :8, 2] + paths[0, 1:, 2]) / 2)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (m)", "y (m)")
        assert axes.get_xlim() == (0.1, 0.4)
        filled = [patch for patch in axes.patches if patch.get_fill()]
        np.testing.assert_allclose(
            [patch.get_bbox().bounds for patch in filled],
            [[0.18, 0.07, 0.04, 0.06], [0.29, -0.11, 0.02, 0.02]],
        )
        assert [text.get_text() for text in axes.texts] == ["mug", "bar"]


def test_one_view_gives_one_row(tmp_path: Path, drawn: list[Any]) -> None:
    trajectory_figure.gripper_trajectories(
        tmp_path / "above.png",
        {"random actions": np.full((1, 2, 3), 0.2)},
        object_positions=np.zeros((1, 3)),
        object_half_sizes=np.full((1, 3), 0.01),
        workspace=(LOW, HIGH),
        views=("above",),
    )
    assert len(drawn[0].axes) == 2


def test_success_bars_show_rates_and_intervals(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "bars.png"
    rates = {
        "PARROT": {"mug": success_rate(90, 100), "bar": success_rate(100, 100)},
        "SAC": {"bar": success_rate(0, 100)},
    }
    figures.success_bars(path, rates, title="Two objects")
    assert_is_picture(path, least_width=1200)
    (axes,) = drawn[0].axes
    assert [bar.get_width() for bar in axes.patches] == [0.9, 1, 0]
    assert [text.get_text() for text in axes.texts] == ["90%", "100%", "0%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mug", "bar"]
    # The bars of an object lie beside each other, around its label.
    centres = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    np.testing.assert_allclose(centres, [-0.2, 0.8, 1.2])
    assert "95% Wilson interval of 100 episodes" in axes.get_xlabel()
    whiskers = axes.collections[0].get_segments()[0]
    np.testing.assert_allclose(whiskers[:, 0], rates["PARROT"]["mug"][1:3])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/bars.png could not be written: File exists; .*give"):
        figures.success_bars(tmp_path / "file" / "bars.png", {"SAC": {"mug": success_rate(0, 1)}})


def test_paths_lie_on_the_maze(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "maze.png"
    paths = np.random.default_rng(0).uniform(1.0, 9.0, (3, 20, 2))
    background = np.zeros((50, 50, 3), np.uint8)
    panels = {"one": paths, "other": paths[:2]}
    maze_figure.maze_paths(path, panels, background=background, size=10, title="Two")
    assert_is_picture(path, least_width=1000)
    first, second = drawn[0].axes
    assert [axes.get_title() for axes in (first, second)] == ["one", "other"]
    (lines,) = second.collections
    np.testing.assert_allclose(lines.get_segments(), paths[:2])
    assert first.images[0].get_extent() == [0, 10, 0, 10]
    np.testing.assert_allclose(first.lines[0].get_xydata(), paths[:1, 0])


def draw_bars(path: Path) -> None:
    figures.success_bars(path, {"SAC": {"mug": success_rate(0, 1)}})


def film(path: Path) -> None:
    video.write_video(path, np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("write", "name"), [(draw_bars, "bars.png"), (film, "film.mp4"), (film, "film.gif")]
)
@pytest.mark.parametrize("before", [True, False])
def test_a_picture_for_which_there_is_no_room(
    write: Callable[[Path], None], name: str, before: bool, tmp_path: Path
) -> None:
    """The kernel refuses the bytes beyond a limit, as it does on a full disk."""
    path = tmp_path / name
    if before:
        path.write_text("an older one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(UserError, match=f"{name} could not be written: .*; ") as error:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    kept = [(name, "an older one")] if before else []
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == kept


ODD = r"$\foo$"
"""To matplotlib a formula that it does not understand."""

RUN = np.array([0, 100]), np.array([0.0, 1.0])


def draw_curves(path: Path) -> None:
    figures.learning_curves(path, {ODD: [RUN]}, ylabel=ODD, title=ODD, xlabel=ODD)


def draw_odd_bars(path: Path) -> None:
    figures.success_bars(path, {ODD: {ODD: success_rate(0, 1)}}, title=ODD, xlabel=ODD)


def draw_maze(path: Path) -> None:
    background = np.zeros((9, 9, 3), np.uint8)
    maze_figure.maze_paths(
        path, {ODD: np.ones((1, 3, 2))}, background=background, size=3, title=ODD
    )


def draw_paths(path: Path) -> None:
    trajectory_figure.gripper_trajectories(
        path,
        {ODD: np.full((1, 2, 3), 0.2)},
        object_positions=np.full((1, 3), 0.2),
        object_half_sizes=np.full((1, 3), 0.01),
        object_labels=[ODD],
        workspace=(LOW, HIGH),
        title=ODD,
    )


def draw_adaptation(path: Path) -> None:
    adaptation_figures.adaptation_curves(path, {ODD: np.ones((2, 3))}, exploration=1, title=ODD)


def draw_goals(path: Path) -> None:
    paths = [np.ones((2, 3, 2))]
    adaptation_figures.goal_paths(
        path, paths, np.ones((1, 2)), exploration=1, radius=0.1, title=ODD
    )


@pytest.mark.parametrize(
    "draw", [draw_curves, draw_odd_bars, draw_maze, draw_paths, draw_adaptation, draw_goals]
)
def test_no_text_is_a_formula(draw: Callable[[Path], None], tmp_path: Path) -> None:
    with mpl.rc_context({"text.usetex": True}):  # LaTeX would be asked, and may not be here
        draw(tmp_path / "odd.png")
    assert_is_picture(tmp_path / "odd.png", least_width=500)


def test_a_method_has_its_own_colour_in_every_figure() -> None:
    alone = {label: figures.styles_of([label])[label] for label in ("PARROT", "SAC", "SPiRL")}
    assert alone["PARROT"] == (figures.COLORS[0], "-")
    assert alone["SAC"] == (figures.COLORS[1], "--")
    together = figures.styles_of(["mine", "SAC", "SPiRL", "yours", "PARROT"])
    assert {label: together[label] for label in alone} == alone
    # two lines of one method, and nobody's lines, differ from each other and from all others
    many = figures.styles_of(["SAC, grasp/mug", "SAC, grasp/cap", "a", "b", "PARROT"])
    assert many["SAC, grasp/mug"] == alone["SAC"]
    assert many["PARROT"] == alone["PARROT"]
    assert len(set(many.values())) == 5
