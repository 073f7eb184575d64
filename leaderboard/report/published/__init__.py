"""Figures quoted from papers: shown beside a ranking of our own, never mixed into it.

A whole table of a challenge (`read_published`), and what the papers print for single methods (`read_quotes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from leaderboard.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: The tables there are; each is ``<name>.csv`` in this folder.
PUBLISHED = ("isles2018",)
#: What stands with every published table.
OTHER_DATA = "These figures come from other data than the ranking above and cannot be compared with it rank by rank."
#: What stands with the column of single methods' published figures.
OTHER_FIGURES = (
    "As published: the mean Dice that the paper or repository named with it prints for its own method, which a row is "
    "matched with by its name alone. These figures come from other data (the challenge's test set, own folds or other "
    "selections of ISLES 2018), not from the cohort ranked here, and are not comparable with it."
)


@dataclass(frozen=True)
class Published:
    """A quoted table.

    Attributes:
        name: of `PUBLISHED`.
        source: the paper and its table.
        data: what was scored.
        note: what a reader must know about single numbers.
        table: ``rank``, ``team``, then mean and SD of each metric, all as text, digit for digit as printed.
    """

    name: str
    source: str
    data: str
    note: str
    table: pd.DataFrame

    def rows(self, metrics: Iterable[str]) -> list[list[str]]:
        """Rank, team, then mean (standard deviation) of each metric."""
        return [
            [row["rank"], row["team"], *(f"{row[f'{name}_mean']} ({row[f'{name}_sd']})" for name in metrics)]
            for row in self.table.to_dict("records")
        ]


@dataclass(frozen=True)
class Quote:
    """What one source has published of one method.

    Attributes:
        method: its name in our tables.
        paper: whose figures these are, short: ``P. Liu``. So a method that is somebody else's and has the same name by
            accident does not pass for the one quoted.
        dice: mean Dice as printed; empty where no score is published.
        protocol: how it was come by, short: ``4-fold CV, own folds``; without a score, why there is none.
        split: which cases it was taken over.
        figures: everything that is printed.
        source: the paper or repository, and where in it.
    """

    method: str
    paper: str
    dice: str
    protocol: str
    split: str
    figures: str
    source: str

    @property
    def short(self) -> str:
        """As a column shows it, to two digits or as few as are printed: ``P. Liu: 0.55 (4-fold CV, own folds)``."""
        dice = min(f"{float(self.dice):.2f}", self.dice, key=len) if self.dice else "none published"
        return f"{self.paper}: {dice} ({self.protocol})"

    @property
    def sentence(self) -> str:
        """Everything in a line below the table."""
        where = self.split if not self.dice or self.protocol in self.split else f"{self.protocol}; {self.split}"
        return f"{self.figures} ({where}). Source: {self.source}."


def read_quotes(methods: Iterable[str]) -> dict[str, tuple[Quote, ...]]:
    """The published figures, a source each, of those of some methods that have any; matched by the exact name.

    The methods stay in their order. Nothing is returned where none of them has a score: a column without a number would
    say nothing.
    """
    known = _all_quotes()
    found = {method: known[method] for method in methods if method in known}
    return found if any(quote.dice for sources in found.values() for quote in sources) else {}


@cache
def _all_quotes() -> dict[str, tuple[Quote, ...]]:
    import csv

    text = resources.files(__name__).joinpath("methods.csv").read_text(encoding="utf-8")
    found: dict[str, tuple[Quote, ...]] = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        if row["paper"]:
            found[row["method"]] = (*found.get(row["method"], ()), Quote(**row))
    return found


def read_published(name: str) -> Published:
    """A quoted table.

    Raises:
        InputError: there is none of that name.
    """
    import io

    import pandas as pd

    if name not in PUBLISHED:
        raise InputError(
            f"no published table is called {name}: {nearest(name, PUBLISHED)}choose {', '.join(PUBLISHED)}"
        )
    text = resources.files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    source, data, note = (line.removeprefix("# ") for line in text.splitlines()[:3])
    return Published(name, source, data, note, pd.read_csv(io.StringIO(text), dtype=str, comment="#"))
