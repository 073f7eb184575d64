"""CodaBench: masks at any depth of ``/app/input/res``; ``scores.json``, flat."""

from __future__ import annotations

from pathlib import Path

from leaderboard.platforms.interface import Platform, Rows, Settings
from leaderboard.platforms.summary import Summary
from leaderboard.platforms.tree import hand_over_tree

SCORES_FILE = "scores.json"
#: The rows are downloaded with all of a submission's output.
ROWS_FILE = "per_case.json"


def results(summary: Summary, rows: Rows | None, settings: Settings) -> dict[str, object]:
    """``scores.json``, whose keys are columns of the platform's table, and the rows in a file of their own."""
    files: dict[str, object] = {SCORES_FILE: summary.flat()}
    return files | ({} if rows is None else {ROWS_FILE: {"about": dict(summary.about), "results": list(rows)}})


PLATFORM = Platform(
    name="codabench",
    hand_over=hand_over_tree,
    results=results,
    submission=Path("/app/input/res"),
    references=(Path("/app/input/ref"),),
    out=Path("/app/output"),
    files=(SCORES_FILE, ROWS_FILE),
)
