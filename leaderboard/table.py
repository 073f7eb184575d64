"""leaderboard.csv, leaderboard.md and the table on the terminal."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from leaderboard.images import write_text
from leaderboard.policy import CORE_METRICS, METRICS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: The contract's columns, in order.
LEADERBOARD_COLUMNS = (
    "rank", "method", "cases", "missing", "dice_mean", "dice_sd", "hausdorff_mm_mean", "hausdorff_mm_sd",
    "precision_mean", "precision_sd", "recall_mean", "recall_sd", "avd_ml_mean", "avd_ml_sd", "rank_low", "rank_high",
)  # fmt: skip
#: A terminal at least this wide shows mean and standard deviation beside each other.
_WIDE = 125


def leaderboard_csv(table: pd.DataFrame) -> str:
    """The text of leaderboard.csv: the contract's columns, then the others; the same table gives the same text."""
    columns = [*LEADERBOARD_COLUMNS, *(column for column in table.columns if column not in LEADERBOARD_COLUMNS)]
    return table[columns].to_csv(index=False, lineterminator="\n")


def leaderboard_markdown(table: pd.DataFrame) -> str:
    """The text of leaderboard.md, in the printed form of the published table: ``0.44 (0.30)``."""
    header = ["Rank", "Method", "Cases", "Missing", *(_title(name) for name in CORE_METRICS), "Hausdorff where defined"]
    lines = [
        "# Leaderboard",
        "",
        _caption(table),
        "",
        "| " + " | ".join(header) + " |",
        "|" + "|".join("---" if name == "Method" else "---:" for name in header) + "|",
    ]
    for row in table.to_dict("records"):
        fields = [str(row["rank"]), str(row["method"]).replace("|", "\\|"), str(row["cases"]), str(row["missing"])]
        fields += [printed(row[f"{name}_mean"], row[f"{name}_sd"]) for name in CORE_METRICS]
        fields.append(_defined(row))
        lines.append("| " + " | ".join(fields) + " |")
    return "\n".join(lines) + "\n"


def write_leaderboard(path: Path, table: pd.DataFrame) -> None:
    """Write leaderboard.csv to `path` and leaderboard.md beside it.

    Raises:
        InputError: a file cannot be written.
    """
    write_text(path, leaderboard_csv(table))
    write_text(path.with_suffix(".md"), leaderboard_markdown(table))


def print_leaderboard(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print the table with rich; 80 columns are enough, a wider terminal gets shorter rows."""
    from rich.console import Console

    console = console or Console()
    console.print(leaderboard_table(table, wide=console.width >= _WIDE))
    console.print(f"\n{_caption(table)}", markup=False, highlight=False)


def leaderboard_table(table: pd.DataFrame, *, wide: bool) -> Table:
    """The table that `print_leaderboard` prints; unless `wide`, a standard deviation stands below its mean."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    incomplete = bool((table["missing"] > 0).any())
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("#", justify="right", no_wrap=True)
    shown.add_column("Method", overflow="fold")
    if incomplete:
        shown.add_column("Missing" if wide else "Miss.", justify="right", no_wrap=True)
    for name in CORE_METRICS:
        title = _title(name) if wide else _title(name).replace(" [", "\n[").replace("Precision", "Prec.")
        shown.add_column(Text(title), justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        fields = [Text(str(row["rank"])), Text(str(row["method"]))]
        if incomplete:
            fields.append(Text(str(row["missing"])))
        fields += [
            Text(printed(row[f"{name}_mean"], row[f"{name}_sd"], " " if wide else "\n")) for name in CORE_METRICS
        ]
        shown.add_row(*fields)
    return shown


def printed(mean: float, sd: float, separator: str = " ") -> str:
    """Mean and standard deviation as the published table prints them: ``0.44 (0.30)``."""
    return f"{mean:.2f}{separator}({sd:.2f})"


def _title(metric: str) -> str:
    title, unit = METRICS[metric].title, METRICS[metric].unit
    return f"{title} [{unit}]" if unit else title


def _caption(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    return (
        f"Mean (standard deviation) over {first['cases']} case{'s' if first['cases'] != 1 else ''}; "
        f"scheme {first['scheme']}, policy {first['policy']}."
    )


def _defined(row: Mapping[Hashable, Any]) -> str:
    """The mean distance over the cases that have one, and how many have none."""
    mean, undefined = row["hausdorff_mm_defined_mean"], row["hausdorff_mm_undefined"]
    note = f"{undefined} undefined" if undefined else ""
    return ", ".join(part for part in (f"{mean:.2f}" if pd.notna(mean) else "", note) if part)
