"""The recipe of L. Liu et al.: Dice loss, small batches, a median filter on the probability."""

from __future__ import annotations

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from benchmark.methods.base import Method, on_host
from benchmark.methods.ms_dcnn.loss import cross_entropy, dice
from benchmark.methods.ms_dcnn.network import MSDCNN
from benchmark.pipeline.datasets import Batch, View
from benchmark.pipeline.preparation import PadToMultiple
from benchmark.pipeline.resampling import ResizeTo
from leaderboard.errors import InputError

#: The maps of either path, as `ImageKind.shows` has them.
PATH_A, PATH_B = ("Tmax", "CBF", "CBV"), ("MTT",)


class MSDCNNMethod(Method):
    """MS-DCNN trained with the paper's Dice loss; median filter on the soft output, threshold 0.5.

    Args:
        size: pixels a side that slices are resized to; None keeps the case's grid.
        learning_rate: of Adam, constant.
        kernels: first kernel of path A and of path B.
        dropouts: of path A and of path B.
        light: DenseNet's own transitions (compression by a half).
        add_cross_entropy: the paper's text speaks of a combination with cross-entropy, its formula has none.
        median: side of the median filter in pixels of the case's own grid, odd; 1 leaves it out.
        checkpoint_blocks: compute the dense blocks' activations again in the backward pass (less memory).
    """

    view: View = "slices"
    ablations = ("without_median",)

    def __init__(
        self,
        size: int | None = 160,
        learning_rate: float = 1e-3,
        kernels: tuple[int, int] = (7, 3),
        dropouts: tuple[float, float] = (0.01, 0.5),
        light: bool = False,
        add_cross_entropy: bool = False,
        median: int = 5,
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if size is not None and size % MSDCNN.multiple:
            raise InputError(
                f"model.init_args.size must be a multiple of {MSDCNN.multiple}, not {size}: correct the config"
            )
        if median < 1 or median % 2 == 0:
            raise InputError(f"model.init_args.median must be odd and positive, not {median}: correct the config")
        self.learning_rate = learning_rate
        self.kernels = kernels
        self.dropouts = dropouts
        self.light = light
        self.add_cross_entropy = add_cross_entropy
        self.median = median
        self.checkpoint_blocks = checkpoint_blocks
        self.static = not checkpoint_blocks  # it keeps the generator's state, which cannot be read in a capture
        self.preparation = PadToMultiple(MSDCNN.multiple) if size is None else ResizeTo(size)

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`; the cohort says which map lies where."""
        path_a, path_b = (list(self.data.cohort.places(maps)) for maps in (PATH_A, PATH_B))
        return MSDCNN(path_a, path_b, *self.kernels, *self.dropouts, self.light, self.checkpoint_blocks)

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Eq. 4, with cross-entropy where that is asked for."""
        soft = dice(logits, batch["reference"], batch["valid"])
        if not self.add_cross_entropy:
            return {"loss": soft}
        entropy = cross_entropy(logits, batch["reference"], batch["valid"])
        return {"loss": soft + entropy, "dice": soft, "cross_entropy": entropy}

    def postprocess(self, probability: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The mask after the median filter, and the one without ("post-processing stage of soft segmentation")."""
        filtered = median_filtered(probability, self.median)
        return {"": filtered > self.threshold, "without_median": probability > self.threshold}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with a constant learning rate. Our choice: the paper names a rate, no optimiser."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)


def median_filtered(probability: Tensor, side: int) -> Tensor:
    """Median over `side` x `side` pixels, `side` odd, of each slice of (D, H, W); the border repeats its pixels."""
    if probability.device.type == "cpu":  # SciPy's is twice as fast as sorting

        def of_slices(volume: np.ndarray) -> np.ndarray:
            return ndimage.median_filter(volume, size=(1, side, side), mode="nearest")

        return on_host(of_slices, probability)
    return median_by_sorting(probability, side)


def median_by_sorting(probability: Tensor, side: int) -> Tensor:
    """`median_filtered` on any device."""
    around = functional.pad(probability[None], (side // 2,) * 4, mode="replicate")[0]
    windows = around.unfold(1, side, 1).unfold(2, side, 1).flatten(-2)
    # Sorted whole: torch's median has no order of its own on a GPU.
    return windows.sort(dim=-1).values[..., side * side // 2]
