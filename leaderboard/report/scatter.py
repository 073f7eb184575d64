"""Small multiples, one panel per method: agreement of volumes, and Dice against the size of the lesion."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.ranking.strata import SIZE_LIMITS_ML
from leaderboard.report import svg
from leaderboard.report.content import Content
from leaderboard.report.svg import GRID, INK, MUTED, NARROW, WIDE, Drawing

_COLUMNS, _COLUMNS_NARROW = 4, 2
_PANEL, _PANEL_NARROW = 178, 128
_TITLE, _AXIS = 22, 30
_LETTERS, _LETTERS_NARROW = 34, 24
#: Smaller volumes are drawn at the left edge of a logarithmic axis.
_SMALLEST_ML = 0.3


@dataclass(frozen=True)
class VolumeAgreement:
    """Bland-Altman statistics of a method, in mL, over the cases that have both volumes."""

    cases: int  #: their number
    bias: float  #: mean of predicted - reference
    low: float  #: lower limit of agreement, bias - 1.96 SD
    high: float  #: upper limit
    correlation: float  #: Pearson's, of the two volumes; NaN if it is undefined


def volume_agreement(content: Content, method: str) -> VolumeAgreement:
    """Bland-Altman statistics; with the sample standard deviation, as Bland and Altman use it."""
    reference, predicted = _volumes(content, method)
    if not reference.size:
        return VolumeAgreement(0, np.nan, np.nan, np.nan, np.nan)
    difference = predicted - reference
    bias = float(difference.mean())
    spread = 1.96 * float(difference.std(ddof=1)) if difference.size > 1 else np.nan
    varied = difference.size > 1 and np.ptp(reference) > 0 and np.ptp(predicted) > 0
    correlation = float(np.corrcoef(reference, predicted)[0, 1]) if varied else np.nan
    return VolumeAgreement(difference.size, bias, bias - spread, bias + spread, correlation)


def bland_altman(content: Content) -> Drawing:
    """Difference of the volumes against their mean, with the bias and the limits of agreement."""
    limit = max(
        [
            10.0,
            *(
                float(np.abs(predicted - reference).max(initial=0.0))
                for reference, predicted in (_volumes(content, method) for method in content.shown)
            ),
        ]
    )

    largest = max(
        float(((reference + predicted) / 2).max(initial=0.0))
        for reference, predicted in (_volumes(content, method) for method in content.shown)
    )

    def paint(axes: Axes, method: str) -> None:
        reference, predicted = _volumes(content, method)
        statistics = volume_agreement(content, method)
        _size_axis(axes, largest)
        axes.set_yscale("symlog", linthresh=10, linscale=0.8)
        axes.set_ylim(-limit * 1.15, limit * 1.15)
        ticks = [tick for tick in (-100, -10, 0, 10, 100) if abs(tick) <= limit * 1.15]
        axes.set_yticks(ticks, [f"{tick}".replace("-", "−") for tick in ticks])
        axes.axhline(0, color=MUTED, linewidth=0.8)
        if statistics.cases > 1:
            axes.axhspan(statistics.low, statistics.high, color=svg.SHADE, linewidth=0, zorder=0)
            axes.axhline(statistics.bias, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        colour = svg.method_colour(content.colours[method])
        svg.dots(axes, np.clip((reference + predicted) / 2, *axes.get_xlim()), predicted - reference, colour, 3.4)

    label = (
        "Bland-Altman plots, one panel per method: predicted minus reference volume against the mean of both, in mL. "
        "Bias and limits of agreement are in the table below."
    )
    return _multiples(content, label, paint, "mean of both volumes [mL]", "predicted − reference [mL]")


def dice_by_size(content: Content) -> Drawing:
    """Dice against the reference volume, with the mean in each stratum of size."""
    largest = float(content.cases["reference_ml"].max())

    def paint(axes: Axes, method: str) -> None:
        rows = content.rows_by_method[method]
        size, dice = rows["reference_ml"].to_numpy(dtype=float), content.values(method, "dice")
        missing = (rows["status"] == "missing").to_numpy()
        _size_axis(axes, largest)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        low, high = axes.get_xlim()
        for limit in SIZE_LIMITS_ML:
            axes.axvline(limit, color=MUTED, linewidth=0.7, linestyle=(0, (2, 3)))
        colour = svg.method_colour(content.colours[method])
        at = np.clip(size, low, high)
        svg.dots(axes, at[~missing], dice[~missing], colour, 3.4)
        axes.plot(at[missing], dice[missing], linestyle="none", marker="x", markersize=5, color=INK, clip_on=False)
        edges = [low, *SIZE_LIMITS_ML, high]
        for stratum, (start, end) in enumerate(itertools.pairwise(edges)):
            inside = content.sizes(method) == stratum
            if inside.any():
                axes.plot([start, end], [dice[inside].mean()] * 2, color=INK, linewidth=2, solid_capstyle="butt")

    label = (
        "Dice against the reference volume in mL, one panel per method, with the mean Dice of each range of size. "
        "The means are in the table below."
    )
    return _multiples(content, label, paint, "reference volume [mL]", "Dice")


def _volumes(content: Content, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Reference and predicted volumes of the cases that have both."""
    rows = content.rows_by_method[method]
    both = rows["predicted_ml"].notna() & (rows["status"] != "missing")
    return rows.loc[both, "reference_ml"].to_numpy(dtype=float), rows.loc[both, "predicted_ml"].to_numpy(dtype=float)


