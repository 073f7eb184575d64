"""The Dice of every case of every method as a heat map: one row per method, one column per case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np

from leaderboard.ranking.strata import SIZE_NAMES
from leaderboard.report import svg
from leaderboard.report.content import Content
from leaderboard.report.gallery import by_difficulty
from leaderboard.report.leaderboard_files import with_and
from leaderboard.report.svg import NARROW, SMALL, WIDE, Drawing

#: Ten steps of Dice, dark for 0: viridis (CC0), which also works in grey and for the colour-blind.
STEPS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
_NAMES, _LETTERS, _LETTERS_NARROW = 230, 34, 46
_ROW, _BAR, _NARROW_ROW = 24, 18, 40
_LEGEND, _MARKS = 34, 20
#: Columns at least this wide have the cases' names.
_NAMED = 9.0
#: Width of a letter of the names and remarks, at most.
_LETTER = 6.2


@dataclass(frozen=True)
class HeatMap:
    """One order of the cases."""

    title: str  #: the quantity that they are ordered by
    words: str  #: the direction: from which end to which
    remark: str  #: a further sentence for the caption
    drawing: Drawing  #: the figure


@dataclass(frozen=True)
class _Order:
    """The cases of a figure in their order."""

    cases: Sequence[str]  #: their names
    #: names of the ranges of size with their number of cases, if the order is by size
    ranges: Sequence[tuple[str, int]] = ()
    ends: tuple[str, str] = ("", "")  #: texts above the first and the last case


@dataclass(frozen=True)
class _Columns:
    """Where the columns are."""

    left: float  #: edge of the first, in CSS pixels
    width: float  #: of each
    total: int  #: width of the figure


def heat_maps(content: Content) -> list[HeatMap]:
    """The cases by the size of their lesion, and by difficulty."""
    volumes = content.rows_by_method[content.methods[0]]["reference_ml"].tolist()
    size = dict(zip(content.case_names, volumes, strict=True))
    by_size = sorted(content.case_names, key=lambda case: size[case])
    ranges = [
        (SIZE_NAMES[place], len(list(cases))) for place, cases in groupby(by_size, lambda case: content.size_of[case])
    ]
    hardest_first = by_difficulty(content)[::-1]
    ends = ("hardest", "easiest") if len(hardest_first) > 1 else ("", "")
    remark = f" Lines part the lesions {with_and(list(SIZE_NAMES))}." if len(ranges) > 1 else ""
    from_hardest = "from the hardest to the easiest by mean Dice over all methods"
    return [
        _heat_map(content, "lesion volume", "from the smallest to the largest lesion", remark, _Order(by_size, ranges)),
        _heat_map(content, "difficulty", from_hardest, "", _Order(hardest_first, ends=ends)),
    ]


def _heat_map(content: Content, title: str, words: str, remark: str, order: _Order) -> HeatMap:
    label = (
        f"Dice of each case and method, one row per method and one column per case, {words}. The values are in the "
        "table of all cases."
    )
    widths = [_draw(content, order, label, narrow) for narrow in (False, True)]
    return HeatMap(title, words, remark, Drawing(*widths))


def _draw(content: Content, order: _Order, label: str, narrow: bool) -> str:
    """The figure of one width."""
    total, left = (NARROW, 8) if narrow else (WIDE, _NAMES)
    columns = _Columns(left, (total - left - 8) / len(order.cases), total)
    row_height = _NARROW_ROW if narrow else _ROW
    named = not narrow and columns.width >= _NAMED
    names_end = _LEGEND + (8 + _LETTER * max(map(len, order.cases)) if named else 0)
    top = names_end + _MARKS
    chosen = [content.case_names.index(case) for case in order.cases]
    parts = [_legend(), _marks(order, columns, top - 6)]
    if named:
        parts.append(_case_names(order.cases, columns, names_end))
    for place, method in enumerate(content.shown):
        y = top + place * row_height
        cells, middle = _cells(content, method, chosen), y + (28 if narrow else _ROW / 2)
        parts.append(
            f'<g data-m="{content.places[method]}">{_name(content, method, y, narrow)}'
            f'<g transform="translate({left} {middle:g}) scale({columns.width:.5g} 1)" fill="none" '
            f'shape-rendering="crispEdges">{cells}</g></g>'
        )
    height = top + row_height * len(content.shown) + 4
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {total} {height:.4g}" width="{total}" '
        f'height="{height:.4g}" {svg.grid_attribute(1, 0, row_height)}>{"".join(parts)}</svg>'
    )


def _name(content: Content, method: str, y: float, narrow: bool) -> str:
    """Rank and name of a method beside its row, or above it."""
    rank = content.ranks[method]
    if narrow:
        text = f'<text x="8" y="{y + 14:g}">{rank}  {escape(svg.shorten(method, _LETTERS_NARROW))}</text>'
    else:
        place = f'x="{_NAMES - 12}" y="{y + _ROW / 2 + 4:g}" text-anchor="end"'
        text = f"<text {place}>{escape(svg.shorten(method, _LETTERS))}  {rank}</text>"
    return f'<g style="font-size:{SMALL}px;fill:var(--ink)">{text}</g>'


def _cells(content: Content, method: str, order: Sequence[int]) -> str:
    """A method's row, one unit per case: each step of Dice is one path of horizontal lines as thick as the row."""
    dice = content.values(method, "dice")[order]
    missing = (content.rows_by_method[method]["status"] == "missing").to_numpy()[order]
    steps = np.where(missing, -1, np.clip(np.floor(dice * len(STEPS)), 0, len(STEPS) - 1)).astype(int)
    paths = []
    for step in np.unique(steps).tolist():
        lines = "".join(f"M{first} 0h{length}" for first, length in _runs(steps == step))
        colour, width = (STEPS[step], _BAR) if step >= 0 else ("var(--muted)", 1.5)
        paths.append(f'<path d="{lines}" stroke="{colour}" stroke-width="{width}"/>')
    return "".join(paths)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First place and length of each run of a mask."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(start), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _legend() -> str:
    """The steps of Dice, and the mark of a missing prediction."""
    width, left = 14, 40
    steps = "".join(
        f'<rect x="{left + place * width}" y="4" width="{width}" height="12" fill="{colour}"/>'
        for place, colour in enumerate(STEPS)
    )
    end = left + width * len(STEPS)
    text = (
        f'<text x="0" y="14">Dice</text><text x="{left - 4}" y="14" text-anchor="end">0</text>'
        f'<text x="{end + 4}" y="14">1</text><text x="{end + 46}" y="14">no prediction</text>'
    )
    line = f'<path d="M{end + 26} 10h14" stroke="var(--muted)" stroke-width="1.5"/>'
    return f'<g style="font-size:{SMALL}px;fill:var(--muted)">{text}</g>{steps}{line}'


