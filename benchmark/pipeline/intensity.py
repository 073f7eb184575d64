"""Intensities inside the brain: z-scored, as networks take them, and smoothed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

#: The values of an image that show tissue, None where all do (`ImageKind.window`).
Window = tuple[float, float] | None


def strip(image: np.ndarray, brain: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """A copy in which images with a window are clipped to it, and are 0 outside the brain as the others are.

    Args:
        image: (C, X, Y, Z), physical units.
        brain: (X, Y, Z) mask.
        windows: of each image.
    """
    stripped = np.array(image, dtype=np.float32)
    for index, window in enumerate(windows):
        if window is not None:
            stripped[index] = np.where(brain, stripped[index].clip(*window), 0)
    return stripped


def brain_statistics(stripped: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C,) mean and standard deviation (at least 1e-3) inside the brain of an image from `strip`."""
    inside = stripped[:, brain.astype(bool)].astype(np.float64)
    return inside.mean(axis=1), np.maximum(inside.std(axis=1), 1e-3)


def zscore(stripped: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Standard deviations from the brain's mean; the background keeps its place at (0 - mean) / sd.

    The background is not set to 0, the brain's mean: so it stays apart from tissue, and another affine normalisation
    (over the whole array, say) gives what it would give on the physical values.
    """
    shape = (-1, 1, 1, 1)
    return ((stripped - mean.reshape(shape)) / sd.reshape(shape)).astype(np.float32)


def smooth(values: np.ndarray, mask: np.ndarray, sd_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Gaussian smoothing in plane of what lies inside a mask (normalised convolution); 0 outside.

    Args:
        values: (D, H, W).
        mask: (D, H, W) bool; what lies outside neither gives nor receives.
        sd_mm: standard deviation of the Gaussian.
        spacing_mm: voxel size along x, y, z.
    """
    sd = (0.0, sd_mm / float(spacing_mm[1]), sd_mm / float(spacing_mm[0]))
    weighted = ndimage.gaussian_filter(np.where(mask, values, 0).astype(np.float64), sd, mode="constant")
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sd, mode="constant")
    return np.where(mask, weighted / np.where(mask, weight, 1.0), 0.0)
