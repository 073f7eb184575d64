"""A section that a caller adds to the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Numbers(NamedTuple):
    """How a column of a section's table is shown.

    Attributes:
        title: its heading.
        note: small text below the heading, such as a unit.
        decimals: of each number.
    """

    title: str
    note: str = ""
    decimals: int = 0


@dataclass(frozen=True)
class Section:
    """A sentence, and a table with one row per method.

    Attributes:
        title: one word, for the heading and the link to it.
        text: the sentence above the table.
        caption: of the table.
        columns: how columns of `table` are shown, by name; others are not shown.
        table: the column ``method`` and numbers.
    """

    title: str
    text: str
    caption: str
    columns: Mapping[str, Numbers]
    table: pd.DataFrame
