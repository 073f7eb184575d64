"""matplotlib figures as inline SVG: small, free of ids that collide, in the page's own colours and type.

A figure is drawn once in sentinel colours, which are replaced by the page's CSS variables here, so one drawing serves
the light theme, the dark one and print. Figures are static on purpose (no script draws anything): they print,
they need no runtime in the page, and the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

#: Number of method colours in the page's style sheets. The first eight differ for the colour-blind too.
COLOURS = 20
#: This many consecutive methods have the same mark; then the next mark is used, and after the last the first again.
_PER_MARK = 8
#: Line style, marker, and the page's class for the marker.
MARKS: tuple[tuple[Any, str, str], ...] = (
    ("-", "o", "round"),
    ((0, (4, 2)), "s", "square"),
    ((0, (1, 1.4)), "^", "triangle"),
    ((0, (5, 2, 1, 2)), "D", "diamond"),
)
INK, MUTED, GRID, PAPER, SHADE = "#010201", "#010202", "#010203", "#010204", "#010205"
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper", SHADE: "--shade"} | {
    f"#0103{number:02x}": f"--m{number}" for number in range(COLOURS)
}
#: Widths in CSS pixels for which every figure is drawn: a desk and a phone. The page shows one of the two.
WIDE, NARROW = 1080, 350
TEXT, SMALL = 12.0, 10.5
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "path.simplify": False,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the layout is the same wherever it is drawn
    "font.size": SMALL,
    "text.parse_math": False,  # a method may be called $x$
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


@dataclass(frozen=True)
class Drawing:
    """A figure for the page."""

    wide: str  #: SVG for a desk
    narrow: str  #: SVG for a phone; several if the wide one has panels side by side


def method_colour(number: int) -> str:
    """The sentinel of a method's colour."""
    return f"#0103{number % COLOURS:02x}"


def method_mark(number: int) -> tuple[Any, str, str]:
    """Line style, marker and CSS class that, with the colour, tell the first sixty methods apart."""
    return MARKS[number // _PER_MARK % len(MARKS)]


def draw(width: float, height: float, label: str, paint: Callable[[Figure], None], grid: str = "") -> str:
    """Paint a figure of the given size and return it as an inline SVG element.

    Args:
        width: in CSS pixels; a font size of 12 is 12 pixels.
        height: in CSS pixels.
        label: a description of the figure for screen readers.
        paint: draws on the empty figure. Axes are best placed with `axes_at`, methods within `of_method`.
        grid: `grid_attribute`, if the page may close the gaps of methods that the reader hides.
    """
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": f"{label}{width}"}), warnings.catch_warnings():
        # text stays text in the SVG: the reader's browser has the letters that DejaVu lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
        FigureCanvasSVG(figure)
        paint(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(stream.getvalue(), width, height, label, grid)


def grid_attribute(columns: int, across: float, down: float) -> str:
    """The layout of a figure's methods: columns, and distances in pixels (`templates/choose.js` reads it)."""
    return f'data-grid="{columns} {across:.6g} {down:.6g}"'


@contextmanager
def of_method(axes: Axes, place: int) -> Iterator[None]:
    """Everything drawn on the axes within belongs to the method at that place of the ranking."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            mark_method(artist, place)


def mark_method(artist: Artist, place: int) -> None:
    """An artist belongs to the method at that place of the ranking: the page shows and hides it with the method."""
    artist.set_gid(f"{_GROUP}{place}")


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in CSS pixels from the figure's upper left corner, with nothing but a bottom line."""
    total_width, total_height = figure.get_size_inches() * 72
    place = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    axes = figure.add_axes(place)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_axisbelow(True)
    return axes


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, size: float, opacity: float = 0.65) -> None:
    """Round dots as one path, with a tenth of the bytes that a marker for each would take."""
    points = np.repeat(np.column_stack([x, y]), 2, axis=0)
    if not len(points):
        return
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(x))
    axes.add_artist(
        PathPatch(
            Outline(points, codes),
            facecolor="none",
            edgecolor=colour,
            linewidth=size,
            capstyle="round",
            alpha=opacity,
            clip_on=False,
        )
    )


def shorten(name: str, length: int) -> str:
    """A name, cut in the middle if it is too long, so that versions at its end still tell names apart."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def spread(count: int) -> np.ndarray:
    """Offsets in (-0.5, 0.5) that keep neighbours apart: the golden ratio's sequence, never random."""
    return (np.arange(count) * 0.6180339887498949 + 0.5) % 1.0 - 0.5


_GROUP = "method-"
_DROPPED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d+")
_SENTINEL = re.compile("|".join(_VARIABLES))
_DOT = re.compile(r"M (\S+) (\S+) \nL \1 \2 \n?")
_SILENT = re.compile(r" transform=\"rotate\(-?0 [^)]*\)\"|font-family: [^;\"]*; |; stroke-linejoin: miter|(?<=[LM]) ")
_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r" id=\"(?P<id>[^\"]*)\"")
_BREAK = re.compile(r"(?<=>)\s*\n\s*(?=<)")
_EMPTY = re.compile(r"<g>\s*</g>|<defs>\s*</defs>|<g><path d=\"[^\"]*\" style=\"fill: none\"/></g>")


def _inline(svg: str, width: float, height: float, label: str, grid: str) -> str:
    """Matplotlib's SVG file as an element of the page."""
    svg = _DROPPED.sub("", svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda found: _compact(found[0]), body)  # never the text between tags, which holds names
    used = set(re.findall(r"(?:href=\"#|url\(#)([\w-]+)", body))
    body = _ID.sub(lambda found: _id(found, used), body)
    body = _BREAK.sub("", body)
    while _EMPTY.search(body):
        body = _EMPTY.sub("", body)
    name = escape(label, quote=True)
    return (
        f'<svg role="img" aria-label="{name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"{grid and f" {grid}"}>{body}</svg>'
    )


def _id(found: re.Match[str], used: set[str]) -> str:
    """An id if something refers to it, or the method that an element belongs to; nothing otherwise."""
    if found["id"].startswith(_GROUP):
        return f' data-m="{found["id"].removeprefix(_GROUP)}"'
    return found[0] if found["id"] in used else ""


def _compact(tag: str) -> str:
    """A tag with the page's colours and type, and without redundant attributes."""
    tag = _SENTINEL.sub(lambda found: f"var({_VARIABLES[found[0]]})", tag)
    tag = _DOT.sub(lambda found: f"M{_short(found[1], 1)} {_short(found[2], 1)}h0", tag)
    tag = _NUMBER.sub(lambda found: _short(found[0], 2), tag)
    tag = _SILENT.sub("", tag).replace("xlink:href", "href")
    return re.sub(r"\s+", " ", tag)


def _short(number: str, decimals: int) -> str:
    """A number without invisible digits."""
    text = f"{float(number):.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
