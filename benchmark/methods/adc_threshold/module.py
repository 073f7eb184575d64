"""Lesion is where water diffuses slowly: the threshold that clinical software applies to ADC maps."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from benchmark.methods.base import RuleMethod, on_host
from benchmark.methods.components import drop_small
from benchmark.pipeline.datasets import Batch
from leaderboard.errors import InputError


class ADCThreshold(RuleMethod):
    """Lesion is where the ADC in the brain is low.

    Args:
        below: threshold on the ADC in um2/ms (0.62 um2/ms are 620e-6 mm2/s).
        smallest_ml: connected components of a smaller volume are dropped.

    Raises:
        InputError: a setting is no such number.
    """

    maps = ("ADC",)

    def __init__(self, below: float = 0.62, smallest_ml: float = 0.1) -> None:
        super().__init__()
        if not (0 < below < float("inf") and smallest_ml >= 0):
            raise InputError(
                "model.init_args: adc_threshold needs below > 0 and smallest_ml of 0 or more: correct the config"
            )
        self.save_hyperparameters()
        self.below = below
        self.smallest_ml = smallest_ml

    def rule(self, batch: Batch) -> Tensor:
        """See `RuleMethod`."""

        def segment(brain: np.ndarray, image: np.ndarray) -> np.ndarray:
            return slow_diffusion(image[self.places[0]], brain, batch["spacing_mm"], self.below, self.smallest_ml)

        return on_host(segment, batch["brain"], batch["image"]).bool()


def slow_diffusion(
    adc: np.ndarray, brain: np.ndarray, spacing_mm: tuple[float, float, float], below: float, smallest_ml: float
) -> np.ndarray:
    """The voxels of the brain whose ADC is positive and below a threshold, without small components.

    Args:
        adc: (D, H, W) in um2/ms; 0 and less is no measurement.
        brain: (D, H, W), nonzero inside.
        spacing_mm: voxel size along x, y, z.
        below: the threshold, in um2/ms.
        smallest_ml: components (connected over faces) of a smaller volume are dropped.

    Returns:
        (D, H, W) bool.
    """
    return drop_small(brain.astype(bool) & (adc > 0) & (adc < below), smallest_ml, spacing_mm)
