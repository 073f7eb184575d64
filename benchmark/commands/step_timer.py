"""Timing a training step of a job; see `benchmark.commands.forecast`, which imports no torch."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import pytorch_lightning as pl
import torch

from benchmark.methods.base import Method
from benchmark.suite.config_files import read_yaml
from benchmark.training.loading import load, use_threads

#: Steps that are timed; the first warms up.
STEPS = 3
#: Seconds of a first step that needs no second one: in so long a step, warming up counts for little.
LONG = 3.0


def training_seconds(config: Path) -> float:
    """Seconds of a job's whole training, from its first steps.

    Args:
        config: the job's.

    Raises:
        InputError: the config does not fit, or the method cannot be trained.
    """
    content = read_yaml(config)
    use_threads(content)
    pl.seed_everything(int(content.get("seed_everything", 0)), workers=True, verbose=False)
    timer = _StepTimer()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = {"logger": False, "callbacks": [timer], "enable_checkpointing": False, "default_root_dir": scratch}
        without = ("--trainer.check_val_every_n_epoch=null", "--trainer.limit_val_batches=0")
        cli = load(config, trainer, *without, "--trainer.devices=1", "--trainer.num_nodes=1")
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    epochs = cli.trainer.max_epochs or 0
    method = cast(Method, cli.model)
    return timer.seconds() * int(cli.trainer.num_training_batches) * epochs * later_slices(method, epochs)


def later_slices(method: Method, epochs: int) -> float:
    """Mean area of the slices that a training sees, over that of its first epoch (a curriculum's crops grow)."""
    curriculum = method.curriculum(epochs)
    areas = [curriculum(epoch).crop ** 2 for epoch in range(epochs)]
    return fmean(areas) / areas[0]


class _StepTimer(pl.Callback):
    """Ends a training after its first steps and knows how long they took, with the making of their batches."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The first batch is made after this; an epoch of fewer steps than are timed is followed by another."""
        if not self._ends:
            self._ends.append(time.monotonic())

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is over."""
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self._ends.append(time.monotonic())
        steps = len(self._ends) - 1
        trainer.should_stop = steps >= STEPS or self._ends[1] - self._ends[0] > LONG

    def seconds(self) -> float:
        """Of a step: the shortest after the first, or the first alone."""
        each = [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]
        return min(each[1:] or each)
