"""The recipe of StrokeNet: focal loss and a curriculum over focusing, augmentation and sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.base import Method, scheduled
from benchmark.methods.losses import focal
from benchmark.methods.strokenet.network import StrokeNet
from benchmark.pipeline.curriculum import Stage
from benchmark.pipeline.datasets import Batch
from benchmark.pipeline.resampling import grid_for

#: Shares of the training at which stage A ends and stage C begins.
STAGE_B, STAGE_C = 0.3, 0.7


class Curriculum:
    """Easy samples first (after CurriculumNet, by three of the authors), the suite's own last.

    A: crops about lesion, flips only. B: two thirds of the crops about lesion, half the augmentation. C: whole
    slices, the suite's augmentation, every slab alike. The paper builds its curriculum from augmentation and focal
    loss; the focusing parameter follows in `focusing`.

    Args:
        max_epochs: epochs of the whole training.
        crop: side of the crops in A and B as a share of the slice's.
    """

    def __init__(self, max_epochs: int, crop: float) -> None:
        self.max_epochs = max_epochs
        self.crop = crop

    def __call__(self, epoch: int) -> Stage:
        """The stage of an epoch, counted from 0."""
        progress = epoch / max(self.max_epochs, 1)
        if progress < STAGE_B:
            return Stage("A", augmentation=0.0, lesion_crops=1.0, crop=self.crop)
        if progress < STAGE_C:
            return Stage("B", augmentation=0.5, lesion_crops=2 / 3, crop=self.crop)
        return Stage("C")


def focusing(progress: float, gamma: float) -> float:
    """Focusing parameter: 0 in stage A, rising linearly in B, `gamma` in C."""
    return gamma * min(max((progress - STAGE_B) / (STAGE_C - STAGE_B), 0.0), 1.0)


class StrokeNetMethod(Method):
    """StrokeNet trained with focal loss under its curriculum; threshold 0.5, no post-processing.

    Args:
        alpha: weight of lesion in the focal loss (libraries default to 0.25).
        gamma: focusing parameter at the end of the curriculum.
        learning_rate: of Adam at the start; falls as (1 - progress)^0.9.
        crop: side of the crops in stages A and B as a share of the slice's.
        norm: ``group``, or ``batch`` for more than a few volumes a step (see the README).
        pixel_mm: pixel size in plane that slices are resampled to; None keeps the case's grid.
        size: pixels a side of the (cropped or padded) slice; with `pixel_mm`.
    """

    static = True
    initial_probability = 0.01  # the head's bias, after Lin et al. 2017

    def __init__(
        self,
        alpha: float = 0.75,
        gamma: float = 2.0,
        learning_rate: float = 1e-3,
        crop: float = 0.625,
        norm: Literal["group", "batch"] = "group",
        pixel_mm: float | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.alpha = alpha
        self.gamma = gamma
        self.learning_rate = learning_rate
        self.crop = crop
        self.norm = norm
        self.preparation = grid_for(StrokeNet.multiple, pixel_mm, size)

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`."""
        return StrokeNet(channels, self.initial_probability, self.norm)

    def curriculum(self, max_epochs: int) -> Callable[[int], Stage]:
        """See `Method`."""
        return Curriculum(max_epochs, self.crop)

    def on_train_epoch_start(self) -> None:
        """Log the stage."""
        stage = "ABC".index(self.curriculum(self.max_epochs)(self.current_epoch).name)
        values = {"curriculum/stage": float(stage), "curriculum/gamma": focusing(self.progress, self.gamma)}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1)

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Focal loss with this epoch's focusing parameter."""
        gamma = focusing(self.progress, self.gamma)
        return {"loss": focal(logits, batch["reference"], batch["valid"], alpha=self.alpha, gamma=gamma)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with polynomial decay."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        return scheduled(optimizer, lambda progress: (1 - progress) ** 0.9, self.trainer)
