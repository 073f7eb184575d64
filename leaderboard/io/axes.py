"""The order of axes: files and metrics have (X, Y, Z), networks (D, H, W), in which a slice lies in one piece.

D counts slices along Z, H rows along Y, W columns along X. Axes in front of these three (channels) stay where they are.
All functions give views.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def slices_first(volume: Any) -> Any:
    """(..., X, Y, Z), as a file has it, to (..., D, H, W); an array or a tensor, as it was given."""
    return volume.swapaxes(-1, -3)


def slices_last(volume: Any) -> Any:
    """(..., D, H, W) to (..., X, Y, Z), as a file has it; an array or a tensor, as it was given."""
    return volume.swapaxes(-1, -3)


def from_itk(volume: np.ndarray) -> np.ndarray:
    """(..., T, Z, Y, X), as ITK's arrays have it, to (X, Y, Z, T, ...), as a file has it."""
    return volume.transpose()
