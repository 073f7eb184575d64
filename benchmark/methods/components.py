"""Connected components of masks, as several rules treat them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def drop_small(mask: np.ndarray, smallest_ml: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The mask without components (connected over faces) of less than `smallest_ml`."""
    labels, count = ndimage.label(mask)
    voxel_ml = float(np.prod([float(size) for size in spacing_mm])) / 1000
    keep = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml >= smallest_ml
    keep[0] = False
    return keep[labels]
