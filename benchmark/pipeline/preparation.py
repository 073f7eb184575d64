"""A method's own deterministic preparation of a volume, and its inverse on the probability.

It comes after the augmentation and before the network; what comes out of the network goes back through `inverse` to
the case's own grid before it is thresholded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Preparation:
    """How a method takes a case; this one takes it as it is. Picklable and pure: data loader workers call it.

    Subclasses override what they change. Spacings are those of the case's own grid along x, y, z in mm.
    """

    def image(self, image: Tensor, brain: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """Images (C, D, H, W) and brain mask (D, H, W) on the case's grid -> (C', d, h, w) as the network takes it."""
        return image

    def reference(self, reference: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """(D, H, W) on the case's grid, uint8 -> (d, h, w)."""
        return reference

    def lesion_slices(self, lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """(D,) bool, which slices of the case hold lesion -> (d,), which slices of the prepared reference do."""
        return lesion

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """(d, h, w) as the network gives it -> (D, H, W) = `shape` on the case's grid."""
        return probability


class PadToMultiple(Preparation):
    """Pads height and width (and depth) at their ends by replication up to a multiple; the inverse crops.

    Replication keeps the background's value, which is not 0 in a z-scored map.

    Args:
        multiple: of height and width.
        slices: of the depth.
    """

    def __init__(self, multiple: int, slices: int = 1) -> None:
        self.multiple = multiple
        self.slices = slices

    def image(self, image: Tensor, brain: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        padding = self._padding(image)
        return functional.pad(image, padding, mode="replicate") if any(padding) else image

    def reference(self, reference: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`; what is padded is background."""
        return functional.pad(reference, self._padding(reference))

    def lesion_slices(self, lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `Preparation`."""
        return np.pad(lesion, (0, -len(lesion) % self.slices))

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        depth, height, width = shape
        return probability[..., :depth, :height, :width]

    def _padding(self, volume: Tensor) -> list[int]:
        """Padding of (..., D, H, W) as `functional.pad` takes it, the last axis first."""
        sizes = zip(reversed(volume.shape[-3:]), (self.multiple, self.multiple, self.slices), strict=True)
        return [side for size, multiple in sizes for side in (0, -size % multiple)]


def with_neighbours(image: Tensor, slices: Tensor, neighbours: int) -> Tensor:
    """Slices as 2D images, each with its neighbours as further channels.

    Args:
        image: (C, D, H, W).
        slices: (S,) indices into D.
        neighbours: how many slices on each side; the slab's ends are repeated.

    Returns:
        (S, C * (2 * neighbours + 1), H, W); channels ordered by slice offset, then map.
    """
    offsets = torch.arange(-neighbours, neighbours + 1)
    indices = (slices[:, None] + offsets[None, :]).clamp(0, image.shape[1] - 1)
    picked = image[:, indices]  # (C, S, O, H, W)
    return picked.permute(1, 2, 0, 3, 4).flatten(1, 2)
