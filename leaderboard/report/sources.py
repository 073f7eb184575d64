"""Published figures for the page: short in the cells of the ranking, with numbered sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.report.published import Quote


@dataclass(frozen=True)
class Source:
    """A paper or repository."""

    source: str  #: its name, and the place in it
    #: everything that is quoted from it, each with the methods that it is quoted for
    figures: tuple[tuple[str, tuple[str, ...]], ...]


def number_sources(
    quotes: Mapping[str, Sequence[Quote]],
) -> tuple[dict[str, list[tuple[str, int]]], list[Source]]:
    """The cells of each method, text and number of the source, and the sources in the order of their numbers from 1."""
    figures: dict[str, dict[str, list[str]]] = {}
    cells: dict[str, list[tuple[str, int]]] = {}
    for method, sources in quotes.items():
        for quote in sources:
            figures.setdefault(quote.source, {}).setdefault(quote.account, []).append(method)
            cells.setdefault(method, []).append((quote.value, list(figures).index(quote.source) + 1))
    found = [
        Source(source, tuple((text, tuple(methods)) for text, methods in texts.items()))
        for source, texts in figures.items()
    ]
    return cells, found
