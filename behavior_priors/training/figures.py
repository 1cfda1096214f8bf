"""Figures to show around: learning curves, gripper paths, success per object.

Each function draws one figure without pyplot, hence without a display, and writes it; the file's
ending chooses the format. Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from behavior_priors.training.statistics import Estimate, summarize
from behavior_priors.types import UserError

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
OBJECT_COLOR = "#D55E00"
HEIGHT_COLORS = LinearSegmentedColormap.from_list(
    "viridis without its yellow", mpl.colormaps["viridis"](np.linspace(0.0, 0.85, 256))
)

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelsize": 15,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 16,
    "figure.titlesize": 17,
    "font.size": 13,
    "grid.color": "#E4E4E4",
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.4,
    "savefig.dpi": 160,
}

Run = tuple[np.ndarray, np.ndarray]
"""Steps `[n]`, increasing, and values `[n]`."""


def learning_curves(
    path: str | Path,
    curves: Mapping[str, Sequence[Run]],
    *,
    ylabel: str,
    title: str = "",
    xlabel: str = "environment steps",
    ylim: tuple[float, float] | None = None,
) -> None:
    """Draws one line per label, with a band where it has several runs.

    Line and band are what `statistics.summarize` allows for the number of runs, and the legend says
    which. Runs are compared over the steps that all of a label's runs have reached; values that are
    not finite are left out.

    Args:
      path: the file to write.
      curves: the runs of each label.
      ylabel: what the values are.
      title: above the figure.
      xlabel: what the steps are.
      ylim: range of the values shown; None to fit them.

    Raises:
      UserError: a label has no run with a finite value, or its runs have no steps in common.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.0), layout="constrained")
        axes = figure.add_subplot()
        styles = zip(itertools.cycle(COLORS), itertools.cycle(LINE_STYLES))
        for (label, runs), (color, line_style) in zip(curves.items(), styles, strict=False):
            steps, values = _on_common_steps(label, runs)
            estimates = [summarize(values[:, i]) for i in range(len(steps))]
            value, low, high = np.array([estimate[:3] for estimate in estimates]).T
            axes.plot(
                steps,
                value,
                color=color,
                linestyle=line_style,
                label=f"{label} ({estimates[0].meaning})",
            )
            if len(runs) > 1:
                axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=ylim)
        axes.margins(x=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(loc="outside lower center", ncols=1)
        _save(figure, path)


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
        _save(figure, path)


def success_bars(
    path: str | Path,
    rates: Mapping[str, Mapping[str, Estimate]],
    *,
    title: str = "",
    xlabel: str = "success rate",
) -> None:
    """Draws bars of success rates with their intervals: a group per object, a bar per method.

    Args:
      path: the file to write.
      rates: `{method: {object: rate in [0, 1]}}`; a method may lack objects.
      title: above the figure.
      xlabel: what the rates are; the meaning of the intervals is added.
    """
    objects = list(dict.fromkeys(name for by_object in rates.values() for name in by_object))
    thickness = 0.8 / len(rates)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(9.0, 2.0 + 0.36 * len(objects) * max(2, len(rates))), layout="constrained"
        )
        axes = figure.add_subplot()
        for index, (method, by_object) in enumerate(rates.items()):
            offset = (index - (len(rates) - 1) / 2) * thickness
            centres = np.array([objects.index(name) for name in by_object]) + offset
            value, low, high = np.array([rate[:3] for rate in by_object.values()]).T
            axes.barh(
                centres,
                value,
                0.9 * thickness,
                color=COLORS[index % len(COLORS)],
                label=method,
                xerr=(value - low, high - value),
                error_kw={"ecolor": "#333333", "elinewidth": 1.4},
            )
            for centre, rate, end in zip(centres, value, high, strict=True):
                axes.text(end + 0.012, centre, f"{rate:.0%}", va="center", fontsize=12)
        axes.set_yticks(range(len(objects)), objects)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        meanings = {rate.meaning for by_object in rates.values() for rate in by_object.values()}
        if len(meanings) > 1:  # numbers of episodes that differ from object to object
            meanings = {meaning.partition(" of ")[0] for meaning in meanings}
        axes.set(xlabel=f"{xlabel} (whiskers: {', '.join(sorted(meanings))})", title=title)
        axes.set(xlim=(0.0, 1.09), xticks=np.linspace(0, 1, 6), ylim=(len(objects) - 0.5, -0.5))
        figure.legend(loc="outside lower center", ncols=len(rates))
        _save(figure, path)


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


def _on_common_steps(label: str, runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Runs of one label as steps `[n]` and values `[runs, n]`, interpolated where steps differ."""
    finite = []
    for steps, values in runs:
        steps, values = np.asarray(steps, float), np.asarray(values, float)
        is_finite = np.isfinite(values)
        if is_finite.any():
            finite.append((steps[is_finite], values[is_finite]))
    if not finite:
        raise UserError(f"the curve {label!r} has no finite value; give a run that has logged some")
    first = max(steps[0] for steps, _ in finite)
    last = min(steps[-1] for steps, _ in finite)
    if first > last:
        raise UserError(f"the runs of {label!r} have no steps in common; give runs of one length")
    common = np.unique(np.concatenate([steps for steps, _ in finite]))
    common = common[(first <= common) & (common <= last)]
    return common, np.stack([np.interp(common, steps, values) for steps, values in finite])


def _save(figure: Figure, path: str | Path) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise UserError(
            f"{path}: the figure cannot be written ({error.strerror}); free some space or give "
            "another place"
        ) from error