def _size_axis(axes: Axes, largest: float) -> None:
    """A logarithmic axis of volumes from 0.3 mL to at least 500, and to beyond the largest."""
    axes.set_xscale("log")
    high = max(500.0, largest * 1.5)
    axes.set_xlim(_SMALLEST_ML, high)
    ticks = [tick for tick in (1, 10, 100, 1000, 10_000) if tick < high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _multiples(content: Content, label: str, paint: Callable[[Axes, str], None], x_title: str, y_title: str) -> Drawing:
    return Drawing(
        _grid(content, label, paint, (x_title, y_title), WIDE, _COLUMNS, _PANEL, _LETTERS),
        _grid(content, label, paint, (x_title, y_title), NARROW, _COLUMNS_NARROW, _PANEL_NARROW, _LETTERS_NARROW),
    )


def _grid(
    content: Content,
    label: str,
    paint: Callable[[Axes, str], None],
    titles: tuple[str, str],
    total: int,
    columns: int,
    height: int,
    letters: int,
) -> str:
    """Panels in rows; the axes' titles are given once, at the upper left."""
    methods = content.shown
    columns = max(min(columns, len(methods)), 2)
    left, right, gap = 34, 14, 40 if total == WIDE else 34
    width = (total - left - right - gap * (columns - 1)) / columns
    lines = -(-len(methods) // columns)

    def compose(figure: Figure) -> None:
        for number, method in enumerate(methods):
            line, column = divmod(number, columns)
            axes = svg.axes_at(
                figure, left + column * (width + gap), 20 + _TITLE + line * (height + _TITLE + _AXIS), width, height
            )
            svg.mark_method(axes, number)
            axes.spines["left"].set_visible(True)
            axes.grid(color=GRID, linewidth=0.5)
            paint(axes, method)
            axes.tick_params(labelsize=svg.SMALL if total == WIDE else 9)
            axes.annotate(
                f"{content.ranks[method]}  {svg.shorten(method, letters)}", (0, 1), (0, 6), xycoords="axes fraction",
                textcoords="offset points", color=INK, fontweight="bold", fontsize=svg.SMALL if total == WIDE else 9,
            )  # fmt: skip
        figure.text(0, 1, f"↑ {titles[1]}\u2003→ {titles[0]}", color=MUTED, va="top", fontsize=9.5)

    grid = svg.grid_attribute(columns, width + gap, height + _TITLE + _AXIS)
    return svg.draw(total, 24 + lines * (height + _TITLE + _AXIS), label, compose, grid)
