"""The leaderboard rows of a method: its own, and its ablations' (same weights, other post-processing)."""

from __future__ import annotations

from pathlib import Path


def row_name(method: str, ablation: str) -> str:
    """Name of a row on the leaderboard; "" is the method itself."""
    return f"{method}_{ablation}" if ablation else method


def row_folder(predictions: Path, ablation: str) -> Path:
    """Where a row's masks lie: the method's folder, or one beside it."""
    return predictions.with_name(row_name(predictions.name, ablation))
