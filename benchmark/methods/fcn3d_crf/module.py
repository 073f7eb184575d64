"""The recipe of Monteiro & Oliveira: cross-entropy plus soft Dice, and a dense CRF over prediction and images."""

from __future__ import annotations

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.base import Method, on_host
from benchmark.methods.fcn3d_crf.crf import CRFSettings, Units, dense_crf_in_brain
from benchmark.methods.fcn3d_crf.loss import cross_entropy_and_soft_dice
from benchmark.methods.fcn3d_crf.network import FCN3D
from benchmark.pipeline.datasets import Batch

#: The learning rate falls by this factor ...
DECAY = 0.95
#: ... in so many steps (authors' code, 58382a0: trainer/model.py).
DECAY_STEPS = 200
#: Optimiser of the authors' submission: Adagrad with TensorFlow's accumulator.
PAPER_RATE, PAPER_ACCUMULATOR = 0.01, 0.1


class FCN3DCRFMethod(Method):
    """V-Net on whole volumes, cross-entropy plus soft Dice, threshold 0.5 and a dense CRF.

    The row ``<method>_without_crf`` has the same weights and no CRF. Validation during training has none either.

    Args:
        learning_rate: of Adam at the start; falls as 0.95^(step / 200). Deep volumes diverge above about 1e-4: an early
            step of Adam moves every weight by the rate, and all weights of a sum of up to 32,000 the same way.
        paper: Adagrad at 0.01 in place of Adam, as submitted; ignores `learning_rate`.
        crf_iterations: of mean-field inference; see `crf.CRFSettings` for the field's parameters.
        crf_gaussian_sigma: standard deviation of the smoothness kernel.
        crf_gaussian_weight: its weight.
        crf_bilateral_sigma: spatial standard deviation of the appearance kernel.
        crf_intensity_sigma: its standard deviation along each z-scored image.
        crf_bilateral_weight: its weight; 0 is the authors' test submission.
        crf_units: of the spatial standard deviations, voxels or mm.
    """

    static = True
    step_bytes = 6000  # at least: 9.0 GB on a GPU, in bf16, where the deepest case has 22 x 256 x 256 voxels (README)
    ablations = ("without_crf",)

    def __init__(
        self,
        learning_rate: float = 1e-4,
        paper: bool = False,
        crf_iterations: int = 5,
        crf_gaussian_sigma: float = 2.0,
        crf_gaussian_weight: float = 2.0,
        crf_bilateral_sigma: float = 2.0,
        crf_intensity_sigma: float = 0.75,
        crf_bilateral_weight: float = 2.0,
        crf_units: Units = "voxels",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        self.paper = paper
        self.crf = CRFSettings(
            iterations=crf_iterations,
            gaussian_sigma=crf_gaussian_sigma,
            gaussian_weight=crf_gaussian_weight,
            bilateral_sigma=crf_bilateral_sigma,
            intensity_sigma=crf_intensity_sigma,
            bilateral_weight=crf_bilateral_weight,
            units=crf_units,
        )

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`."""
        return FCN3D(channels)

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy plus soft Dice, 1:1."""
        entropy, dice = cross_entropy_and_soft_dice(logits, batch["reference"], batch["valid"])
        return {"loss": entropy + dice, "cross_entropy": entropy, "soft_dice": dice}

    def postprocess(self, probability: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The CRF sees the z-scored images on the case's own grid, which is this method's grid."""
        spacing_x, spacing_y, spacing_z = batch["spacing_mm"]

        def refine(probability: np.ndarray, image: np.ndarray, brain: np.ndarray) -> np.ndarray:
            return dense_crf_in_brain(probability, image, brain, (spacing_z, spacing_y, spacing_x), self.crf)

        refined = on_host(refine, probability.float(), batch["image"].float(), batch["brain"].bool())
        return {"": refined > self.threshold, "without_crf": probability > self.threshold}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, or Adagrad as submitted; the rate falls smoothly, step by step, as TensorFlow's exponential decay."""
        optimizer: torch.optim.Optimizer
        if self.paper:
            optimizer = torch.optim.Adagrad(
                self.parameters(), lr=PAPER_RATE, initial_accumulator_value=PAPER_ACCUMULATOR
            )
        else:
            optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decay(step: int) -> float:
    """Factor of the learning rate at a step, counted from 0."""
    return float(DECAY ** (step / DECAY_STEPS))
