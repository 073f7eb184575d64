"""EvalAI: one zip of masks; what its ``evaluate`` function returns, also as ``result.json``."""

from __future__ import annotations

from leaderboard.platforms.interface import Platform, Rows, Settings
from leaderboard.platforms.summary import Summary
from leaderboard.platforms.tree import hand_over_tree

RESULT_FILE = "result.json"


def results(summary: Summary, rows: Rows | None, settings: Settings) -> dict[str, object]:
    """The result of a dataset split; rows go into ``submission_metadata``, which hosts alone see."""
    content: dict[str, object] = {
        "result": [{settings.split: summary.flat()}],
        "submission_result": dict(summary.about),
    }
    if rows is not None:
        content["submission_metadata"] = {"about": dict(summary.about), "results": list(rows)}
    return {RESULT_FILE: content}


PLATFORM = Platform(name="evalai", hand_over=hand_over_tree, results=results, files=(RESULT_FILE,))
