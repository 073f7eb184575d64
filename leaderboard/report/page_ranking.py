"""What the page says about ranks: the rows of the ranking, how firm they are, and who beats whom."""

from __future__ import annotations

import numpy as np

from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report import page_tables
from leaderboard.report.content import Content
from leaderboard.report.leaderboard_files import shown_metrics, title, with_and

#: With more methods the matrix prints only significant p values.
CROWDED = 16
#: Of the methods that one is better than, at most this many are named.
TOLD = 30
_LEVEL = 0.05


def board_rows(content: Content) -> list[dict[str, object]]:
    """The rows of the ranking."""
    found = content.analysis.uncertainty
    count, shown = len(content.methods), shown_metrics(content.table)
    rows = []
    for place, row in enumerate(content.table.to_dict("records")):
        method = str(row["method"])
        entry: dict[str, object] = {
            "rank": row["rank"],
            "method": method,
            "missing": row["missing"],
            "cells": page_tables.metric_cells({str(key): value for key, value in row.items()}, shown),
        }
        if found:
            low, high = int(found.rank_low[place]), int(found.rank_high[place])
            entry |= {
                "low": low,
                "high": high,
                "left": f"{100 * (low - 1) / count:.1f}%",
                "right": f"{100 * (count - high) / count:.1f}%",
                "boot_low": int(found.boot_low[place]),
                "boot_high": int(found.boot_high[place]),
                "first": f"{100 * float(found.first_share[place]):.1f} %",
                "first_value": page_tables.sortable(float(found.first_share[place])),
                "group": found.tie_labels[place],
            }
        rows.append(entry)
    return rows


def told_apart(content: Content) -> list[tuple[str, list[str]]]:
    """Each method that is significantly better than others, all pairs judged at once, and these others, by rank."""
    found = content.analysis.uncertainty
    if not found:
        return []
    better = [[content.methods[other] for other in np.flatnonzero(row)] for row in found.separated]
    return [(method, others) for method, others in zip(content.methods, better, strict=True) if others]


def stability_text(content: Content) -> str:
    """What was resampled and how well the resampled rankings agree."""
    found = content.analysis.uncertainty
    if not found:
        return ""
    options, tau = content.options, found.tau_summary()
    text = f"{options.resamples:,} resample{'s' * (options.resamples != 1)} of {content.units}, seed {options.seed}."
    if not np.isnan(tau["mean"]):
        text += (
            f" Kendall’s τ between resampled and full ranking: mean {page_tables.number(tau['mean'])}, "
            f"95 % of resamples from {page_tables.number(tau['low'])} to {page_tables.number(tau['high'])}."
        )
    return text


def significance_cells(p_values: np.ndarray) -> list[list[tuple[str, str, str]]]:
    """Text, class and text for screen readers of each cell of the matrix."""
    matrix = []
    crowded = len(p_values) > CROWDED
    for row, values in enumerate(p_values.tolist()):
        cells = []
        for column, p_value in enumerate(values):
            if row == column or np.isnan(p_value):
                cells.append((page_tables.NOTHING, "self", ""))
            else:
                won = p_value < _LEVEL
                text = "<.001" if p_value < 0.001 else ">.99" if p_value > 0.99 else f"{p_value:.3f}".lstrip("0")
                cells.append((text if won or not crowded else "·", "win" if won else "", " significant" if won else ""))
        matrix.append(cells)
    return matrix


def what_schemes_rank_by(matrices: Matrices) -> str:
    """Which schemes use a metric of their own, and what the others use."""
    own = [f"the scheme {scheme.name} looks at {title(scheme.metric)}" for scheme in SCHEMES.values() if scheme.metric]
    text = f"{', '.join(own)}, the others at {with_and([title(name) for name in matrices.higher_is_better])}."
    return text[0].upper() + text[1:]
