"""Where the brain is: the voxels in which the perfusion or diffusion maps say something."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def brain_mask(maps: np.ndarray) -> np.ndarray:
    """Largest connected region in which any map is positive, its holes filled slice by slice.

    The maps of both ISLES editions are 0 outside tissue. The CT image is left out on purpose: it is not skull
    stripped, and its background is 0 HU in some cases and -23 HU in others.

    Args:
        maps: (C, X, Y, Z), physical units, without CT.

    Returns:
        (X, Y, Z) bool; empty where every map is zero.
    """
    positive: np.ndarray = np.any(maps > 0, axis=0)
    labels, count = ndimage.label(positive)
    if count > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        positive = labels == sizes.argmax()
    filled = [ndimage.binary_fill_holes(positive[:, :, z]) for z in range(positive.shape[2])]
    return np.stack(filled, axis=2)
