"""What one training of each method scored: seeds as dots beside the mean and its interval."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.columns import METRICS
from leaderboard.ranking.exact import means
from leaderboard.report import svg
from leaderboard.report.content import Content
from leaderboard.report.leaderboard_files import title
from leaderboard.report.svg import GRID, INK, NARROW, SHADE, SMALL, WIDE, Drawing

_HEAD, _FOOT, _ROW, _NARROW_ROW, _NAMES = 44, 8, 30, 46, 230
_LETTERS, _LETTERS_NARROW = 34, 46


def seed_dots(content: Content, metric: str) -> Drawing:
    """One row per method: a dot for the mean of each training over all cases, the mean of these, and its interval."""
    label = (
        f"Mean {title(metric)} of each training, one row per method, with the mean over the trainings and its 95 % "
        "interval. Means and intervals are in the ranking table, standard deviations over trainings in the table below."
    )
    return Drawing(
        *(
            svg.draw(
                width,
                _HEAD + row * len(content.shown) + _FOOT,
                label,
                lambda figure, narrow=narrow: _paint(figure, content, metric, narrow),  # type: ignore[misc]
                svg.grid_attribute(1, 0, row),
            )
            for width, row, narrow in ((WIDE, _ROW, False), (NARROW, _NARROW_ROW, True))
        )
    )


def _paint(figure: Figure, content: Content, metric: str, narrow: bool) -> None:
    row = _NARROW_ROW if narrow else _ROW
    left, width = (12, NARROW - 32) if narrow else (_NAMES + 14, WIDE - _NAMES - 40)
    axes = svg.axes_at(figure, left, _HEAD, width, row * len(content.shown))
    axes.set_ylim(len(content.shown), 0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0, labelsize=SMALL)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.annotate(
        title(metric), (0, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", color=INK,
        fontweight="bold",
    )  # fmt: skip
    for place in range(len(content.shown)):
        with svg.of_method(axes, place):
            _row(axes, content, metric, place, narrow)
    if (of := METRICS.get(metric)) and of.most == 1:
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -0.005), min(high, 1.005))


def _row(axes: Axes, content: Content, metric: str, place: int, narrow: bool) -> None:
    method, y = content.shown[place], place + (0.68 if narrow else 0.5)
    row, matrices = content.table.iloc[place], content.analysis.matrices
    colour = svg.method_colour(content.colours[method])
    axes.axhline(place + 1, color=GRID, linewidth=0.5)
    name = svg.shorten(method, _LETTERS_NARROW if narrow else _LETTERS)
    if narrow:
        axes.annotate(f"{content.ranks[method]}  {name}", (0, place + 0.25), xycoords=("axes fraction", "data"),
                      va="center", color=INK)  # fmt: skip
    else:
        axes.annotate(f"{name}  {content.ranks[method]}", (0, y), (-12, 0), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="center", color=INK)  # fmt: skip
    if f"{metric}_ci_low" in content.table.columns:
        ends = [row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]]
        axes.plot(ends, [y, y], color=SHADE, linewidth=9, solid_capstyle="butt", zorder=1)
    trainings = matrices.trainings.values[metric][place] if matrices.trainings else matrices.values[metric][[place]]
    if len(trainings) > 1:
        scores = means(trainings)
        svg.dots(axes, scores, y + 0.16 * svg.spread(len(scores)), colour, 7, opacity=0.8)
    axes.plot(np.mean(means(trainings)), y, marker="D", markersize=4.5, color=INK, markeredgewidth=0, zorder=9)
