"""What the scripts of this folder write into pages: text between two markers, and pictures with one look."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.errors import InputError
from leaderboard.io.images import write_text


def write_page(page: Path, markers: tuple[str, str], text: str) -> None:
    """Replace what stands between the markers of a page.

    Raises:
        InputError: it has none.
    """
    begin, end = markers
    before, begun, rest = (page.read_text(encoding="utf-8") if page.is_file() else "").partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise InputError(f"{page}: has no lines {begin} and {end}: add them where the text goes")
    write_text(page, f"{before}{begin}\n{text}\n{end}{after}")


def publish(table: str, page: Path | None, markers: tuple[str, str], alt: str, draw: Callable[[Path], None]) -> None:
    """Print a table; with a page, write it between the markers there, with a picture of the page's name beside it.

    Args:
        table: in markdown.
        page: the markdown file, if there is one.
        markers: as for `write_page`.
        alt: what the picture shows, in words.
        draw: writes the picture to a file.

    Raises:
        InputError: as for `write_page`.
    """
    sys.stdout.write(table + "\n")
    if page:
        picture = page.with_suffix(".png")
        draw(picture)
        write_page(page, markers, f"{table}\n\n![{alt}]({picture.name})")


def plain(axes: Axes, grid: str = "both") -> None:
    """A faint grid, along ``x``, ``y`` or both, and no frame at the top and on the right."""
    axes.grid(axis=grid, alpha=0.3)  # type: ignore[arg-type]
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, picture: Path, dpi: int = 100) -> None:
    """Write a picture whose bytes name no version of the program, and forget the figure."""
    figure.savefig(picture, dpi=dpi, metadata={"Software": None})
    plt.close(figure)
