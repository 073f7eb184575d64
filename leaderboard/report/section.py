"""A section that a caller adds to the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Numbers(NamedTuple):
    """How a column of a section's table is shown."""

    title: str  #: its heading
    note: str = ""  #: small text below the heading, such as a unit
    decimals: int = 0  #: of each number


@dataclass(frozen=True)
class Section:
    """A sentence, and a table with one row per method."""

    title: str  #: one word, for the heading and the link to it
    text: str  #: the sentence above the table
    caption: str  #: of the table
    columns: Mapping[str, Numbers]  #: how columns of `table` are shown, by name; others are not shown
    table: pd.DataFrame  #: the column ``method`` and numbers
