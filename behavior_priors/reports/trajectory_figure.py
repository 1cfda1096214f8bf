"""The paths of a gripper around objects, in space and from above (PARROT, figure 5)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from behavior_priors.reports.figures import STYLE, save_figure

OBJECT_COLOR = "#D55E00"
HEIGHT_COLORS = LinearSegmentedColormap.from_list(
    "viridis without its yellow", mpl.colormaps["viridis"](np.linspace(0.0, 0.85, 256))
)


def gripper_trajectories(
    path: str | Path,
    panels: Mapping[str, np.ndarray],
    *,
    object_positions: np.ndarray,
    object_half_sizes: np.ndarray,
    workspace: tuple[np.ndarray, np.ndarray],
    object_labels: Sequence[str] = (),
    views: Sequence[Literal["space", "above"]] = ("space", "above"),
    title: str = "",
) -> None:
    """Draws where the gripper goes in one scene, a panel for each way of acting (PARROT, figure 5).

    Paths are coloured by the gripper's height; objects are drawn as boxes.

    Args:
      path: the file to write.
      panels: for each title the paths `[paths, steps, 3]` in metres.
      object_positions: `[objects, 3]`, centres in metres.
      object_half_sizes: `[objects, 3]`, half edges in metres.
      workspace: lowest and highest corner `[3]` in metres.
      object_labels: names in the order of the positions.
      views: a row of panels for each.
      title: above the figure.
    """
    scene = _Scene(
        centres=np.asarray(object_positions, float),
        half_sizes=np.asarray(object_half_sizes, float),
        labels=object_labels,
        low=np.asarray(workspace[0], float),
        high=np.asarray(workspace[1], float),
    )
    heights = Normalize(scene.low[2], scene.high[2])
    with mpl.rc_context(STYLE):
        extent = scene.high - scene.low
        width = 1.0 + 3.6 * (1.1 if "space" in views else extent[0] / extent[1])
        figure = Figure(figsize=(width * len(panels) + 1.4, 4.6 * len(views)), layout="constrained")
        for row, view in enumerate(views):
            for column, (panel, paths) in enumerate(panels.items()):
                position = (len(views), len(panels), row * len(panels) + column + 1)
                if view == "space":
                    axes = figure.add_subplot(*position, projection="3d", computed_zorder=False)
                    _draw_in_space(axes, paths, scene, heights)
                else:
                    axes = figure.add_subplot(*position)
                    _draw_from_above(axes, paths, scene, heights)
                if row == 0:
                    axes.set_title(panel)
        bar = figure.colorbar(
            ScalarMappable(heights, HEIGHT_COLORS), ax=figure.axes, shrink=0.6, aspect=30
        )
        bar.set_label("height of the gripper (m)")
        figure.suptitle(title)
        save_figure(figure, path)


class _Scene(NamedTuple):
    """What stands around the paths, in metres."""

    centres: np.ndarray
    half_sizes: np.ndarray
    labels: Sequence[str]
    low: np.ndarray
    high: np.ndarray


def _draw_from_above(axes: Axes, paths: np.ndarray, scene: _Scene, heights: Normalize) -> None:
    segments, middles = _segments(paths)
    lines = LineCollection(
        list(segments[..., :2]), array=middles, norm=heights, cmap=HEIGHT_COLORS, linewidths=1.0
    )
    axes.add_collection(lines)
    axes.plot(*paths[:, 0, :2].mean(axis=0), "o", color="black")
    for centre, half in zip(scene.centres, scene.half_sizes, strict=True):
        corner, size = tuple(centre[:2] - half[:2]), 2 * half[:2]
        axes.add_patch(Rectangle(corner, *size, facecolor=OBJECT_COLOR, alpha=0.35, zorder=1))
        axes.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=OBJECT_COLOR, linewidth=2.4, zorder=3)
        )
    for centre, half, label in zip(scene.centres, scene.half_sizes, scene.labels, strict=False):
        axes.annotate(
            label,
            (centre[0], centre[1] - half[1]),
            (0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            path_effects=[withStroke(linewidth=4, foreground="white")],
        )
    axes.set(xlabel="x (m)", ylabel="y (m)", aspect="equal")
    axes.set(xlim=(scene.low[0], scene.high[0]), ylim=(scene.low[1], scene.high[1]))
    axes.locator_params(nbins=5)


def _draw_in_space(axes: Axes3D, paths: np.ndarray, scene: _Scene, heights: Normalize) -> None:
    segments, middles = _segments(paths)
    faces = [_box_faces(*box) for box in zip(scene.centres, scene.half_sizes, strict=True)]
    axes.add_collection3d(
        Poly3DCollection(list(itertools.chain(*faces)), facecolor=OBJECT_COLOR, edgecolor="white")
    )
    lines = Line3DCollection(segments, norm=heights, cmap=HEIGHT_COLORS, linewidths=1.0)
    lines.set_array(middles)
    axes.add_collection3d(lines)
    axes.plot(*paths[:, 0].mean(axis=0)[:, None], "o", color="black")
    axes.set(xlim=(scene.low[0], scene.high[0]), ylim=(scene.low[1], scene.high[1]))
    axes.set_zlim(scene.low[2], scene.high[2])
    axes.set_box_aspect(scene.high - scene.low, zoom=0.95)
    for axis, name in zip((axes.xaxis, axes.yaxis, axes.zaxis), "xyz", strict=True):
        axis.set_label_text(f"{name} (m)", fontsize=13)
        axis.set_major_locator(MaxNLocator(3, steps=(1, 2, 5, 10)))
        axis.labelpad = 3
    axes.tick_params(labelsize=11, pad=1)


def _segments(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces `[n, 2, 3]` of paths `[paths, steps, 3]`, and the height `[n]` of their middles."""
    pieces = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 3)
    return pieces, pieces[:, :, 2].mean(axis=1)


def _box_faces(centre: np.ndarray, half: np.ndarray) -> list[np.ndarray]:
    """The six faces `[4, 3]` of a box."""
    faces = []
    for axis, sign in itertools.product(range(3), (-1.0, 1.0)):
        corners = np.full((4, 3), sign)
        others = [other for other in range(3) if other != axis]
        corners[:, others] = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        faces.append(centre + half * corners)
    return faces
