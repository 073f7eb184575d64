"""The order of axes: files and metrics have (X, Y, Z), networks (D, H, W), in which a slice lies in one piece.

D counts slices along Z, H rows along Y, W columns along X. Axes in front of these three (channels) stay where they are.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np


class _Array(Protocol):
    def swapaxes(self, axis0: int, axis1: int, /) -> Any:
        """Exchange two axes."""


Array = TypeVar("Array", bound=_Array)


def slices_first(volume: Array) -> Array:
    """(..., X, Y, Z), as a file has it, to (..., D, H, W): a view of an array or a tensor."""
    turned: Array = volume.swapaxes(-1, -3)
    return turned


def slices_last(volume: Array) -> Array:
    """(..., D, H, W) to (..., X, Y, Z), as a file has it: a view of an array or a tensor."""
    turned: Array = volume.swapaxes(-1, -3)
    return turned


def from_itk(volume: np.ndarray) -> np.ndarray:
    """(..., T, Z, Y, X), as ITK's arrays have it, to (X, Y, Z, T, ...), as a file has it: a view."""
    return volume.transpose()
