"""How firm the ranks are: resampled ranks with the confidence sets, and the schemes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.report import svg
from leaderboard.report.content import Content
from leaderboard.report.svg import GRID, INK, MUTED, NARROW, PAPER, SHADE, SMALL, WIDE, Drawing

_HEAD, _FOOT, _ROW, _NARROW_ROW = 30, 8, 34, 44
_NAMES = 230
_LETTERS, _LETTERS_NARROW = 34, 46
_SMALLEST_SHARE = 0.005


def rank_stability(content: Content) -> Drawing:
    """One row per method, one column per rank: dots by the share of resamples, a bar for the confidence set."""
    label = "Rank stability: for each method its rank, its 95 % confidence set and how often each rank was resampled."

    def paint(figure: Figure, narrow: bool) -> None:
        row = _NARROW_ROW if narrow else _ROW
        left, width = (8, NARROW - 16) if narrow else (_NAMES + 14, WIDE - _NAMES - 30)
        axes = svg.axes_at(figure, left, _HEAD, width, row * len(content.shown))
        _stability(axes, content, narrow, min(row * 0.58, width / _columns(content) * 0.9))

    count = len(content.shown)
    return Drawing(
        *(
            svg.draw(
                total, _HEAD + row * count + _FOOT, label, partial(paint, narrow=narrow), svg.grid_attribute(1, 0, row)
            )
            for total, row, narrow in ((WIDE, _ROW, False), (NARROW, _NARROW_ROW, True))
        )
    )


def _columns(content: Content) -> int:
    """The number of ranks that the shown methods can have."""
    uncertainty = content.analysis.uncertainty
    count = len(content.shown)
    return max(count, int(uncertainty.rank_high[:count].max())) if uncertainty else count


def _stability(axes: Axes, content: Content, narrow: bool, largest: float) -> None:
    columns = _columns(content)
    axes.set_xlim(0.5, columns + 0.5)
    axes.set_ylim(len(content.shown), 0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.tick_top()
    every = 1 if columns <= (12 if narrow else 45) else 5 if columns <= 60 else 50
    ticks = [rank for rank in range(1, columns + 1) if rank == 1 or rank % every == 0]
    axes.set_xticks(ticks)
    axes.tick_params(axis="x", length=0, labelsize=SMALL)
    for row in range(len(content.shown)):
        with svg.of_method(axes, row):
            _row(axes, content, row, narrow, largest)


def _row(axes: Axes, content: Content, row: int, narrow: bool, largest: float) -> None:
    """Name, set, resampled ranks and rank of a method."""
    method, found = content.shown[row], content.analysis.uncertainty
    colour, rank = svg.method_colour(content.colours[method]), content.ranks[method]
    y = row + (0.68 if narrow else 0.5)
    axes.axhline(row + 1, color=GRID, linewidth=0.5)
    if narrow:
        text = f"{rank}  {svg.shorten(method, _LETTERS_NARROW)}"
        axes.annotate(text, (0, row + 0.22), xycoords=("axes fraction", "data"), va="center", color=INK)
    else:
        axes.annotate(
            f"{svg.shorten(method, _LETTERS)}  {rank}", (0, y), (-12, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", color=INK,
        )  # fmt: skip
    if found:
        ends = [found.rank_low[row] - 0.3, found.rank_high[row] + 0.3]
        axes.plot(ends, [y, y], color=SHADE, linewidth=largest + 5, solid_capstyle="round", zorder=1, clip_on=False)
        shares = found.rank_frequency[row, : _columns(content)]
        for column in np.flatnonzero(shares >= _SMALLEST_SHARE):
            size = max(largest * float(np.sqrt(shares[column])), 1.5)
            svg.dots(axes, np.array([column + 1.0]), np.array([y]), colour, size, opacity=0.85)
    axes.plot(rank, y, marker="o", markersize=3.4, color=PAPER, markeredgecolor=INK, markeredgewidth=1, zorder=9)


def scheme_ranks(content: Content) -> Drawing:
    """One line per method through its rank in every scheme."""
    label = "Ranks of the methods in each scheme, one line per method. The numbers are in the table below."

    def paint(figure: Figure, narrow: bool) -> None:
        left, right = (34, 118) if narrow else (_NAMES + 30, _NAMES + 30)
        width, total = (NARROW, 20) if narrow else (WIDE, 22)
        axes = svg.axes_at(figure, left, _HEAD + 6, width - left - right, total * len(content.shown))
        _bump(axes, content, narrow)

    count = len(content.shown)
    return Drawing(
        svg.draw(WIDE, _HEAD + 14 + 22 * count, label, lambda figure: paint(figure, False)),
        svg.draw(NARROW, _HEAD + 14 + 20 * count, label, lambda figure: paint(figure, True)),
    )


def _bump(axes: Axes, content: Content, narrow: bool) -> None:
    agreement = content.analysis.agreement
    schemes = agreement.schemes
    ranks = dict(zip(schemes, agreement.ranks.tolist(), strict=True))
    count = len(content.shown)
    axes.set_xlim(0, max(len(schemes) - 1, 1))
    axes.set_ylim(count + 0.5, 0.5)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.tick_top()
    titles = [name.replace("-then-", "\n→ ") if narrow else name for name in schemes]
    axes.set_xticks(range(len(schemes)), titles)
    axes.tick_params(axis="x", length=0, labelsize=9 if narrow else SMALL, labelcolor=INK)
    for place in range(len(schemes)):
        axes.axvline(place, color=GRID, linewidth=0.7)
    # tied methods share a rank; each takes a place of its own so that no line hides another
    places = {scheme: _places(ranks[scheme][:count]) for scheme in schemes}
    for row in range(count):
        with svg.of_method(axes, row):
            _line(axes, content, row, [places[scheme][row] for scheme in schemes], narrow)


def _line(axes: Axes, content: Content, row: int, y: Sequence[int], narrow: bool) -> None:
    """A method's line, with its name and its first and last rank at the ends."""
    method, ranks = content.shown[row], content.analysis.agreement.ranks
    line, marker, _ = svg.method_mark(content.colours[method])
    last = len(y) - 1
    axes.plot(range(len(y)), y, color=svg.method_colour(content.colours[method]), linewidth=1.8, alpha=0.85,
              linestyle=line, marker=marker, markersize=4.5, clip_on=False)  # fmt: skip
    ends = [(0, y[0], -10, "right", str(ranks[0][row]))]
    ends.append((last, y[-1], 10, "left", svg.shorten(method, 17 if narrow else _LETTERS)))
    if not narrow:
        ends[0] = (0, y[0], -10, "right", f"{svg.shorten(method, _LETTERS)}  {ranks[0][row]}")
        ends[1] = (last, y[-1], 10, "left", f"{ranks[-1][row]}  {ends[1][4]}")
    for x, at, shift, side, text in ends:
        axes.annotate(text, (x, at), (shift, 0), textcoords="offset points", ha=side, va="center",
                      color=INK if side == "left" or not narrow else MUTED)  # fmt: skip


def _places(ranks: Sequence[int]) -> list[int]:
    """Places 1 to n in the order of the ranks; ties in the order given."""
    order = sorted(range(len(ranks)), key=lambda row: (ranks[row], row))
    return [order.index(row) + 1 for row in range(len(ranks))]
