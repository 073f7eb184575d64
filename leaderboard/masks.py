"""Masks from files: is it on its case's grid, and does it hold 0 and 1 alone?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaderboard.errors import InputError
from leaderboard.images import read_geometry, read_volume

#: Voxel sizes that differ by more than this are different grids.
SPACING_TOLERANCE_MM = 1e-3
#: A mask stored with a scale factor has ones that read 0.9999999.
LABEL_TOLERANCE = 1e-5


def read_mask(
    path: Path, shape: tuple[int, ...] | None = None, spacing_mm: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a binary mask, which must lie on the given grid.

    The header is looked at before any voxel is read, so that a file cannot claim more memory than its case has voxels.

    Returns:
        The mask, boolean, shape (X, Y, Z), and its spacing in mm, from the header and never from the affine.

    Raises:
        InputError: the file is damaged, not on the grid or no mask of {0, 1}.
    """
    found_shape, found_spacing, _ = read_geometry(path)
    if shape is not None and found_shape != shape:
        raise InputError(
            f"{path}: has the shape {_times(found_shape)} where the case has {_times(shape)}: "
            "resample the mask to the case's own grid"
        )
    if spacing_mm is not None and not np.allclose(found_spacing, spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
        raise InputError(
            f"{path}: has the voxel size {_times(found_spacing)} mm where the case has {_times(spacing_mm)} mm: "
            "write the mask with the case's own header"
        )
    volume = read_volume(path)
    if volume.data.ndim != 3:
        raise InputError(f"{path}: has {volume.data.ndim} axes where a mask has 3: write one volume")
    return binary_mask(volume.data, path), volume.spacing_mm


def binary_mask(data: np.ndarray, path: Path) -> np.ndarray:
    """Labels to a boolean mask.

    Raises:
        InputError: a value is neither 0 nor 1 (within `LABEL_TOLERANCE`).
    """
    lesion = data == 1
    if np.count_nonzero(data) == np.count_nonzero(lesion):
        return np.asarray(lesion)
    if data.dtype.kind == "f":
        if not np.isfinite(data).all():
            raise InputError(f"{path}: holds NaN or infinite values: write a mask of 0 and 1")
        lesion = np.abs(data - 1.0) <= LABEL_TOLERANCE
    background = np.abs(data) <= LABEL_TOLERANCE if data.dtype.kind == "f" else data == 0
    wrong = data[~(lesion | background)]
    if wrong.size:
        values = np.unique(wrong)
        listed = ", ".join(f"{value:.4g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
        probable = bool(((values > 0) & (values < 1)).all())
        remedy = "threshold the probabilities" if probable else "write 1 for lesion and 0 elsewhere"
        raise InputError(f"{path}: holds the values {listed}, a mask holds 0 and 1 alone: {remedy}")
    return np.asarray(lesion)


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)
