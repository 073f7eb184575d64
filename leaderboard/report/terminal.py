"""The leaderboard on the terminal, with rich; 80 columns are enough, with more the rows get shorter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.columns import CORE_METRICS
from leaderboard.report.leaderboard_files import (
    caption,
    has_sets,
    metric_text,
    rank_set,
    set_caption,
    shown_metrics,
    stratum_caption,
    synthetic_note,
    title,
    undefined_note,
)
from leaderboard.report.published import OTHER_DATA, Published
from leaderboard.report.trainings_note import training_note

if TYPE_CHECKING:
    from rich.console import JustifyMethod

#: A terminal at least this wide shows mean and standard deviation beside each other.
_WIDE = 140


def print_leaderboard(table: pd.DataFrame, console: Console | None = None, published: Published | None = None) -> None:
    """Print the leaderboard and, below it, a table quoted from a paper."""
    console = console or Console()
    wide = console.width >= _WIDE
    if note := synthetic_note(table):
        say(console, f"{note}\n")
    console.print(leaderboard_table(table, wide=wide))
    say(
        console,
        "\n"
        + " ".join(
            filter(None, (caption(table), set_caption(table, groups=wide), training_note(table), undefined_note(table)))
        ),
    )
    if published:
        say(console, f"\nAs published. {OTHER_DATA}\n")
        console.print(published_table(published, wide=wide))
        say(console, f"\n{published.source}. {published.data}.")


def print_strata(tables: Mapping[str, pd.DataFrame], console: Console | None = None) -> None:
    """Print the leaderboard of each stratum."""
    console = console or Console()
    for name, table in tables.items():
        say(console, f"\n{name[0].upper()}{name[1:]}: {stratum_caption(table)}\n")
        console.print(leaderboard_table(table, wide=console.width >= _WIDE))
    for note in dict.fromkeys(map(training_note, tables.values())):
        say(console, f"\n{note}")


def leaderboard_table(table: pd.DataFrame, *, wide: bool) -> Table:
    """The table that `print_leaderboard` prints; unless `wide`, mean and standard deviation are in two lines."""
    incomplete, sets = bool((table["missing"] > 0).any()), has_sets(table)
    shown = empty_table(wide)
    column(shown, "#")
    if sets:
        column(shown, "95 % set" if wide else "95 %\nset", "center")
        if wide:
            column(shown, "Group", "left")
            column(shown, "First in")
    shown.add_column("Method", overflow="fold")
    if incomplete:
        column(shown, "Missing" if wide else "Miss.")
    metrics = shown_metrics(table)
    _metric_columns(shown, wide, metrics)
    for row in table.to_dict("records"):
        fields = [str(row["rank"])]
        if sets:
            fields.append(rank_set(row))
            if wide:
                fields += [str(row["tie_group"]), f"{100 * row['first_share']:.0f} %"]
        fields.append(str(row["method"]))
        if incomplete:
            fields.append(str(row["missing"]))
        fields += [metric_text(row, name, " " if wide else "\n") for name in metrics]
        shown.add_row(*map(Text, fields))
    return shown


def published_table(published: Published, *, wide: bool) -> Table:
    """A quoted table, its digits as printed."""
    shown = empty_table(wide)
    column(shown, "#")
    shown.add_column("Team", overflow="fold")
    _metric_columns(shown, wide, CORE_METRICS)
    for rank, team, *values in published.rows(CORE_METRICS):
        shown.add_row(*map(Text, [rank, team, *(values if wide else [text.replace(" ", "\n") for text in values])]))
    return shown


def empty_table(wide: bool) -> Table:
    """A table without columns."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0) if wide else 0)


def column(shown: Table, header: str, justify: JustifyMethod = "right") -> None:
    """Add a column that is never wrapped."""
    shown.add_column(Text(header), justify=justify, no_wrap=True)


def _metric_columns(shown: Table, wide: bool, metrics: Sequence[str]) -> None:
    for name in metrics:
        column(shown, title(name) if wide else title(name).replace(" [", "\n[").replace("Precision", "Prec."))


def say(console: Console, text: str) -> None:
    """Print a text as it is."""
    console.print(text, markup=False, highlight=False)
