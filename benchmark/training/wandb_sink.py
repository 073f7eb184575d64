"""Weights & Biases, a sink and never the truth: offline by default, online with its usual variables.

A job is a run (group = suite, name = method/fold, type ``job``); the suite's end is a run of type ``leaderboard`` with
the table and the CSVs as an artifact, so that methods can be compared side by side. Offline runs of all jobs lie
together in ``runs/<suite>/wandb``, where ``wandb sync`` finds them; those of a job that was restarted share their id.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger

from benchmark.rundir.names import CONFIG
from benchmark.rundir.state import read_state
from benchmark.suite.config_files import read_yaml
from benchmark.training.callbacks import native_axes
from leaderboard.errors import InputError

_MODES = ("online", "offline", "disabled", "shared")
#: matplotlib colours of the outlines, readable on grey for colour-blind eyes.
REFERENCE_COLOUR, PREDICTION_COLOUR = "#00c8ff", "#ff8c00"


def wandb_mode(environment: Mapping[str, str] = os.environ) -> Any:
    """``WANDB_MODE`` where it is set, online with an API key, else offline.

    Raises:
        InputError: a mode that W&B does not have.
    """
    mode = environment.get("WANDB_MODE") or ("online" if environment.get("WANDB_API_KEY") else "offline")
    if mode not in _MODES:
        raise InputError(f"WANDB_MODE={mode}: no such mode: choose among {', '.join(_MODES)}")
    return mode


def _settings() -> Any:
    import wandb

    logging.getLogger("wandb").setLevel(logging.ERROR)
    # Versions are in the provenance: to list every installed package takes half a second a job.
    return wandb.Settings(silent=True, console="off", x_disable_stats=True, x_save_requirements=False)


def run_id(*parts: str) -> str:
    """The same id for the same job, so that a restart continues its run."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def wandb_logger(run: Path, suite: Mapping[str, Any]) -> WandbLogger:
    """The logger of one job, ``<suite's folder>/<method>/fold<k>``; its config is the job's."""
    name = f"{suite.get('method', run.parent.name)}/fold{suite.get('fold', run.name)}"
    return WandbLogger(
        name=name,
        project=os.environ.get("WANDB_PROJECT", "isles-benchmark"),
        group=suite.get("name"),
        job_type="job",
        id=run_id(str(run.resolve()), read_state(run).inputs),
        resume="allow",
        save_dir=run.parents[1],
        config=read_yaml(run / CONFIG),
        mode=wandb_mode(),
        settings=_settings(),
    )


def close_run(status: int) -> None:
    """End the run of this process, if it has one, with an exit status: the next job's is another run."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        with contextlib.suppress(Exception):  # W&B is a sink
            wandb.run.finish(exit_code=status)


class SlicePicture(pl.Callback):
    """At each validation, the first held-out case's slice with the most lesion, both outlines drawn, goes to W&B."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw the first case."""
        logger = _wandb_of(trainer)
        if batch_idx or logger is None or not trainer.is_global_zero:
            return
        with torch.no_grad():
            mask = module.postprocess(module.predict_case(batch), batch)[""]
        height, width = batch["brain"].shape[-2:]
        image = batch["image"][-1, :, :height, :width]
        logger.log_image("val/slice", [outline_picture(*map(native_axes, (image, batch["reference"], mask)))])


def _wandb_of(trainer: pl.Trainer) -> WandbLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)


def outline_picture(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The slice with the most lesion, outlines of reference and prediction drawn on it.

    Args:
        image: (X, Y, Z).
        reference: (X, Y, Z) mask.
        prediction: (X, Y, Z) mask.

    Returns:
        (height, width, 3) uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z = int(reference.sum(axis=(0, 1)).argmax())
    figure = Figure(figsize=(4, 4), dpi=80)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image[:, ::-1, z].T, cmap="gray")
    for mask, colour in ((reference, REFERENCE_COLOUR), (prediction, PREDICTION_COLOUR)):
        if mask[:, :, z].any():
            axes.contour(mask[:, ::-1, z].T, levels=[0.5], colors=[colour], linewidths=1.2)
    axes.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def log_leaderboard(suite: str, folder: Path, save_dir: Path) -> None:
    """A run of type ``leaderboard``: the table, and the CSVs as an artifact."""
    import pandas as pd
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "isles-benchmark"),
        group=suite,
        name=f"{suite}/leaderboard",
        job_type="leaderboard",
        dir=save_dir,
        mode=wandb_mode(),
        settings=_settings(),
    )
    run.log({"leaderboard": wandb.Table(dataframe=pd.read_csv(folder / "leaderboard.csv"))})
    artifact = wandb.Artifact(f"{suite}-leaderboard", type="leaderboard")
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md"):
        artifact.add_file(str(folder / name))
    run.log_artifact(artifact)
    run.finish()
