"""What a method costs, as a row, and the rows on a terminal."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Times are medians of this many runs, after a warm-up.
RUNS = 3


@dataclass(frozen=True)
class Cost:
    """What one method costs for one case.

    Attributes:
        method: its name.
        parameters: trainable weights.
        gmac: 10^9 multiply-accumulates of the network's pass over the case.
        network_seconds: of that pass.
        case_seconds: from the case's image files to its mask file.
        peak_memory_mb: of the process while it measured this method, or of its GPU where it has one.
        slices: of the case.
        size: pixels a side.
        precision: of the network.
        device: what it ran on.
    """

    method: str
    parameters: int
    gmac: float
    network_seconds: float
    case_seconds: float
    peak_memory_mb: int
    slices: int
    size: int
    precision: str
    device: str


def print_costs(table: pd.DataFrame, console: Console) -> None:
    """The table of `measure_costs` on a terminal."""
    first = table.iloc[0]
    title = (
        f"One case of {first['size']} x {first['size']} x {first['slices']} ({first['device']}, {first['precision']})"
    )
    printed = Table(title=Text(title))
    for heading in ("method", "weights", "GMAC", "network\ns", "file to file\ns", "peak\nMB"):
        printed.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    for row in table.itertuples():
        printed.add_row(
            Text(str(row.method)), f"{row.parameters:,}", f"{row.gmac:,.1f}", f"{row.network_seconds:.3f}",
            f"{row.case_seconds:.3f}", f"{row.peak_memory_mb:,}",
        )  # fmt: skip
    console.print(printed)
