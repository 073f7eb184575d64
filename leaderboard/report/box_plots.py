"""Box and dot plots of the metrics, one row per method."""

from __future__ import annotations

import warnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from leaderboard.columns import METRICS, Metric
from leaderboard.report import svg
from leaderboard.report.content import Content
from leaderboard.report.leaderboard_files import with_and
from leaderboard.report.svg import GRID, INK, MUTED, NARROW, SHADE, SMALL, TEXT, WIDE, Drawing

_ROW, _HEAD, _FOOT = 34, 60, 6
_NARROW_ROW = 48
_NAMES = 214
_GAP = 26
_MOST_LETTERS, _MOST_LETTERS_NARROW = 30, 38


def box_plots(content: Content, metrics: tuple[str, ...]) -> Drawing:
    """Box and dots of every metric, one panel per metric; on a phone the panels are below each other."""
    names = with_and([METRICS[name].title for name in metrics])
    wide = svg.draw(
        WIDE,
        _HEAD + _ROW * len(content.shown) + _FOOT,
        f"Box and dot plots of {names}, one row per method in the order of the ranking. Means are in the ranking "
        "table, single values in the table of cases.",
        lambda figure: _panels(figure, content, metrics),
        svg.grid_attribute(1, 0, _ROW),
    )
    narrow = [
        svg.draw(
            NARROW,
            _HEAD + _NARROW_ROW * len(content.shown) + _FOOT,
            f"Box and dot plot of {METRICS[name].title}, one row per method in the order of the ranking.",
            lambda figure, name=name: _single(figure, content, name),  # type: ignore[misc]
            svg.grid_attribute(1, 0, _NARROW_ROW),
        )
        for name in metrics
    ]
    return Drawing(wide, "".join(narrow))


def _panels(figure: Figure, content: Content, metrics: tuple[str, ...]) -> None:
    width = (WIDE - _NAMES - 8) / len(metrics) - _GAP
    height = _ROW * len(content.shown)
    for number, metric in enumerate(metrics):
        axes = svg.axes_at(figure, _NAMES + 12 + number * (width + _GAP), _HEAD, width, height)
        _head(axes, metric)
        _boxes(axes, content, metric, middle=0.5)
        if number == 0:
            _label_rows(axes, content)
    _stripes(figure, content, _NAMES)


def _single(figure: Figure, content: Content, metric: str) -> None:
    axes = svg.axes_at(figure, 12, _HEAD, NARROW - 40, _NARROW_ROW * len(content.shown))
    _head(axes, metric)
    _boxes(axes, content, metric, middle=0.68)
    for row, method in enumerate(content.shown):
        with svg.of_method(axes, row):
            _name_above(axes, content, method, row + 0.24)


def _head(axes: Axes, metric: str) -> None:
    """Title and direction above the panel and the numbers of its axis."""
    axes.annotate(
        METRICS[metric].heading, (0, 1), (0, 36), xycoords="axes fraction", textcoords="offset points",
        color=INK, fontsize=TEXT, fontweight="bold",
    )  # fmt: skip
    axes.annotate(
        METRICS[metric].direction, (0, 1), (0, 21), xycoords="axes fraction", textcoords="offset points", color=MUTED
    )


def _label_rows(axes: Axes, content: Content) -> None:
    """Rank and name to the left of each row."""
    for row, method in enumerate(content.shown):
        text = f"{svg.shorten(method, _MOST_LETTERS)}  {content.ranks[method]}"
        with svg.of_method(axes, row):
            axes.annotate(
                text, (0, row + 0.5), (-12, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", va="center", color=INK, fontsize=SMALL,
            )  # fmt: skip


def _name_above(axes: Axes, content: Content, method: str, y: float) -> None:
    axes.annotate(
        f"{content.ranks[method]}  {svg.shorten(method, _MOST_LETTERS_NARROW)}", (0, y),
        xycoords=("axes fraction", "data"), va="center", color=INK, fontsize=SMALL,
    )  # fmt: skip


def _stripes(figure: Figure, content: Content, left: float) -> None:
    """A hairline below each row across all panels."""
    height = figure.get_size_inches()[1] * 72
    for row in range(1, len(content.shown)):
        y = 1 - (_HEAD + _ROW * row) / height
        line = figure.add_artist(Line2D([0, 1], [y, y], color=GRID, linewidth=0.5, zorder=0))
        svg.mark_method(line, row - 1)


def _boxes(axes: Axes, content: Content, metric: str, middle: float) -> None:
    """In each row a box with whiskers and the mean, below it the dots of the cases, and the number without a value."""
    count = len(content.shown)
    axes.set_ylim(count, 0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.xaxis.tick_top()
    samples = [content.values(method, metric) for method in content.shown]
    _scale(axes, METRICS[metric], np.concatenate(samples))
    for row, (method, sample) in enumerate(zip(content.shown, samples, strict=True)):
        with svg.of_method(axes, row):
            _box(axes, sample, METRICS[metric], svg.method_colour(content.colours[method]), row + middle)


def _box(axes: Axes, sample: np.ndarray, metric: Metric, colour: str, middle: float) -> None:
    """Box, whiskers, mean and dots of a method in the middle of its row, and the number of undefined values."""
    from matplotlib.cbook import boxplot_stats

    values = sample[~np.isnan(sample)]
    if metric.is_distance and values.size < sample.size:
        axes.annotate(
            f"{sample.size - values.size} undefined", (1, middle - 0.5), (0, -9), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", color=MUTED, fontsize=9,
        )  # fmt: skip
    if not values.size:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        box = boxplot_stats(values)[0]
    y = middle - 0.06
    axes.plot([box["whislo"], box["whishi"]], [y, y], color=colour, linewidth=1, solid_capstyle="butt")
    axes.add_artist(
        Rectangle(
            (box["q1"], y - 0.11), box["q3"] - box["q1"], 0.22, facecolor=SHADE, edgecolor=colour, linewidth=1.2,
            zorder=3,
        )
    )  # fmt: skip
    axes.plot([box["med"]] * 2, [y - 0.11, y + 0.11], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=4)
    axes.plot(box["mean"], y, marker="D", markersize=4, color=INK, markeredgewidth=0, zorder=5)
    svg.dots(axes, values, middle + 0.23 + 0.12 * svg.spread(values.size), colour, 2.6)


def _scale(axes: Axes, metric: Metric, values: np.ndarray) -> None:
    """Axis limits and ticks: fractions from 0 to 1, distances from 0, volumes compressed."""
    values = values[~np.isnan(values)]
    signed = metric.least is None
    if metric.linear_to is not None:
        axes.set_xscale("symlog", linthresh=metric.linear_to, linscale=0.6)
        high = float(np.abs(values).max(initial=1.0)) * 1.1
        low = -high if signed else 0.0
        axes.set_xlim(low, high)
        ticks = (-100, -10, 0, 10, 100) if signed else (0, 1, 10, 100, 1000)
        within = [tick for tick in ticks if low <= tick <= high]
        axes.set_xticks(within, [f"{tick}".replace("-", "−") for tick in within])
        axes.minorticks_off()
    elif metric.most == 1:
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    else:
        axes.set_xlim(0, float(values.max(initial=1.0)) * 1.05 or 1.0)
        axes.locator_params(axis="x", nbins=4, integer=True)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    if signed:
        axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.tick_params(axis="x", labelsize=SMALL)
