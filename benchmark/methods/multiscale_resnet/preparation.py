"""How Lucas & Heinrich's method takes a case: a fixed grid, and each map beside its mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.pipeline import midline
from benchmark.pipeline.augment import ROTATION_DEG
from benchmark.pipeline.midline import estimate_midline, mirror
from benchmark.pipeline.preparation import Preparation

#: Heads are tilted, and the augmentation turns them further.
LARGEST_ANGLE_DEG = midline.LARGEST_ANGLE_DEG + ROTATION_DEG


class WithMirrorImage(Preparation):
    """Adds to each map its mirror image about the head's mid-sagittal line; the rest is another preparation's.

    The line is estimated on the first map (CT; of ISLES 2017, ADC) of the sample as it is after augmentation, on the
    case's own grid, and the mirror images go through the inner preparation like the maps themselves.

    Args:
        inner: what brings the maps to the network's grid.
    """

    def __init__(self, inner: Preparation) -> None:
        self.inner = inner

    def image(self, image: Tensor, brain: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """(C, D, H, W) -> (2 C, d, h, w): the maps, then their mirror images."""
        line = estimate_midline(image[0], brain, spacing_mm, LARGEST_ANGLE_DEG)
        both = torch.cat([image, mirror(image, line, spacing_mm)])
        return self.inner.image(both, brain, spacing_mm)

    def reference(self, reference: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        return self.inner.reference(reference, spacing_mm)

    def lesion_slices(self, lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `Preparation`."""
        return self.inner.lesion_slices(lesion, spacing_mm)

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        return self.inner.inverse(probability, shape, spacing_mm)
