"""Names in a suite's folder: run directories, their files, and the leaderboard rows that come from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

#: In a suite's folder: its own copy of the fold file.
FOLDS = "folds.csv"

#: In a run directory: a complete LightningCLI config; the job's state; what its results were made from; what it
#: printed; the lock; the mean of every logged value in each epoch.
CONFIG, STATE, PROVENANCE = "config.yaml", "state.json", "provenance.json"
LOG, LOCK, METRICS = "log.txt", ".lock", "metrics.csv"
#: Folder of the method's own masks; `row_folder` names those of its ablations.
PREDICTIONS = "predictions"
#: Folder of the probability maps behind the masks, which ablation rows share.
PROBABILITIES = "probabilities"
#: The row that averages methods, and what the name of one that averages a method's trainings ends with.
ENSEMBLE = "ensemble"
#: Folder of the checkpoints; in it, the weights that predicted, and those with the best validation Dice.
CHECKPOINTS = "checkpoints"
LAST, BEST = f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt"

#: Among the costs of a job, and columns of costs.csv: what its training took, however quick the machine.
BUDGET = ("steps", "slices_seen", "training_gmac")


def fold_folder_name(fold: int) -> str:
    """Name of a fold's run directory in its method's folder."""
    return f"fold{fold}"


def seed_folder_name(seed: int) -> str:
    """Name of a training's run directory in its fold's folder, where a suite has several seeds."""
    return f"seed{seed}"


def run_directory(root: Path, method: str, fold: int, seed: int | None = None) -> Path:
    """The run directory of a job.

    Args:
        root: the suite's folder.
        method: name of the method.
        fold: the fold that it predicts.
        seed: of its training; None where the method is trained once.
    """
    folder = root / method / fold_folder_name(fold)
    return folder if seed is None else folder / seed_folder_name(seed)


def run_directories(root: Path) -> list[Path]:
    """Every run directory below a suite's folder."""
    return [run for folder in sorted(root.glob("*/")) for run in runs_of_method(folder)]


def runs_of_method(folder: Path) -> list[Path]:
    """Every run directory in a method's folder."""
    return [run for fold in sorted(folder.glob("fold*")) for run in seed_folders(fold) or [fold]]


def seed_folders(fold: Path) -> list[Path]:
    """The run directories in a fold's folder; none where the folder is itself a run directory."""
    return sorted(fold.glob("seed*"))


def fold_folder(run: Path) -> Path:
    """The fold's folder that a run directory is, or lies in."""
    return run.parent if re.fullmatch(r"seed\d+", run.name) else run


def method_folder(run: Path) -> Path:
    """The method's folder that a run directory lies in; the suite's is above it."""
    return fold_folder(run).parent


def is_plain_name(name: str) -> bool:
    """Whether a text may be part of a file's name: it can be read and leads to no other folder."""
    return bool(name) and name.isprintable() and Path(name).name == name


def row_name(method: str, ablation: str) -> str:
    """Name of a row on the leaderboard: a method's own (""), or an ablation's (same weights, other post-processing)."""
    return f"{method}_{ablation}" if ablation else method


def row_folder(predictions: Path, ablation: str) -> Path:
    """The folder of a row's masks: the method's own, or one beside it."""
    return predictions.with_name(row_name(predictions.name, ablation))


def result_folders(run: Path, ablations: Iterable[str], mapped: bool) -> list[Path]:
    """The folders of what a job predicts.

    Args:
        run: run directory.
        ablations: names of its method's ablation rows.
        mapped: it writes probability maps, too.
    """
    masks = [row_folder(run / PREDICTIONS, row) for row in ("", *ablations)]
    return [*masks, run / PROBABILITIES] if mapped else masks
