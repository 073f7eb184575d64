"""Heads whose low-flow region is known, for the threshold rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmark.methods.perfusion_threshold import PerfusionThreshold
from benchmark.pipeline.datasets import Batch
from benchmark.pipeline.midline import estimate_midline
from leaderboard.cohort.case import CT_WINDOW

FOV_MM = 200.0


def perfusion(**settings: Any) -> PerfusionThreshold:
    """A threshold row that knows where a phantom's maps are."""
    method = PerfusionThreshold(**settings)
    method.places = (0, 1, 4)
    return method


@dataclass(frozen=True)
class Phantom:
    """A head with ventricles, a vessel and, at the greater x, a disc of low flow with a deeper part.

    Attributes:
        maps: (5, D, H, W) CT, CBF, CBV, MTT, Tmax.
        brain: (D, H, W).
        regions: masks (D, H, W) by name.
        spacing_mm: x, y, z.
    """

    maps: np.ndarray
    brain: np.ndarray
    regions: dict[str, np.ndarray]
    spacing_mm: tuple[float, float, float]

    @property
    def batch(self) -> Batch:
        return {
            "image": torch.from_numpy(self.maps.astype(np.float32)),
            "brain": torch.from_numpy(self.brain.astype(np.uint8)),
            "reference": torch.from_numpy(self.regions["core"].astype(np.uint8)),
            "spacing_mm": self.spacing_mm,
            "midline": estimate_midline(np.clip(self.maps[0], *CT_WINDOW), self.brain, self.spacing_mm),
        }

    def predict(self, **settings: float) -> np.ndarray:
        return perfusion(**settings).rule(self.batch).numpy()


def phantom(size: int = 128, depth: int = 2, dz: float = 6.0, core: float = 0.2, rim: float = 0.34) -> Phantom:
    pixel = FOV_MM / size
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    y, x = np.meshgrid(axis, axis, indexing="ij")

    def disc(at_x: float, at_y: float, radius: float) -> np.ndarray:
        return np.broadcast_to(np.hypot(x - at_x, y - at_y) < radius, (depth, size, size)).copy()

    brain = np.broadcast_to(np.hypot(x / 68, y / 84) < 1, (depth, size, size)).copy()
    regions = {
        "rim": disc(35, 10, 20) & ~disc(35, 10, 12),
        "core": disc(35, 10, 12),
        "ventricles": disc(-12, -20, 9) | disc(12, -20, 9),
        "vessel": disc(30, 52, 3),
        "late": disc(40, 10, 20),
    }
    noise = np.random.default_rng(0).normal(1, 0.05, brain.shape)
    cbf = np.where(brain, 250 * noise, 0)
    cbf[regions["rim"]] *= rim
    cbf[regions["core"]] *= core
    cbf[regions["ventricles"]] *= 0.05
    cbf[regions["vessel"]] *= 8
    ct = np.where(brain, 33.0, 0.0)
    ct[regions["ventricles"]] = 6
    tmax = np.where(brain, 3.0, 0.0)
    tmax[regions["late"]] = 9
    return Phantom(np.stack([ct, cbf, cbf / 10, tmax, tmax]), brain, regions, (pixel, pixel, dz))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
