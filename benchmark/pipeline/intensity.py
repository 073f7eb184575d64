"""Intensities as networks take them: each map z-scored inside the brain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
