"""Figures to show around: learning curves, success per object.

Each function draws one figure without pyplot, hence without a display, and writes it; the file's
ending chooses the format. Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from behavior_priors.errors import UserError
from behavior_priors.evaluation.statistics import Estimate, summarize
from behavior_priors.methods.method import LABELS
from behavior_priors.reports.titles import LONGEST_LINE, in_lines
from behavior_priors.runs.metrics import LARGEST
from behavior_priors.system.files import write_atomically
from behavior_priors.system.texts import printable

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
_FIRST = ("parrot", "sac", "spirl", "bc_sac", "pearl", "ssp", "flat_prior")
METHODS_IN_ORDER = (
    *(LABELS[name] for name in _FIRST),
    *(text for name, text in LABELS.items() if name not in _FIRST),
)
"""Methods, each of which has the colour and the dashes of its place."""

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
    # names of others may have dollars in them, and are no formulas
    "text.parse_math": False,
    "text.usetex": False,
}

_ABOUT_LOOKS = (r"Glyph \d+ .*missing from", "constrained_layout not applied")
"""How warnings of matplotlib's begin that help nobody: a letter becomes a box, a figure is full."""

LETTERS_PER_INCH = 9.5
"""Of a legend of full size."""

LEGEND_LINE = 0.28
"""Inches that a line of it takes; a figure has room for four beside its axes."""

LINE_OF_A_LEGEND = 6
"""Letters that would stand where a piece of the line does."""

PANELS_IN_A_ROW = 4

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
    not finite in single precision are left out.

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
        height = 5.0 + LEGEND_LINE * max(0, len(curves) - 4)
        figure = Figure(figsize=(9.0, height), layout="constrained")
        axes = figure.add_subplot()
        styles = styles_of(curves)
        for label, runs in curves.items():
            meaning = _draw_curve(axes, label, runs, styles[label])
            axes.lines[-1].set_label(as_label(f"{label} ({meaning})"))
        axes.set(xlabel=xlabel, ylabel=printable(ylabel), title=in_lines(title), ylim=ylim)
        _count_steps(axes)
        legend_below(figure, ncols=1)
        save_figure(figure, path)


