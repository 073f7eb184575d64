"""A method's own deterministic preparation of slices, and its inverse on the probability.

It comes after the augmentation and before the network; what comes out of the network goes back through `inverse` to
the case's own grid before it is thresholded. In the slice plane it handles slices of several cases at once; where it
changes the slices themselves, it tells at which positions the new ones lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Plane:
    """The plane that a slice lies in, as it is after the augmentation."""

    pixel_mm: tuple[float, float]  #: pixel size along x and y
    mirror: np.ndarray  #: the map (see `inplane`) from each pixel to its mirror image in the head's other half


class Preparation:
    """How a method takes a case; this one takes it as it is. Pure; subclasses override what they change.

    Spacings are those of the case's own grid along x, y, z in mm.
    """

    def positions(self, depth: int, spacing_mm: Sequence[float]) -> np.ndarray:
        """(d,): where the prepared slices lie, in units of the case's own 0 to `depth` - 1."""
        return np.arange(depth, dtype=float)

    def image(self, image: Tensor, brain: Tensor, planes: Sequence[Plane]) -> Tensor:
        """Slices (S, C, H, W), brain (S, H, W) and the plane of each -> (S, C', h, w) as the network takes them."""
        return image

    def reference(self, reference: Tensor, planes: Sequence[Plane]) -> Tensor:
        """(S, H, W) uint8 -> (S, h, w)."""
        return reference

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """(d, h, w) as the network gives it -> (D, H, W) = `shape` on the case's grid."""
        return probability


class PadToMultiple(Preparation):
    """Pads height and width at their ends by replication up to a multiple; the inverse crops.

    Replication keeps the background's value, which is not 0 in a z-scored map. Where the depth must be a multiple too,
    the last slice is repeated with its reference: background there would teach the network to ignore a visible lesion.

    Args:
        multiple: of height and width.
        slices: of the depth.
    """

    def __init__(self, multiple: int, slices: int = 1) -> None:
        self.multiple = multiple
        self.slices = slices

    def positions(self, depth: int, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `Preparation`."""
        return np.arange(depth + -depth % self.slices, dtype=float).clip(max=depth - 1)

    def image(self, image: Tensor, brain: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        padding = self._padding(image)
        return functional.pad(image, padding, mode="replicate") if any(padding) else image

    def reference(self, reference: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`; what is padded in plane is background."""
        return functional.pad(reference, self._padding(reference))

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        depth, height, width = shape
        return probability[..., :depth, :height, :width]

    def _padding(self, slices: Tensor) -> list[int]:
        """Padding of (..., H, W) as `functional.pad` takes it, the last axis first."""
        return [side for size in reversed(slices.shape[-2:]) for side in (0, -size % self.multiple)]


def nearest_slices(preparation: Preparation, depth: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """(d,): the case's own slice that is nearest to each prepared one; its reference is the prepared one's."""
    return np.floor(preparation.positions(depth, spacing_mm) + 0.5).astype(int).clip(0, depth - 1)


def prepared_case(
    preparation: Preparation, slices: Tensor, brain: Tensor, plane: Plane, spacing_mm: Sequence[float]
) -> Tensor:
    """A whole case, (D, C, H, W) and its brain (D, H, W), as the network takes it: (C', d, h, w)."""
    depth = len(slices)
    image = preparation.image(slices, brain, [plane] * depth)
    return between_slices(image, preparation.positions(depth, spacing_mm)).transpose(0, 1)


def between_slices(slices: Tensor, positions: np.ndarray) -> Tensor:
    """Linear interpolation along the first axis: (D, ...) at positions (..d..) in units of slices -> (..d.., ...)."""
    below = np.floor(positions).astype(int).clip(0, len(slices) - 1)
    share = positions - below
    if np.array_equal(positions, np.arange(len(slices))):
        return slices
    lower = slices[_places(below, slices.device)]
    if not share.any():
        return lower
    weight = torch.from_numpy(share).to(lower.device, lower.dtype, non_blocking=True)
    weight = weight.reshape(share.shape + (1,) * (slices.ndim - 1))
    upper = slices[_places((below + 1).clip(max=len(slices) - 1), slices.device)]
    return lower * (1 - weight) + upper * weight


def _places(indices: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(indices).to(device, non_blocking=True)


def with_neighbours(image: Tensor, slices: Tensor, neighbours: int) -> Tensor:
    """Slices as 2D images, each with its neighbours as further channels.

    Args:
        image: (C, D, H, W).
        slices: (S,) indices into D.
        neighbours: how many slices on each side; the slab's ends are repeated.

    Returns:
        (S, C * (2 * neighbours + 1), H, W); channels ordered by slice offset, then map.
    """
    offsets = torch.arange(-neighbours, neighbours + 1, device=slices.device)
    indices = (slices[:, None] + offsets[None, :]).clamp(0, image.shape[1] - 1)
    picked = image[:, indices]  # (C, S, O, H, W)
    return picked.permute(1, 2, 0, 3, 4).flatten(1, 2)