def _marks(order: _Order, columns: _Columns, y: float) -> str:
    """Names of the ranges of size above their columns where they fit, or of both ends."""
    texts, lines, at = [], [], 0
    for name, count in order.ranges:
        x = columns.left + at * columns.width
        if count * columns.width > _LETTER * len(name):
            texts.append(f'<text x="{x + 2:.4g}" y="{y:g}">{escape(name)}</text>')
        lines.append(f"M{x:.4g} {y - 10:g}v14")
        at += count
    first, last = order.ends
    if first:
        texts.append(f'<text x="{columns.left}" y="{y:g}">{first}</text>')
        texts.append(f'<text x="{columns.total - 8}" y="{y:g}" text-anchor="end">{last}</text>')
    drawn = f'<path d="{"".join(lines)}" stroke="var(--muted)"/>' if lines else ""
    return f'<g style="font-size:{SMALL}px;fill:var(--muted)">{"".join(texts)}</g>{drawn}'


def _case_names(cases: Sequence[str], columns: _Columns, bottom: float) -> str:
    texts = []
    for place, case in enumerate(cases):
        x = columns.left + (place + 0.5) * columns.width + 3
        texts.append(f'<text transform="translate({x:.5g} {bottom:g}) rotate(-90)">{escape(case)}</text>')
    return f'<g style="font-size:9px;fill:var(--muted)">{"".join(texts)}</g>'
