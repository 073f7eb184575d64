"""A section that whoever writes a page adds to it."""

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
        note: what stands small below the heading, as a unit.
        decimals: of each number.
    """

    title: str
    note: str = ""
    decimals: int = 0


@dataclass(frozen=True)
class Section:
    """A sentence, and a table with a row a method.

    Attributes:
        title: one word, the heading and the link to it.
        text: what stands above the table.
        caption: of the table.
        columns: how the columns are shown, by name; of `table` those that are here are shown.
        table: the column ``method`` and numbers.
    """

    title: str
    text: str
    caption: str
    columns: Mapping[str, Numbers]
    table: pd.DataFrame
