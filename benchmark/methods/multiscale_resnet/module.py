"""The recipe of Lucas & Heinrich: three slices and both hemispheres as features, Dice at every level."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.base import Method, scheduled
from benchmark.methods.multiscale_resnet.loss import multiscale_dice
from benchmark.methods.multiscale_resnet.network import MultiScaleResNet
from benchmark.methods.multiscale_resnet.preparation import WithMirrorImage
from benchmark.pipeline.datasets import Batch, View
from benchmark.pipeline.resampling import grid_for


class MultiScaleResNetMethod(Method):
    """2D Multi-Scale Res-Net: maps x 3 slices x 2 hemispheric flips, a Dice loss on every level of the decoder.

    Args:
        pixel_mm: pixel size in plane that slices are resampled to; None keeps the case's grid.
        size: pixels a side of the (cropped or padded) slice; None with `pixel_mm`.
        slice_mm: distance of slices to resample to (the paper's 5 mm); None keeps the case's.
        learning_rate: of Adam.
        first_beta: of Adam's running averages (0.99 in the first author's public code).
        weight_decay: of Adam.
        decay: exponent of a polynomial decay of the learning rate; 0 keeps it constant.
    """

    view: View = "slices"
    neighbours = 1
    static = True

    def __init__(
        self,
        pixel_mm: float | None = 1.0,
        size: int | None = 240,
        slice_mm: float | None = None,
        learning_rate: float = 1e-3,
        first_beta: float = 0.9,
        weight_decay: float = 1e-5,
        decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        self.first_beta = first_beta
        self.weight_decay = weight_decay
        self.decay = decay
        self.preparation = WithMirrorImage(grid_for(MultiScaleResNet.multiple, pixel_mm, size, slice_mm))

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`: each map, its mirror image, and both of the slices on either side."""
        return MultiScaleResNet(channels * 2 * (2 * self.neighbours + 1))

    def loss(self, logits: Any, batch: Batch) -> dict[str, Tensor]:
        """The Dice loss of all levels."""
        prior = 1 / (1 + self.data.background_per_lesion)
        return {"loss": multiscale_dice(logits, batch["reference"], batch["valid"], lesion_prior=prior)}

    def probability(self, logits: Any) -> Tensor:
        """Softmax of the finest level; a probability above 0.5 is the argmax of two classes."""
        return logits[0].float().softmax(dim=1)[:, 1]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; constant learning rate, or a polynomial decay."""
        optimizer = torch.optim.Adam(
            self.parameters(),
            lr=self.learning_rate,
            betas=(self.first_beta, 0.999),
            weight_decay=self.weight_decay,
            fused=True,
        )
        return scheduled(optimizer, lambda progress: (1 - progress) ** self.decay, self.trainer)
