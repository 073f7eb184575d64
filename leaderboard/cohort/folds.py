"""What makes two splits of a cohort into folds the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from leaderboard.cohort.names import natural_key


def folds_digest(rows: Iterable[tuple[str, str, int]]) -> str:
    """SHA-256 over the JSON list of ``[case, patient, fold]`` in natural order: equal for equal splits.

    Args:
        rows: case, patient and fold, each case once, in any order.
    """
    ordered = sorted(rows, key=lambda row: (natural_key(row[0]), row[0]))
    return hashlib.sha256(json.dumps(ordered, separators=(",", ":")).encode()).hexdigest()