def curve_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, Sequence[Run]]],
    *,
    ylabel: str,
    title: str = "",
    xlabel: str = "environment steps",
    ylim: tuple[float, float] | None = None,
) -> None:
    """Draws several figures of `learning_curves` beside each other, with the same axes and lines.

    Args:
      path: the file to write.
      panels: by title, the runs of each label; a panel may lack labels.
      ylabel: what the values are.
      title: above the figure.
      xlabel: what the steps are.
      ylim: range of the values shown; None to fit them.

    Raises:
      UserError: as `learning_curves`.
    """
    labels = dict.fromkeys(label for curves in panels.values() for label in curves)
    styles = styles_of(labels)
    columns = min(PANELS_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    lines = -(-len(labels) // PANELS_IN_A_ROW)
    with mpl.rc_context(STYLE):
        size = (3.6 * columns + 0.6, 3.0 * rows + 1.0 + LEGEND_LINE * lines)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        meanings: dict[str, None] = {}
        shown: dict[str, Any] = {}
        for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
            for label, runs in curves.items():
                meanings[_draw_curve(axes, label, runs, styles[label])] = None
                shown.setdefault(label, axes.lines[-1])
            axes.set_title(in_lines(name, LONGEST_LINE // 2), fontsize=14)
            axes.set(ylim=ylim)
            _count_steps(axes)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supylabel(printable(ylabel), fontsize=STYLE["axes.labelsize"])
        figure.supxlabel(
            printable(f"{xlabel} (lines: {'; '.join(meanings)})"), fontsize=STYLE["axes.labelsize"]
        )
        if title:
            figure.suptitle(in_lines(title))
        figure.legend(
            [shown[label] for label in labels],
            [as_label(label) for label in labels],
            loc="outside upper center",
            ncols=PANELS_IN_A_ROW,
        )
        save_figure(figure, path)


def styles_of(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colours and dashes of lines, of which no two in a figure are alike.

    A method has its own in every figure; where several lines are of one, the first has it.
    """
    labels = tuple(dict.fromkeys(labels))
    every = list(itertools.islice(zip(itertools.cycle(COLORS), itertools.cycle(LINE_STYLES)), 28))
    own = dict(zip(METHODS_IN_ORDER, every, strict=False))
    chosen: dict[str, tuple[str, str]] = {}
    for label in labels:
        style = own.get(label.partition(", ")[0]) or own.get(label)
        if style is not None and style not in chosen.values():
            chosen[label] = style
    free = itertools.cycle([x for x in every if x not in chosen.values()] or every)
    return {label: chosen.get(label) or next(free) for label in labels}


def _draw_curve(axes: Axes, label: str, runs: Sequence[Run], style: tuple[str, str]) -> str:
    """Draws a line, with a band where it has several runs, and says what they are."""
    color, line_style = style
    steps, values = _on_common_steps(label, runs)
    estimates = [summarize(values[:, i]) for i in range(len(steps))]
    value, low, high = np.array([estimate[:3] for estimate in estimates]).T
    axes.plot(steps, value, color=color, linestyle=line_style)
    if len(runs) > 1:
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    return estimates[0].meaning


def _count_steps(axes: Axes) -> None:
    """Steps from 0 on, in thousands and millions."""
    axes.margins(x=0)
    axes.set_xlim(0.0, max(axes.get_xlim()[1], 1.0))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def legend_below(figure: Figure, ncols: int, handles: Sequence[Artist] | None = None) -> None:
    """The legend below, as large as the longest text lets it be, of all lines or of handles."""
    if handles is None:
        handles = [x for axes in figure.axes for x in axes.get_legend_handles_labels()[0]]
    letters = max((len(str(x.get_label())) for x in handles), default=0) + LINE_OF_A_LEGEND
    room = LETTERS_PER_INCH * figure.get_size_inches()[0] / ncols
    size = STYLE["legend.fontsize"] * min(1.0, room / letters)
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, fontsize=size)


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
    styles = styles_of(rates)
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
                color=styles[method][0],
                label=as_label(method),
                xerr=(value - low, high - value),
                error_kw={"ecolor": "#333333", "elinewidth": 1.4},
            )
            for centre, rate, end in zip(centres, value, high, strict=True):
                axes.text(end + 0.012, centre, f"{rate:.0%}", va="center", fontsize=12)
        axes.set_yticks(range(len(objects)), [printable(name) for name in objects])
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        meanings = {rate.meaning for by_object in rates.values() for rate in by_object.values()}
        if len(meanings) > 1:  # numbers of episodes that differ from object to object
            meanings = {meaning.partition(" of ")[0] for meaning in meanings}
        axes.set(
            xlabel=f"{xlabel} (whiskers: {', '.join(sorted(meanings))})", title=in_lines(title)
        )
        axes.set(xlim=(0.0, 1.09), xticks=np.linspace(0, 1, 6), ylim=(len(objects) - 0.5, -0.5))
        figure.legend(loc="outside lower center", ncols=len(rates))
        save_figure(figure, path)


def _on_common_steps(label: str, runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Runs of one label as steps `[n]` and values `[runs, n]`, interpolated where steps differ."""
    finite = []
    for steps, values in runs:
        steps, values = np.asarray(steps, float), np.asarray(values, float)
        is_finite = np.isfinite(drawable(values))
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


def as_label(text: str) -> str:
    """A text of anybody's as matplotlib shows it in a legend, on one line."""
    line = printable(text)
    # matplotlib leaves out what begins so
    return f" {line}" if line.startswith("_") else line


def drawable(values: np.ndarray) -> np.ndarray:
    """The values `[...]` in double precision, NaN where single precision has no such number.

    Of larger ones matplotlib cannot make axes.
    """
    double = np.asarray(values, float)
    return np.where(np.abs(double) <= LARGEST, double, np.nan)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure.

    Raises:
      UserError: the file cannot be written.
    """
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        for beginning in _ABOUT_LOOKS:
            warnings.filterwarnings("ignore", beginning)
        figure.savefig(drawn, format=Path(path).suffix.removeprefix(".") or None)
    write_atomically(Path(path), drawn.getbuffer())
