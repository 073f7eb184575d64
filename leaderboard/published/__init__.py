"""Tables quoted from papers: shown beside a ranking of our own, never mixed into it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from leaderboard.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

#: The tables there are; each is ``<name>.csv`` in this folder.
PUBLISHED = ("isles2018",)
#: What stands with every published table.
OTHER_DATA = "These figures come from other data than the ranking above and cannot be compared with it rank by rank."


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


def read_published(name: str) -> Published:
    """A quoted table.

    Raises:
        InputError: there is none of that name.
    """
    import io

    import pandas as pd

    if name not in PUBLISHED:
        raise InputError(f"no published table is called {name}: choose {', '.join(PUBLISHED)}")
    text = resources.files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    source, data, note = (line.removeprefix("# ") for line in text.splitlines()[:3])
    return Published(name, source, data, note, pd.read_csv(io.StringIO(text), dtype=str, comment="#"))
