"""Paths through a maze, seen from above (SPiRL, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from behavior_priors.reports.figures import COLORS, STYLE, save_figure


def maze_paths(
    path: str | Path,
    panels: Mapping[str, np.ndarray],
    *,
    background: np.ndarray,
    size: float,
    title: str = "",
) -> None:
    """Draws where the point goes, a panel for each way of acting.

    Args:
      path: the file to write.
      panels: for each title the paths `[paths, steps, 2]`, in cells.
      background: a square picture of the maze `[pixels, pixels, 3]` uint8, whose first row is
        where the second coordinate is largest.
      size: cells along a side of it.
      title: above the figure.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(4.6 * len(panels), 5.2), layout="constrained")
        for column, (label, paths) in enumerate(panels.items()):
            axes = figure.add_subplot(1, len(panels), column + 1)
            axes.imshow(background, extent=(0, size, 0, size), interpolation="nearest")
            lines = LineCollection(list(paths), colors=COLORS[0], linewidths=1.0, alpha=0.5)
            axes.add_collection(lines)
            axes.plot(*paths[0, 0], "o", color=COLORS[1], markersize=7, markeredgecolor="white")
            axes.set(title=label, xlim=(0, size), ylim=(0, size), xlabel="x (cells)")
            axes.set_ylabel("y (cells)" if column == 0 else "")
            axes.spines[["right", "top"]].set_visible(True)
        figure.suptitle(title)
        save_figure(figure, path)
