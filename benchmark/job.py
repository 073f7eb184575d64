"""One job: fit, then predict, in one run directory.

The directory's ``config.yaml`` is a complete LightningCLI config: ``benchmark fit --config RUN/config.yaml`` trains the
same thing by hand. A job that finds checkpoints continues from the last one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
import sys
import time
import traceback
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from benchmark.callbacks import FiniteLoss, MetricsFile, ProgressReport, prediction_name
from benchmark.cli_lightning import SuiteCLI
from benchmark.configs import read_yaml
from benchmark.outputs import CHECKPOINT, damaged_outputs
from benchmark.pipeline.datamodule import StrokeData
from benchmark.provenance import write_provenance
from benchmark.rows import row_folder
from benchmark.state import update_state
from benchmark.wandb_sink import SlicePicture, wandb_logger
from leaderboard.errors import InputError


def run_job(run: Path) -> int:
    """Fit and predict what ``run/config.yaml`` says; the outcome stands in ``run/state.json``.

    Returns:
        Exit status: 0 done, 1 failed.
    """
    rank_zero = int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("NODE_RANK", 0)) == 0
    try:
        if rank_zero:
            update_state(run, status="running", phase="starting", done=0, total=0, reason="")
        _fit_and_predict(run)
        reason = ""
    except InputError as error:
        reason = "; ".join(error.problems)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns an interrupt and SIGTERM into SystemExit
        reason = "interrupted: run the same command again to continue"
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if reason:
        print(reason, file=sys.stderr)
    if rank_zero:
        update_state(run, status="failed" if reason else "done", phase="", reason=reason)
    return 1 if reason else 0


def _fit_and_predict(run: Path) -> None:
    suite = read_yaml(run / "config.yaml").get("suite", {})
    started = time.monotonic()
    checkpoints = run / "checkpoints"
    loggers: list[Logger] = [wandb_logger(run, suite)] if suite.get("wandb", True) else []
    every = int(suite.get("checkpoint_every_n_epochs", 1))
    callbacks = [
        # At the epoch's end, not after its validation: what was logged and counted by then belongs to the epoch.
        # Two are kept, so that one is left when the last turns out to be damaged.
        ModelCheckpoint(
            checkpoints,
            filename="{epoch}",
            monitor="epoch",
            mode="max",
            save_top_k=2,
            every_n_epochs=every,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        ProgressReport(run),
        MetricsFile(run / "metrics.csv"),
        FiniteLoss(),
        SlicePicture(),
    ]
    cli = load(run / "config.yaml", {"logger": loggers or False, "callbacks": callbacks, "default_root_dir": str(run)})
    trainer, method, data = cli.trainer, cli.model, cli.datamodule
    last = run / CHECKPOINT
    fit_seconds = _seconds_of_sound_fit(run)
    if fit_seconds is None:
        trainer.fit(method, datamodule=data, ckpt_path=newest_checkpoint(checkpoints), weights_only=True)
        fit_seconds = round(time.monotonic() - started, 3)
        trainer.save_checkpoint(last, weights_only=True)
    fitted = time.monotonic()
    # From the file, so that what predicts is what is kept.
    trainer.predict(method, datamodule=data, return_predictions=False, ckpt_path=last)
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        _check_predictions(run, data, method.ablations)
        costs = {
            "parameters": method.weights,
            "fit_seconds": fit_seconds,
            "predict_seconds": round(time.monotonic() - fitted, 3),
            "cases": len(data.held_out),
            "peak_memory_mb": peak_memory_mb(),
        }
        write_provenance(run, data, trainer, method.ablations, costs)
        for path in set(checkpoints.glob("*.ckpt")) - {last}:
            path.unlink()
    for logger in loggers:
        logger.finalize("success")


def _seconds_of_sound_fit(run: Path) -> float | None:
    """How long the fit took whose checkpoint lies here unharmed; None where there is something to fit.

    So a finished job of which a prediction was damaged predicts again and does not train again.
    """
    damaged = damaged_outputs(run)
    if {"provenance.json", str(CHECKPOINT)} & set(damaged):
        return None
    return float(json.loads((run / "provenance.json").read_text(encoding="utf-8"))["costs"]["fit_seconds"])


def load(config: Path, trainer: dict[str, Any], *changes: str) -> SuiteCLI:
    """Trainer, method and data of a config, with further arguments of the command line.

    Raises:
        InputError: the config does not fit the classes that it names.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return SuiteCLI(
                args=["--config", str(config), *changes], run=False, trainer_defaults=trainer_defaults() | trainer
            )
    except SystemExit:  # jsonargparse prints pages of usage, and then what is wrong
        fault = " ".join(complaint.getvalue().rpartition("error: ")[2].split())
        raise InputError(
            f"{config}: {fault or 'is not a valid config'}: correct the method's or suite's config"
        ) from None


def trainer_defaults() -> dict[str, Any]:
    """Trainer settings that hold for every job unless its config says otherwise."""
    return {
        "deterministic": "warn",
        "use_distributed_sampler": False,  # our samplers know about ranks; Lightning's would repeat cases
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 10,
    }


def quiet_lightning() -> None:
    """Let Lightning speak of what is wrong alone, where its remarks would stand between lines meant for people."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the latest epoch that is whole, ``epoch=<n>.ckpt``; damaged ones are named on stderr."""

    def epoch(path: Path) -> int:
        return int(path.stem.partition("=")[2])

    candidates = sorted(folder.glob("epoch=*.ckpt"), key=epoch, reverse=True)
    return next((path for path in candidates if is_loadable(path)), None)


def is_loadable(checkpoint: Path) -> bool:
    """Whether a checkpoint is there and whole; torch itself does not look at its archive's checksums."""
    if not checkpoint.exists():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(damaged)
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises half a dozen types for a damaged archive
        print(f"{checkpoint}: is damaged ({type(error).__name__}): not used", file=sys.stderr)
        return False
    return True


def _check_predictions(run: Path, data: StrokeData, ablations: Sequence[str]) -> None:
    folders = [row_folder(run / "predictions", row) for row in ("", *ablations)]
    expected = [folder / prediction_name(case) for folder in folders for case in data.held_out_cases]
    if missing := [str(path.relative_to(run)) for path in expected if not path.exists()]:
        raise InputError(f"{run}: no prediction was written: {', '.join(missing)}: run again")


def peak_memory_mb() -> int:
    """Peak memory of this process; of its GPU where it has one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(run: Path) -> int:
    """Entry point of ``benchmark job RUN``."""
    torch.set_float32_matmul_precision("high")
    pl.seed_everything(int(read_yaml(run / "config.yaml").get("seed_everything", 0)), workers=True, verbose=False)
    return run_job(run)
