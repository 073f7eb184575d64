"""Names of what lies in a suite's folder: run directories, their files, and the leaderboard rows that they give."""

from __future__ import annotations

from pathlib import Path

#: Of a suite's folder: its own copy of the fold file.
FOLDS = "folds.csv"

#: Of a run directory: a complete LightningCLI config; how the job stands; what it was made from; what it printed; who
#: works there; the mean of every logged value in each epoch.
CONFIG, STATE, PROVENANCE = "config.yaml", "state.json", "provenance.json"
LOG, LOCK, METRICS = "log.txt", ".lock", "metrics.csv"
#: Folder of the method's own masks; `row_folder` names those of its ablations.
PREDICTIONS = "predictions"
#: Folder of what a job continues from and predicts with: the weights that predicted, and those of the best validation.
CHECKPOINTS = "checkpoints"
LAST, BEST = f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt"


def fold_folder_name(fold: int) -> str:
    """Name of a fold's run directory in its method's folder."""
    return f"fold{fold}"


def run_directory(root: Path, method: str, fold: int) -> Path:
    """Where a job of a suite works.

    Args:
        root: the suite's folder.
        method: name of the method.
        fold: the fold that it predicts.
    """
    return root / method / fold_folder_name(fold)


def run_directories(root: Path) -> list[Path]:
    """Every run directory below a suite's folder, by method and fold as texts."""
    return sorted(root.glob("*/fold*"))


def is_plain_name(name: str) -> bool:
    """Whether a text may be part of a file's name: it leads to no other folder."""
    return bool(name) and Path(name).name == name


def row_name(method: str, ablation: str) -> str:
    """Name of a row on the leaderboard: a method's own (""), or an ablation's (same weights, other post-processing)."""
    return f"{method}_{ablation}" if ablation else method


def row_folder(predictions: Path, ablation: str) -> Path:
    """Where a row's masks lie: the method's folder, or one beside it."""
    return predictions.with_name(row_name(predictions.name, ablation))
