"""Masks from files: is it on its case's grid, and does it hold 0 and 1 alone?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaderboard.errors import InputError
from leaderboard.io.images import read_geometry, read_volume

#: Voxel sizes that differ by more than this are different grids.
SPACING_TOLERANCE_MM = 1e-3
#: A mask stored with a scale factor has ones that read 0.9999999.
LABEL_TOLERANCE = 1e-5
#: ISLES 2018 headers have the identity as their affine and the voxel size in pixdim: a mask written with the affine
#: alone loses it.
HEADER_REMEDY = (
    "write the mask with the case's own header, nib.Nifti1Image(mask.astype('uint8'), ref.affine, ref.header)"
)
#: A mask of another shape than its case's is read for its labels up to this size, twelve times the largest of ISLES.
CHECKED_VOXELS = 1 << 24


def read_mask(
    path: Path, shape: tuple[int, ...] | None = None, spacing_mm: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a binary mask, which must lie on the given grid.

    The header is looked at before any voxel is read, so that a file cannot claim more memory than its case has voxels,
    or `CHECKED_VOXELS` where its shape is wrong. One volume with a fourth axis of length 1 is a mask.

    Returns:
        The mask, boolean, shape (X, Y, Z), and its spacing in mm, from the header and never from the affine.

    Raises:
        InputError: the file is damaged, not on the grid or no mask of {0, 1}; with all that is wrong.
    """
    found_shape, found_spacing, _ = read_geometry(path)
    if found_shape[3:] == (1,):
        found_shape = found_shape[:3]
    problems = _shape_faults(path, found_shape, shape)
    readable = not problems or math.prod(found_shape) <= CHECKED_VOXELS
    if spacing_mm is not None and not np.allclose(found_spacing, spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
        problems.append(
            f"{path}: has the voxel size {_times(found_spacing)} mm where the case has {_times(spacing_mm)} mm: "
            f"{HEADER_REMEDY}"
        )
    if readable:
        try:
            mask = binary_mask(read_volume(path).data, path)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return mask.reshape(found_shape), found_spacing


def _shape_faults(path: Path, found: tuple[int, ...], shape: tuple[int, ...] | None) -> list[str]:
    """What is wrong with the shape of a mask, where the case has `shape` (None: any of three axes will do)."""
    if len(found) != 3:
        expected = f"the case has {_times(shape)}" if shape else "a mask has three axes"
        return [f"{path}: has the shape {_times(found)} where {expected}: write one 3-D volume"]
    if shape is not None and found != shape:
        return [
            f"{path}: has the shape {_times(found)} where the case has {_times(shape)}: "
            "resample the mask to the case's own grid"
        ]
    return []


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
        shown = ", ".join(f"{value:.4g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
        probable = bool(((values > 0) & (values < 1)).all())
        remedy = "threshold the probabilities" if probable else "write 1 for lesion and 0 elsewhere"
        raise InputError(f"{path}: holds the values {shown}, a mask holds 0 and 1 alone: {remedy}")
    return np.asarray(lesion)


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)
