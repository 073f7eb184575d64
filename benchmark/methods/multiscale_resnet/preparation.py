"""How Lucas & Heinrich's method takes a case: a fixed grid, and each map beside its mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.pipeline.inplane import sample
from benchmark.pipeline.preparation import Plane, Preparation


class WithMirrorImage(Preparation):
    """Adds to each map its mirror image about the head's midline; the rest is another preparation's.

    The midline is that of the case, carried through the augmentation, so that each pixel lies beside the place in the
    other half of the head that it belongs to. The mirror images go through the inner preparation like the maps.

    Args:
        inner: what brings the maps to the network's grid.
    """

    def __init__(self, inner: Preparation) -> None:
        self.inner = inner

    def positions(self, depth: int, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `Preparation`."""
        return self.inner.positions(depth, spacing_mm)

    def image(self, image: Tensor, brain: Tensor, planes: Sequence[Plane]) -> Tensor:
        """(S, C, H, W) -> (S, 2 C, h, w): the maps, then their mirror images."""
        size = (image.shape[-2], image.shape[-1])
        mirrored = sample(image, [plane.mirror for plane in planes], size, "border")
        return self.inner.image(torch.cat([image, mirrored], dim=1), brain, planes)

    def reference(self, reference: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        return self.inner.reference(reference, planes)

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        return self.inner.inverse(probability, shape, spacing_mm)
