"""The recipe of P. Liu's method: hybrid loss, warm-up of the learning rate."""

from __future__ import annotations

import math

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.base import Method, scheduled
from benchmark.methods.losses import generalised_dice, weighted_cross_entropy
from benchmark.methods.residual_unet.network import ResidualUNet
from benchmark.pipeline.datasets import Batch, View
from benchmark.pipeline.resampling import grid_for


class ResidualUNetMethod(Method):
    """2D residual U-Net trained with weighted cross-entropy plus generalised Dice.

    Args:
        base: channels at full resolution (32; the larger option is 64).
        learning_rate: of Adam, after the warm-up.
        lowest_rate: where the warm-up starts and the cosine ends.
        warmup_epochs: length of the linear warm-up.
        largest_weight: upper bound of the weight of lesion pixels in the cross-entropy.
        pixel_mm: pixel size in plane that slices are resampled to; None keeps the case's grid.
        size: pixels a side of the (cropped or padded) slice; with `pixel_mm`.
    """

    view: View = "slices"
    static = True

    def __init__(
        self,
        base: int = 32,
        learning_rate: float = 1e-3,
        lowest_rate: float = 1e-6,
        warmup_epochs: float = 5,
        largest_weight: float = 10.0,
        pixel_mm: float | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.base = base
        self.learning_rate = learning_rate
        self.lowest_rate = lowest_rate
        self.warmup_epochs = warmup_epochs
        self.largest_weight = largest_weight
        self.preparation = grid_for(ResidualUNet.multiple, pixel_mm, size)

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`."""
        return ResidualUNet(channels, self.base)

    @property
    def lesion_weight(self) -> float:
        """Weight of a lesion pixel: the root of the class imbalance in the training fold, 1 to `largest_weight`."""
        return min(max(math.sqrt(self.data.background_per_lesion), 1.0), self.largest_weight)

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Weighted cross-entropy plus generalised Dice, 1:1."""
        reference, valid = batch["reference"], batch["valid"]
        entropy = weighted_cross_entropy(logits, reference, valid, self.lesion_weight)
        dice = generalised_dice(logits, reference, valid)
        return {"loss": entropy + dice, "weighted_cross_entropy": entropy, "generalised_dice": dice}

    def probability(self, logits: Tensor) -> Tensor:
        """Softmax; a probability above 0.5 is the argmax of two classes."""
        return logits.float().softmax(dim=1)[:, 1]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, linear warm-up, then a cosine."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        warmup = min(self.warmup_epochs / max(self.max_epochs, 1), 0.5)
        lowest = self.lowest_rate / self.learning_rate
        return scheduled(optimizer, lambda progress: warmup_cosine(progress, warmup, lowest), self.trainer)


def warmup_cosine(progress: float, warmup: float, lowest: float) -> float:
    """Factor of the learning rate: linear from `lowest` to 1 until `warmup`, then a cosine back to `lowest`.

    Args:
        progress: share of the training that is done, 0 to 1.
        warmup: share of the training that warms up.
        lowest: factor at both ends.
    """
    if progress < warmup:
        return lowest + (1 - lowest) * progress / warmup
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
