"""What tests of preparations share: a plane without a midline, and whole slabs through a preparation."""

from __future__ import annotations

import torch

from benchmark.pipeline.inplane import IDENTITY
from benchmark.pipeline.preparation import Plane, Preparation, nearest_slices, prepared_case

Spacing = tuple[float, float, float]


def plane(spacing_mm: Spacing) -> Plane:
    return Plane(spacing_mm[:2], IDENTITY)


def prepare(preparation: Preparation, image: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """(C, D, H, W) -> (C', d, h, w)."""
    brain = torch.ones(image.shape[1:], dtype=torch.uint8)
    return prepared_case(preparation, image.transpose(0, 1), brain, plane(spacing_mm), spacing_mm)


def prepare_reference(preparation: Preparation, reference: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """(D, H, W) -> (d, h, w)."""
    prepared = preparation.reference(reference, [plane(spacing_mm)] * len(reference))
    return prepared[torch.from_numpy(nearest_slices(preparation, len(reference), spacing_mm))]
