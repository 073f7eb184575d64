"""What a result was made from, and with what: ``provenance.json`` in each run directory.

Times and host names are here and in ``costs.csv``, never in the files that are compared byte for byte.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmark.pipeline.datamodule import StrokeData
from benchmark.rundir.digests import digest_results, write_provenance
from benchmark.rundir.names import result_folders
from leaderboard.io.images import read_geometry

_PACKAGES = (
    "isles-benchmark", "torch", "pytorch-lightning", "torchio", "SimpleITK", "numpy", "scipy", "nibabel", "MedPy",
)  # fmt: skip


def record_provenance(
    run: Path,
    data: StrokeData,
    trainer: pl.Trainer,
    ablations: Sequence[str],
    threshold: float | None,
    costs: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Write ``run/provenance.json``.

    Args:
        run: run directory.
        data: what the job was trained on.
        trainer: the trainer of the job.
        ablations: names of the ablation rows that it predicted.
        threshold: of the probability maps that it wrote, above which a voxel is lesion; None if it wrote none.
        costs: time, memory and weights.
        config: every setting, defaults included.
    """
    digests = data.case_digests
    cases = {
        case.name: {
            "ids": case.ids,
            "shape": read_geometry(case.images[case.grid])[0],
            "sha256": digests[case.name],
        }
        for case in data.cohort.cases
    }
    content = {
        "config": config,
        "cohort": {"format": data.cohort.format.name, "partition": data.partition, "cases": cases},
        "folds": None if data.fold_file is None else data.fold_file.digest,
        "fold": data.fold,
        **({"split_patients": list(data.folds.split_patients)} if data.folds and data.folds.split_patients else {}),
        "seed": data.seed,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "ablations": list(ablations),
        **({} if threshold is None else {"threshold": threshold}),
        "packages": versions(),
        "git": git_state(),
        "hardware": hardware(),
        "outputs": digest_results(run, result_folders(run, ablations, threshold is not None)),
        "costs": costs,
    }
    write_provenance(run, content)


def versions() -> dict[str, str]:
    """Version of each package that affects a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """The hardware that the job ran on."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "host": platform.node(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": gpus,
    }


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that the package runs from, and whether it was clean; None outside a checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        result = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails in others' checkouts, as in their .venv
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return None
