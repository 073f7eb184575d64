"""The cases of two methods as paired dots: compare.svg, a file of its own that is light or dark as its reader is."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.columns import METRICS
from leaderboard.ranking.pair import Pair
from leaderboard.report import page_files, svg
from leaderboard.report.leaderboard_files import title
from leaderboard.report.pair_files import mean_text, number
from leaderboard.report.svg import GRID, INK, MUTED, SMALL, TEXT

_WIDTH, _LEFT, _RIGHT, _HEAD, _FOOT = 720, 110, 24, 106, 16
#: Rows get lower where there are many cases, and lose their names below `_NAMED`.
_ROW, _LOWEST, _TALLEST, _NAMED = 14.0, 2.0, 2400.0, 9.0
_LETTERS = 16
#: With values beyond the second number the axis is logarithmic from the first one on.
_LINEAR_TO, _LINEAR = 100.0, 1e4
#: Colours of the first method and the second.
_COLOURS = (svg.method_colour(17), svg.method_colour(2))


def pair_svg(pair: Pair, synthetic: bool = False) -> str:
    """The text of compare.svg, of the pair's main metric; it says so where patients are synthetic.

    One row a case, from the one in which the first method leads most to the one in which it is furthest behind: a dot
    for each method, and small ones for its single trainings.
    """
    first, second = pair.matrices.methods
    found = pair.differences[0]
    count = len(pair.matrices.cases)
    row = min(max(_TALLEST / count, _LOWEST), _ROW)
    heading = title(found.metric)
    label = (
        f"{heading} of each case under {first} and {second}, sorted by their difference. The means are in compare.csv."
    )
    label = f"Synthetic patients. {label}" if synthetic else label
    text = svg.draw(_WIDTH, _HEAD + row * count + _FOOT, label, lambda figure: _paint(figure, pair, row, synthetic))
    style = (
        f":root {{ {page_files.read('light.css')} }}"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {page_files.read('dark.css')} }} }}"
        "text { font-family: system-ui, sans-serif } svg { background: var(--paper) }"
    )
    start = text.index(">") + 1
    begin = text[:start].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    paper = '<rect width="100%" height="100%" style="fill:var(--paper)"/>'
    return f"{begin}<title>{escape(label)}</title><style>{style}</style>{paper}{text[start:]}\n"


def _paint(figure: Figure, pair: Pair, row: float, synthetic: bool) -> None:
    found, methods = pair.differences[0], pair.matrices.methods
    values = pair.matrices.values[found.metric]
    turn = 1 if found.higher_is_better else -1
    order = np.argsort(-turn * (values[0] - values[1]), kind="stable")
    is_there = ~np.isnan(pair.distances.get(found.metric, values))
    values = np.where(is_there, values, np.nan)
    axes = svg.axes_at(figure, _LEFT, _HEAD, _WIDTH - _LEFT - _RIGHT, row * len(order))
    _axis(axes, found.metric, pair)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_yticks([])
    if row >= _NAMED:
        names = [svg.shorten(pair.matrices.cases[case], _LETTERS) for case in order]
        axes.set_yticks(range(len(order)), names)
        axes.tick_params(axis="y", length=0, labelsize=min(row * 0.72, SMALL), labelcolor=MUTED)
    places = np.arange(len(order))
    both = is_there.all(axis=0)[order]
    low, high = values.min(axis=0)[order][both], values.max(axis=0)[order][both]
    axes.hlines(places[both], low, high, color=GRID, linewidth=min(row / 4, 2), zorder=0.5)
    means = [
        mean_text(found.first, found.first_defined_mean, found.first_undefined),
        mean_text(found.second, found.second_defined_mean, found.second_undefined),
    ]
    ends = f"{number(found.low, sign=True)} to {number(found.high, sign=True)}"
    difference = f"difference {number(found.difference, sign=True)} ({ends})"
    if found.undefined:
        difference = "undefined distances have no dot"
    size = min(max(row * 0.62, 2.4), 7.0)
    trainings = pair.matrices.trainings
    for method, colour in enumerate(_COLOURS):
        single = trainings.values[found.metric][method] if trainings else values[method][None]
        shown = is_there[method][order]
        for training in single if len(single) > 1 else ():
            svg.dots(axes, training[order][shown], places[shown], colour, size * 0.5, opacity=0.4)
        svg.dots(axes, values[method][order][shown], places[shown], colour, size, opacity=0.9)
        _legend(figure, method, f"{methods[method]}, mean {means[method]}", colour)
    remarks = [
        "small: one training" if max(pair.trainings.values()) > 1 else "",
        "synthetic patients" if synthetic else "",
    ]
    lines = [
        f"{difference}; P(first better) {found.chance:.2f}",
        "; ".join([f"{found.wins} won, {found.ties} tied, {found.losses} lost", *filter(None, remarks)]),
    ]
    for place, line in enumerate(lines):
        y = 1 - (58 + 15 * place) / _height(figure)
        figure.text(_LEFT / _WIDTH, y, line, color=INK, fontsize=SMALL, va="center")


def _height(figure: Figure) -> float:
    return float(figure.get_size_inches()[1] * 72)


def _legend(figure: Figure, method: int, text: str, colour: str) -> None:
    """A dot and a name above the axes."""
    y = 1 - (20 + 18 * method) / _height(figure)
    figure.text((_LEFT - 14) / _WIDTH, y, "●", color=colour, fontsize=SMALL, va="center")
    figure.text(_LEFT / _WIDTH, y, svg.shorten(text, 84), color=INK, fontsize=TEXT, va="center")


def _axis(axes: Axes, metric: str, pair: Pair) -> None:
    """The metric's axis on top: fractions from 0 to 1, a long tail compressed."""
    trainings = pair.matrices.trainings
    values = trainings.values[metric] if trainings else tuple(pair.matrices.values[metric][:, None])
    is_there = ~np.isnan(pair.distances.get(metric, pair.matrices.values[metric]))
    drawn = np.concatenate([own[:, there].ravel() for own, there in zip(values, is_there, strict=True)])
    of = METRICS.get(metric)
    low, high = min(float(drawn.min(initial=0.0)), 0.0), max(float(drawn.max(initial=0.0)), 1e-9)
    linear_to = of.linear_to if of and of.linear_to else _LINEAR_TO if high > _LINEAR else high
    axes.set_xlim(low * 1.05 - 0.02 * linear_to, high * 1.05)
    axes.xaxis.tick_top()
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", labelsize=SMALL, length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    if of and of.most == 1:
        axes.set_xlim(-0.012, 1.012)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    elif linear_to < high:
        axes.set_xscale("symlog", linthresh=linear_to)
        powers = [10.0**power for power in range(15) if 10.0**power >= linear_to / 2]
        ticks = [tick for tick in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.annotate(
        title(metric), (0, 1), (-12, 9), xycoords="axes fraction", textcoords="offset points", ha="right",
        va="center", color=MUTED, fontsize=SMALL,
    )  # fmt: skip
