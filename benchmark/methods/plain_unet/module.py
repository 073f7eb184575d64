"""nnU-Net's recipe under the suite's protocol: its topology, loss, optimiser and schedule; the suite's augmentation."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.base import Method, scheduled
from benchmark.methods.plain_unet.loss import deep_supervision
from benchmark.methods.plain_unet.network import PlainUNet, Size
from benchmark.pipeline.datasets import Batch
from benchmark.pipeline.preparation import PadToMultiple
from benchmark.pipeline.resampling import grid_for
from leaderboard.errors import InputError

#: What nnU-Net plans for ISLES 2018: channels (base 32, doubled up to a cap), kernels and strides by stage.
WIDTHS = {2: (32, 64, 128, 256, 512, 512, 512), 3: (32, 64, 128, 256, 320, 320)}
KERNELS: dict[int, tuple[Size, ...]] = {2: ((3, 3),) * 7, 3: ((1, 3, 3),) * 3 + ((3, 3, 3),) * 3}
STRIDES: dict[int, tuple[Size, ...]] = {
    2: ((1, 1),) + ((2, 2),) * 6,
    3: ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2)),
}


class PlainUNetMethod(Method):
    """Plain U-Net with deep supervision, trained as nnU-Net trains.

    Args:
        dimensions: 2 for slices, 3 for volumes.
        stages: how many of the planned stages (7 and 6) are used; small slices allow fewer. None takes all.
        learning_rate: of SGD at the start; falls as (1 - progress)^0.9.
        momentum: of SGD (Nesterov).
        weight_decay: of SGD.
        mirror: average the softmax over the flips in plane when predicting.
        pixel_mm: pixel size in plane that slices are resampled to (for slices alone); None keeps the case's grid.
        size: pixels a side of the (cropped or padded) slice; with `pixel_mm`.
    """

    planar_on_gpu = True  # instance normalisation would reorder every layer's image
    static = True

    def __init__(
        self,
        dimensions: Literal[2, 3] = 2,
        stages: int | None = None,
        learning_rate: float = 1e-2,
        momentum: float = 0.99,
        weight_decay: float = 3e-5,
        mirror: bool = True,
        pixel_mm: float | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        planned = len(WIDTHS[dimensions])
        self.stages = planned if stages is None else stages
        if not 2 <= self.stages <= planned:
            raise InputError(f"model.init_args.stages must be 2 to {planned}, not {stages}: correct the config")
        self.dimensions = dimensions
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.mirror = mirror
        self.view = "slices" if dimensions == 2 else "volumes"
        strides = STRIDES[dimensions][: self.stages]
        in_plane = math.prod(stride[-1] for stride in strides)
        through_plane = math.prod(stride[0] for stride in strides) if dimensions == 3 else 1
        if dimensions == 3 and (pixel_mm is not None or size is not None):
            raise InputError("model.init_args: pixel_mm and size are for slices: leave them out with dimensions: 3")
        padded = PadToMultiple(in_plane, slices=through_plane)
        self.preparation = padded if dimensions == 3 else grid_for(in_plane, pixel_mm, size)

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`."""
        used = slice(self.stages)
        d = self.dimensions
        return PlainUNet(channels, WIDTHS[d][used], KERNELS[d][used], STRIDES[d][used])

    def loss(self, logits: Any, batch: Batch) -> dict[str, Tensor]:
        """Dice plus cross-entropy at every resolution; nnU-Net's Dice runs over the batch in 2D alone."""
        return deep_supervision(logits, batch["reference"], batch["valid"], batch_dice=self.dimensions == 2)

    def probability(self, logits: Any) -> Tensor:
        """Softmax of the finest resolution; a probability above 0.5 is the argmax of two classes."""
        return logits[0].float().softmax(dim=1)[:, 1]

    def predict_images(self, image: Tensor) -> Tensor:
        """The mean over no flip, either flip and both, turned back.

        As in nnU-Net, no mirroring where training did not mirror, which is where the augmentation was left out
        (`benchmark sanity`): a network that has memorised its cases has not seen their mirror images.
        """
        mirrors = self.mirror and (self._trainer is None or self.data.augmented)
        axes = [axis for count in range(3 if mirrors else 1) for axis in itertools.combinations((-2, -1), count)]
        return torch.stack([self.probability(self(image.flip(flip))).flip(flip) for flip in axes]).mean(dim=0)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD with Nesterov momentum, polynomial decay."""
        optimizer = torch.optim.SGD(
            self.parameters(), lr=self.learning_rate, momentum=self.momentum, nesterov=True,
            weight_decay=self.weight_decay, fused=True,
        )  # fmt: skip
        return scheduled(optimizer, polynomial, self.trainer)


def polynomial(progress: float) -> float:
    """Factor of the learning rate, ``(1 - progress)^0.9``; progress from 0 to 1 (nnU-Net's, there epoch by epoch)."""
    return (1 - progress) ** 0.9
