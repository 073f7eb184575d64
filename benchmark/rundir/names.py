"""Names in a suite's folder: run directories, their files, and the leaderboard rows that come from them."""

from __future__ import annotations

from pathlib import Path

#: In a suite's folder: its own copy of the fold file.
FOLDS = "folds.csv"

#: In a run directory: a complete LightningCLI config; the job's state; what its results were made from; what it
#: printed; the lock; the mean of every logged value in each epoch.
CONFIG, STATE, PROVENANCE = "config.yaml", "state.json", "provenance.json"
LOG, LOCK, METRICS = "log.txt", ".lock", "metrics.csv"
#: Folder of the method's own masks; `row_folder` names those of its ablations.
PREDICTIONS = "predictions"
#: Folder of the checkpoints; in it, the weights that predicted, and those with the best validation Dice.
CHECKPOINTS = "checkpoints"
LAST, BEST = f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt"


def fold_folder_name(fold: int) -> str:
    """Name of a fold's run directory in its method's folder."""
    return f"fold{fold}"


def run_directory(root: Path, method: str, fold: int) -> Path:
    """The run directory of a job.

    Args:
        root: the suite's folder.
        method: name of the method.
        fold: the fold that it predicts.
    """
    return root / method / fold_folder_name(fold)


def run_directories(root: Path) -> list[Path]:
    """Every run directory below a suite's folder, with method and fold as text."""
    return sorted(root.glob("*/fold*"))


def is_plain_name(name: str) -> bool:
    """Whether a text may be part of a file's name: it can be read and leads to no other folder."""
    return bool(name) and name.isprintable() and Path(name).name == name


def row_name(method: str, ablation: str) -> str:
    """Name of a row on the leaderboard: a method's own (""), or an ablation's (same weights, other post-processing)."""
    return f"{method}_{ablation}" if ablation else method


def row_folder(predictions: Path, ablation: str) -> Path:
    """The folder of a row's masks: the method's own, or one beside it."""
    return predictions.with_name(row_name(predictions.name, ablation))
