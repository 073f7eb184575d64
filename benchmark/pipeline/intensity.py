"""Intensities as networks take them: each map z-scored inside the brain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: HU between which soft tissue lies; beyond are bone, metal and air.
CT_WINDOW = (0.0, 100.0)


def strip_ct(image: np.ndarray, brain: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """A copy of images (C, X, Y, Z) in physical units whose CT is made like the maps.

    It is clipped to the soft tissue window, and 0 HU outside the brain (X, Y, Z).
    """
    stripped = np.array(image, dtype=np.float32)
    for index, kind in enumerate(channels):
        if kind == "CT":
            stripped[index] = np.where(brain, stripped[index].clip(*CT_WINDOW), 0)
    return stripped


def brain_statistics(stripped: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C,) mean and standard deviation (at least 1e-3) inside the brain of an image from `strip_ct`."""
    inside = stripped[:, brain.astype(bool)].astype(np.float64)
    return inside.mean(axis=1), np.maximum(inside.std(axis=1), 1e-3)


def zscore(stripped: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Standard deviations from the brain's mean; the background keeps its place at (0 - mean) / sd.

    The background is not set to 0, the brain's mean: so it stays apart from tissue, and another affine normalisation
    (over the whole array, say) gives what it would give on the physical values.
    """
    shape = (-1, 1, 1, 1)
    return ((stripped - mean.reshape(shape)) / sd.reshape(shape)).astype(np.float32)
