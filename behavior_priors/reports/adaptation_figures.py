"""Figures of adaptation: what each further trajectory brings, and where the first ones lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator

from behavior_priors.evaluation.statistics import stratified_bootstrap_interval
from behavior_priors.reports.figures import (
    COLORS,
    STYLE,
    as_label,
    drawable,
    legend_below,
    save_figure,
    styles_of,
)
from behavior_priors.reports.titles import in_lines


def adaptation_curves(
    path: str | Path,
    returns: Mapping[str, np.ndarray],
    *,
    exploration: int,
    oracle: float | None = None,
    title: str = "",
) -> None:
    """Draws returns by trajectory, with a 95 % bootstrap interval over tasks.

    Trajectories in which a return is not finite in single precision are left out.

    Args:
      path: the file to write.
      returns: for each label `[tasks, trajectories]`.
      exploration: how many of the trajectories had descriptions from `N(0, I)`; they are shaded.
      oracle: the mean return of whoever knows the task.
      title: above the figure.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        axes = figure.add_subplot()
        tables = {label: drawable(table) for label, table in returns.items()}
        styles = styles_of(tables)
        for label, table in tables.items():
            number = np.arange(1, table.shape[1] + 1)
            interval = [
                stratified_bootstrap_interval(table[:, [t]], lambda x: x.mean(axis=-1))
                for t in range(table.shape[1])
            ]
            low, high = np.array(interval).T
            color, style = styles[label]
            (line,) = axes.plot(number, table.mean(0), color=color, linestyle=style, marker="o")
            line.set_label(as_label(label))
            axes.fill_between(number, low, high, color=color, alpha=0.2, linewidth=0)
        if exploration:
            axes.axvspan(0.5, exploration + 0.5, color="#EEEEEE", label="exploring", zorder=0)
        if oracle is not None and np.isfinite(drawable(np.array(oracle))):
            axes.axhline(oracle, color="#444444", linestyle=":", label="oracle")
        counts = sorted({str(len(table)) for table in tables.values()})
        band = f"band: 95 % interval over {' or '.join(counts)} tasks"
        axes.set(xlabel=f"trajectory in a new task ({band})", ylabel="return")
        axes.set_title(in_lines(title))
        axes.set_xlim(0.5, max(table.shape[1] for table in tables.values()) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        # as many beside each other as there is room for
        letters = max(len(label) for label in [*returns, "exploring"])
        legend_below(figure, ncols=max(1, 90 // (letters + 9)))
        save_figure(figure, path)


def goal_paths(
    path: str | Path,
    paths: Sequence[np.ndarray],
    goals: np.ndarray,
    *,
    exploration: int,
    radius: float,
    title: str = "",
) -> None:
    """Draws a plane for each task, and the trajectories in it from light to dark (figure 4).

    Places that are not finite in single precision are left out.

    Args:
      path: the file to write.
      paths: for each task `[trajectories, steps, 2]`.
      goals: `[tasks, 2]`.
      exploration: how many of the trajectories explore; they are grey.
      radius: of the goals.
      title: above the figure.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        paths = [drawable(lines) for lines in paths]
        places = np.concatenate(
            [goals - radius, goals + radius, *(p.reshape(-1, 2) for p in paths)]
        )
        (left, low), (right, high) = np.nanmin(places, 0) - 0.05, np.nanmax(places, 0) + 0.05
        # what the numbers at the axes leave of a panel, and title, numbers and legend
        height = 3.3 * (high - low) / (right - left) + 1.6
        figure = Figure(figsize=(4.0 * len(paths), height), layout="constrained")
        for column, (lines, goal) in enumerate(zip(paths, goals, strict=True)):
            axes = figure.add_subplot(1, len(paths), column + 1, aspect="equal")
            axes.add_patch(Circle(tuple(goal), radius, color=COLORS[2], alpha=0.35, linewidth=0))
            adapted = len(lines) - exploration
            shades = mpl.colormaps["Blues"](np.linspace(0.45, 1.0, max(adapted, 1)))
            colors = [(0.72, 0.72, 0.72, 1.0)] * exploration + list(shades[:adapted])
            axes.add_collection(LineCollection(list(lines), colors=colors, linewidths=1.8))
            axes.plot(lines[:, 0, 0], lines[:, 0, 1], ".", color="#444444", markersize=4)
            axes.set(xlim=(left, right), ylim=(low, high), xlabel="x")
            axes.set_ylabel("y" if column == 0 else "")
        figure.suptitle(in_lines(title, 40 * len(paths)))
        legend_below(
            figure,
            ncols=1 + 2 * (len(paths) > 1),
            handles=[
                Patch(color=COLORS[2], alpha=0.35, linewidth=0, label="goal"),
                Line2D([], [], color=colors[0], label="exploring"),
                Line2D([], [], color=shades[-1], label="adapted, the later the darker"),
            ],
        )
        save_figure(figure, path)
