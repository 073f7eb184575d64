"""Logging to Weights & Biases, which no result depends on: offline by default, online with its usual variables.

A job is a run of type ``job`` (`wandb_logger` says how it is named and grouped); the suite's end is a run of type
``leaderboard`` with the table and the CSVs as an artifact, so that methods can be compared side by side. Offline runs
of all jobs lie together in ``runs/<suite>/wandb``, where ``wandb sync`` finds them; the runs of a restarted job share
their id.

W&B is asked once, before anything is made (`settle`). If it does not take the runs, one line says so and they are kept
offline, or not at all. Nothing that W&B raises later ends a job or the command.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger

from benchmark.rundir.names import CONFIG, method_folder
from benchmark.rundir.state import read_state
from benchmark.suite.config_files import read_yaml

_MODES = ("online", "offline", "disabled", "shared")
#: The project if the environment names none.
PROJECT = "isles-benchmark"
#: Characters that W&B refuses in the name of a project and of an artifact, and the longest name of a project.
_FORBIDDEN, _NO_ARTIFACT, _LONGEST = re.compile(r"[/\\#?%:]"), re.compile(r"[^A-Za-z0-9_.-]+"), 128
#: Seconds to wait for W&B's answer before anything is made.
ASK_SECONDS = 60.0
#: Seconds that the start and the end of a run may take.
_SECONDS = {"init_timeout": 60.0, "finish_timeout": 120.0}
#: matplotlib colours of the outlines, readable on grey for colour-blind eyes.
REFERENCE_COLOUR, PREDICTION_COLOUR = "#00c8ff", "#ff8c00"


def settle(environment: MutableMapping[str, str]) -> str:
    """Decide how the runs of a suite are kept, and set ``WANDB_MODE`` and ``WANDB_PROJECT`` accordingly for its jobs.

    The mode is ``WANDB_MODE`` if that is set, online with an API key, else offline. If it is online, W&B is asked
    whether it takes this user's runs.

    Args:
        environment: of this process, which its jobs inherit.

    Returns:
        A line about what will not be as asked for; empty if everything will.
    """
    mode = environment.get("WANDB_MODE") or ("online" if environment.get("WANDB_API_KEY") else "offline")
    project = environment.get("WANDB_PROJECT") or PROJECT
    fault = remedy = ""
    if mode == "disabled":
        pass
    elif find_spec("wandb") is None:
        mode, fault, remedy = "disabled", "the package wandb is not installed", "runs are not logged"
    else:
        plain = _FORBIDDEN.sub("-", project)[:_LONGEST]
        if mode not in _MODES:
            fault = f"WANDB_MODE={mode} is none of {', '.join(_MODES)}"
        elif plain != project:
            fault = f"WANDB_PROJECT={project} is not the name of a project (a team belongs in WANDB_ENTITY)"
        elif mode != "offline":
            fault = _refusal(environment)
        if fault:
            mode, remedy = "offline", "runs are kept offline: wandb sync uploads them"
        environment["WANDB_PROJECT"] = plain
    environment["WANDB_MODE"] = mode
    return f"W&B: {fault}: {remedy}" if fault else ""


def _refusal(environment: Mapping[str, str]) -> str:
    """Why W&B takes no runs of this user from here; empty if it does. A separate process asks, since it may hang."""
    ask = "import sys, wandb; sys.exit(0 if wandb.login(verify=True) else 'nobody is logged in (wandb login)')"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ask], env={**environment, "PYTHONSAFEPATH": "1"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=ASK_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it does not answer"
    lines = asked.stderr.strip().splitlines() or ["it cannot be asked"]
    return lines[-1].rpartition("wandb.errors.errors.")[2].rstrip(".") if asked.returncode else ""


def _settings() -> Any:
    import wandb

    logging.getLogger("wandb").setLevel(logging.ERROR)
    # If the network is lost, what was not uploaded stays on disk.
    limits = {name: value for name, value in _SECONDS.items() if name in wandb.Settings.model_fields}
    # Versions are in the provenance; listing every installed package takes half a second per job.
    return wandb.Settings(silent=True, console="off", x_disable_stats=True, x_save_requirements=False, **limits)


def _begin(**options: Any) -> Any:
    """A new run; offline if it cannot be had online, as on a node without a network.

    Raises:
        Exception: it cannot be made offline either.
    """
    import wandb

    mode: Any = os.environ.get("WANDB_MODE") or "offline"
    project = os.environ.get("WANDB_PROJECT") or PROJECT
    try:
        return wandb.init(project=project, mode=mode, settings=_settings(), **options)
    except Exception as error:
        if mode in ("offline", "disabled"):
            raise
        _tell(error, "kept offline")
        wandb.teardown()  # W&B's process still holds the run's id
        return wandb.init(project=project, mode="offline", settings=_settings(), **options)


def _tell(error: Exception, what: str) -> None:
    reason = (str(error).splitlines() or [""])[0]
    print(f"W&B: {type(error).__name__}: {reason}: {what}", file=sys.stderr)


def run_id(*parts: str) -> str:
    """The same id for the same job, so that a restart continues its run."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


