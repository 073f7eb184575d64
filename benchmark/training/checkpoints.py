"""The checkpoints that let a killed job continue, and how it finds an undamaged one.

A job saves at the end of every epoch and keeps the last two: an epoch is the unit of a restart. A file is written under
another name first, so a file with its final name is complete. Later damage shows in the archive's own checksums; then
the previous checkpoint is used.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from leaderboard.errors import InputError
from leaderboard.io.images import sync_folder


def checkpoint_callbacks(folder: Path, every_n_epochs: int) -> list[pl.Callback]:
    """The callbacks that save while a job trains.

    Args:
        folder: where they save.
        every_n_epochs: how often ``epoch=<epoch>-step=<global step>.ckpt`` is saved; the last two are kept.

    Returns:
        One for these checkpoints; one for ``best.ckpt``, the weights with the best validation Dice (for inspection: the
        last ones predict, since choosing by a score on the held-out fold would leak); and `SameProcesses`.
    """
    common: dict[str, Any] = {"dirpath": folder, "mode": "max", "enable_version_counter": False}
    return [
        # At the epoch's end, not after its validation: by then everything of the epoch is logged and counted.
        # Two are kept, so that one is left when the last turns out to be damaged.
        ModelCheckpoint(
            filename="{epoch}-{step}",
            monitor="epoch",
            save_top_k=2,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            **common,
        ),
        _Best(
            filename="best", monitor="val/dice", save_weights_only=True, save_on_train_epoch_end=False, **common
        ),
        SameProcesses(),
    ]  # fmt: skip


class _Best(ModelCheckpoint):
    """Saves only after validations that log the metric it watches; rules log nothing."""

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save if it is better than before."""
        if self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, module)


class SameProcesses(pl.Callback):
    """Notes how many processes train, and refuses to continue with another number: the batches would differ."""

    #: Its key in a checkpoint.
    KEY = "processes"

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note it."""
        checkpoint[self.KEY] = trainer.world_size

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Compare the number of processes; for predicting any number will do.

        Raises:
            InputError: another number of processes began this training.
        """
        began = checkpoint.get(self.KEY, trainer.world_size)
        if trainer.state.fn == TrainerFn.FITTING and began != trainer.world_size:
            raise InputError(
                f"{trainer.default_root_dir}: {began} processes began this training, now there are "
                f"{trainer.world_size}: set trainer.devices and num_nodes as they were, or give another --out"
            )


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under another name and renames it: it is complete or not there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

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

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Map a checkpoint into memory, so that its weights are copied only once, into the network."""
        if not Path(path).is_file():
            return super().load_checkpoint(path, map_location, weights_only)
        checkpoint: dict[str, Any] = torch.load(path, map_location, weights_only=weights_only, mmap=True)
        return checkpoint


def newest_checkpoint(folder: Path) -> Path | None:
    """The undamaged ``epoch=<n>-step=<n>.ckpt`` of the latest step; damaged ones are named on stderr."""

    def step(path: Path) -> int:
        return int(path.stem.rpartition("=")[2])

    candidates = sorted(folder.glob("epoch=*.ckpt"), key=step, reverse=True)
    return next((path for path in candidates if is_loadable(path)), None)


def is_loadable(checkpoint: Path) -> bool:
    """Whether a checkpoint is there and undamaged; a damaged one is named on stderr."""
    if checkpoint.exists() and (damage := damage_of(checkpoint)):
        print(f"{checkpoint}: {damage}: not used", file=sys.stderr)
        return False
    return checkpoint.exists()


def damage_of(checkpoint: Path) -> str:
    """What is wrong with a checkpoint; empty for a sound one. Torch does not check its archive's checksums."""
    if not checkpoint.exists():
        return "is missing"
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(damaged)
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises half a dozen types for a damaged archive
        return f"is damaged ({type(error).__name__})"
    return ""
