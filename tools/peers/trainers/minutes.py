"""nnU-Net's trainer with a budget of minutes in place of epochs; nnU-Net finds it by ``nnUNet_extTrainer``.

Kept from the default: network, loss, optimiser, augmentation, oversampling, epochs of 250 steps, checkpoints, and the
export of the validation cases with sliding window and mirroring by the last weights. Changed: the training ends when
the minutes are over; the learning rate falls as (1 - share of the minutes)^0.9 step by step (the default: of 1000
epochs, epoch by epoch); one validation batch an epoch in place of 50, which are for the curves; the number of threads
is given; and what was done stands in ``minutes.json``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CPU = torch.device("cpu")


class nnUNetTrainerMinutes(nnUNetTrainer):
    """Trains for ``PEERS_MINUTES`` minutes, with ``PEERS_THREADS`` threads where that is set."""

    def __init__(
        self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device = CPU
    ) -> None:  # nnU-Net keeps the arguments by these names
        super().__init__(plans, configuration, fold, dataset_json, device)
        if threads := os.environ.get("PEERS_THREADS"):
            torch.set_num_threads(int(threads))  # its command takes every core
        self.budget = 60 * float(os.environ["PEERS_MINUTES"])
        self.num_val_iterations_per_epoch = 1

    def run_training(self) -> None:
        """Epochs until the time is over; the last one is cut."""
        self.on_train_start()
        started, steps = time.monotonic(), 0
        elapsed = 0.0
        while elapsed < self.budget:
            self.on_epoch_start()
            self.on_train_epoch_start()
            losses: list[dict[str, Any]] = []
            while len(losses) < self.num_iterations_per_epoch and elapsed < self.budget:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.initial_lr * (1 - elapsed / self.budget) ** 0.9
                losses.append(self.train_step(next(self.dataloader_train)))
                elapsed = time.monotonic() - started
            steps += len(losses)
            self.on_train_epoch_end(losses)
            with torch.no_grad():
                self.on_validation_epoch_start()
                batches = range(self.num_val_iterations_per_epoch)
                self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val)) for _ in batches])
            self.on_epoch_end()
            spent, elapsed = elapsed, time.monotonic() - started
        self.on_train_end()
        self.note(steps, spent)

    def note(self, steps: int, seconds: float) -> None:
        """Write ``minutes.json``: steps, seconds until the last of them, batch size and what the network has."""
        record = {
            "steps": steps,
            "seconds": seconds,
            "batch_size": self.batch_size,
            "epochs": steps / self.num_iterations_per_epoch,
            "parameters": sum(weight.numel() for weight in self.network.parameters()),
            "patch_size": [int(size) for size in self.configuration_manager.patch_size],
        }
        Path(self.output_folder, "minutes.json").write_text(json.dumps(record, indent=1) + "\n")