class WandbSink(WandbLogger):
    """Lightning's logger that raises no error: the first one is reported, and from then on nothing is logged.

    Args:
        run: the W&B run to log to.
        folder: of the runs' files.
    """

    def __init__(self, run: Any, folder: Path) -> None:
        super().__init__(experiment=run, save_dir=folder)
        self._broken = False
        run.define_metric("trainer/global_step")  # as `WandbLogger` does for a run that it makes
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)

    def _try(self, action: Callable[..., None], *arguments: Any, **options: Any) -> None:
        if not self._broken:
            try:
                action(*arguments, **options)
            except Exception as error:
                self._broken = True
                _tell(error, "this run is logged no further")

    def log_hyperparams(self, params: Any) -> None:
        """See `WandbLogger`."""
        self._try(super().log_hyperparams, params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """See `WandbLogger`."""
        self._try(super().log_metrics, metrics, step)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """See `WandbLogger`."""
        self._try(super().log_image, key, images, step, **kwargs)

    def log_slice(self, image: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> None:
        """Log `outline_picture` of a case; what drawing raises counts as what W&B raises."""
        self._try(lambda: self.log_image("val/slice", [outline_picture(image, reference, prediction)]))

    def after_save_checkpoint(self, checkpoint_callback: pl.callbacks.ModelCheckpoint) -> None:
        """See `WandbLogger`."""
        self._try(super().after_save_checkpoint, checkpoint_callback)

    def finalize(self, status: str) -> None:
        """See `WandbLogger`."""
        self._try(super().finalize, status)


def wandb_logger(run: Path, suite: Mapping[str, Any]) -> WandbSink | None:
    """The logger of one job, with the job's config. None if W&B gives none.

    The run's name is ``<method>/fold<k>`` in the suite's group; where the suite has several seeds it is
    ``<method>/fold<k>/seed<s>``, and a method's trainings are a group of their own, ``<suite>/<method>``.
    Only the job's first process may call this.

    Args:
        run: its run directory.
        suite: that section of its config.
    """
    folder, seed = method_folder(run), suite.get("seed")
    method, name = suite.get("method", folder.name), suite.get("name")
    try:
        begun = _begin(
            name=f"{method}/fold{suite.get('fold', run.name)}" + ("" if seed is None else f"/seed{seed}"),
            group=name if seed is None else f"{name}/{method}",
            job_type="job",
            id=run_id(str(run.resolve()), read_state(run).inputs),
            resume="allow",
            dir=folder.parent,
            config=read_yaml(run / CONFIG),
        )
        return WandbSink(begun, folder.parent)
    except Exception as error:
        _tell(error, "this run is not logged")
        return None


def close_run(status: int) -> None:
    """End the run of this process, if it has one, with an exit status, so that the next job gets its own."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        with contextlib.suppress(Exception):  # W&B must not end anything
            wandb.run.finish(exit_code=status)


class SlicePicture(pl.Callback):
    """At each validation, logs the first held-out case's slice with the most lesion, both outlines drawn."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw the first case."""
        logger = _wandb_of(trainer)
        if batch_idx or logger is None or not trainer.is_global_zero:
            return
        with torch.no_grad():
            mask = module.predict_step(batch, batch_idx)["masks"][""]
        height, width = batch["brain"].shape[-2:]
        image = batch["image"][-1, :, :height, :width]
        logger.log_slice(*(volume.detach().cpu().numpy() for volume in (image, batch["reference"], mask)))


def _wandb_of(trainer: pl.Trainer) -> WandbSink | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, WandbSink)), None)


def outline_picture(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The slice with the most lesion, outlines of reference and prediction drawn on it.

    Args:
        image: (D, H, W).
        reference: (D, H, W) mask.
        prediction: (D, H, W) mask.

    Returns:
        (height, width, 3) uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z = int(reference.sum(axis=(1, 2)).argmax())
    figure = Figure(figsize=(4, 4), dpi=80)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image[z, ::-1], cmap="gray")
    for mask, colour in ((reference, REFERENCE_COLOUR), (prediction, PREDICTION_COLOUR)):
        if mask[z].any():
            axes.contour(mask[z, ::-1], levels=[0.5], colors=[colour], linewidths=1.2)
    axes.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def log_leaderboard(suite: str, folder: Path, save_dir: Path) -> None:
    """A run of type ``leaderboard``: the table, and the CSVs as an artifact; W&B's errors are only reported."""
    try:
        _log_leaderboard(suite, folder, save_dir)
    except Exception as error:  # the results are on disk
        _tell(error, "it has no leaderboard run")


def _log_leaderboard(suite: str, folder: Path, save_dir: Path) -> None:
    import pandas as pd
    import wandb

    run = _begin(group=suite, name=f"{suite}/leaderboard", job_type="leaderboard", dir=save_dir)
    run.log({"leaderboard": wandb.Table(dataframe=pd.read_csv(folder / "leaderboard.csv"))})
    artifact = wandb.Artifact(f"{_NO_ARTIFACT.sub('-', suite)}-leaderboard", type="leaderboard")
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md"):
        artifact.add_file(str(folder / name))
    run.log_artifact(artifact)
    run.finish()
