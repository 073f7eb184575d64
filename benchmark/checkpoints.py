"""What a job keeps so that it can go on after it was killed, and how it finds out what of that is whole.

A job saves at every epoch's end, keeping the last two, and within an epoch every few minutes. A file is written under
another name first, so what bears a checkpoint's name was written to its end; what was damaged afterwards is found out
by the archive's own checksums, and the one before is used.
"""

from __future__ import annotations

import os
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from leaderboard.errors import InputError
from leaderboard.images import sync_folder


def checkpoint_callbacks(folder: Path, every_n_epochs: int, every_minutes: float) -> list[pl.Callback]:
    """What saves while a job trains.

    Args:
        folder: where to.
        every_n_epochs: how often at an epoch's end: ``epoch=<epoch>-step=<global step>.ckpt``, the last two.
        every_minutes: how often in between, likewise named, the last one.

    Returns:
        Callbacks; besides these two one for ``best.ckpt``, the weights with the best validation Dice (to look at: the
        last ones predict, since choosing by a score on the held-out fold would leak), and one for the means of metrics.
    """
    common: dict[str, Any] = {"dirpath": folder, "mode": "max", "enable_version_counter": False}
    return [
        # At the epoch's end, not after its validation: what was logged and counted by then belongs to the epoch.
        # Two are kept, so that one is left when the last turns out to be damaged.
        ModelCheckpoint(
            filename="{epoch}-{step}",
            monitor="epoch",
            save_top_k=2,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            **common,
        ),
        _WithinEpoch(
            filename="{epoch}-{step}",
            monitor="step",
            save_top_k=1,
            train_time_interval=timedelta(minutes=every_minutes),
            **common,
        ),
        _Best(
            filename="best", monitor="val/dice", save_weights_only=True, save_on_train_epoch_end=False, **common
        ),
        EpochMeans(),
    ]  # fmt: skip


class _WithinEpoch(ModelCheckpoint):
    """Saves by the clock, but not at an epoch's end, which is saved with all that belongs to it."""

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Save where it is time."""
        loop = trainer.fit_loop.epoch_loop
        if not loop.batch_progress.is_last_batch and not loop._should_accumulate():
            super().on_train_batch_end(trainer, *arguments)


class _Best(ModelCheckpoint):
    """Saves after validations that log what it watches; rules log nothing."""

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save where it is better than before."""
        if self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, module)


class EpochMeans(pl.Callback):
    """Carries the running means of an epoch's metrics over a restart within it; Lightning would begin them anew."""

    #: Under this name in a checkpoint: for each process, sum and weight of each metric.
    KEY = "epoch_means"
    #: Under this one: how many processes there were.
    PROCESSES = "processes"

    def __init__(self) -> None:
        self._carried: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the sums, unless the epoch is over."""
        own = {}
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            own = {name: (metric.value, metric.cumulated_batch_size) for name, metric in _means(trainer).items()}
        everyones: list[Any] = [own]
        if trainer.world_size > 1:
            everyones = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyones, own)
        checkpoint[self.KEY] = everyones
        checkpoint[self.PROCESSES] = trainer.world_size

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the sums up.

        Raises:
            InputError: a training that another number of processes began; its batches were other ones.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        began = checkpoint.get(self.PROCESSES, trainer.world_size)
        if began != trainer.world_size:
            raise InputError(
                f"{trainer.default_root_dir}: {began} processes began this training, now there are "
                f"{trainer.world_size}: set trainer.devices and num_nodes as they were, or give another --out"
            )
        self._carried = checkpoint[self.KEY][trainer.global_rank] if self.KEY in checkpoint else {}

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """After the first batch, when the metrics are there again, add what was before."""
        if self._carried:
            for name, metric in _means(trainer).items():
                value, weight = self._carried.get(name, (0.0, 0))
                metric.value = metric.value + value
                metric.cumulated_batch_size = metric.cumulated_batch_size + weight
            self._carried = {}


def _means(trainer: pl.Trainer) -> dict[str, Any]:
    """The running epoch's metrics that are means, by name."""
    results = trainer.fit_loop.epoch_loop._results
    return {name: metric for name, metric in results.items() if metric.is_tensor and metric.meta.is_mean_reduction}


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under another name and renames it: it is whole or not there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one.

        Raises:
            InputError: it cannot be written (a full disk, a folder without permission).
        """
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            sync_folder(target.parent)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError when the disk is full
            temporary.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or "torch could not write it to its end"
            raise InputError(f"{target}: cannot be written ({reason}): check the folder and the disk") from None


def newest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the latest step, ``epoch=<n>-step=<n>.ckpt``; damaged ones are named on stderr."""

    def step(path: Path) -> int:
        return int(path.stem.rpartition("=")[2])

    candidates = sorted(folder.glob("epoch=*.ckpt"), key=step, reverse=True)
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
