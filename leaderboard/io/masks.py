"""Masks and probability maps from files: is it on its case's grid, and does it hold what it should?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from leaderboard.errors import InputError, MachineError
from leaderboard.io import GridRule
from leaderboard.io.grids import Grid, is_turned, read_grid, times, turn_between, turned, voxel_fault
from leaderboard.io.images import read_volume

#: Voxel sizes that differ by more than this are different grids.
SPACING_TOLERANCE_MM = 1e-3
#: What rounds to 0 or 1 within this is a label: masks are stored with scale factors, or resampled.
LABEL_TOLERANCE = 1e-3
#: Probabilities beyond 0 or 1 by this much are rounded ones: maps are stored with scale factors.
PROBABILITY_TOLERANCE = 1e-6
#: What a file is to hold, in words.
Noun = Literal["mask", "map"]
#: ISLES 2018 headers have the identity as their affine and the voxel size in pixdim: a mask written with the affine
#: alone loses it.
HEADER_REMEDY: dict[Noun, str] = {
    "mask": "write the mask with the case's own header: image.CopyInformation(ref) in SimpleITK, in nibabel "
    "nib.Nifti1Image(mask.astype('uint8'), ref.affine, ref.header)",
    "map": "write the map with the case's own header: image.CopyInformation(ref) in SimpleITK, in nibabel "
    "nib.Nifti1Image(map, ref.affine, ref.header, dtype='float32')",
}
#: Where only the header may be wrong.
INDEX_REMEDY = "; if its voxels are in the case's own order, the leaderboard's --grid index takes it as it is"
#: Where headers tell no place, and must.
AUTO_REMEDY = ", or say --grid auto"
#: The affines of images that were made of nothing but an array, by nibabel and by SimpleITK.
_BLANK = (np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]))
#: A mask of another shape than its case's is read for its labels up to this size, twelve times the largest of ISLES.
CHECKED_VOXELS = 1 << 24


@dataclass(frozen=True)
class Mask:
    """A binary mask."""

    voxels: np.ndarray  #: boolean, shape (X, Y, Z); in the order of axes of the case where it was read for one
    grid: Grid  #: of these voxels
    was_turned: bool = False  #: the file stores its axes in another order than the case's, or the other way round

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel along the axes of `voxels`."""
        return self.grid.spacing_mm


def read_mask(path: Path, case: Grid | None = None, rule: GridRule = "auto") -> Mask:
    """Read a binary mask: a reference on any possible grid, or a prediction, which must lie on the grid of its case.

    The header is looked at before any voxel is read, so that a file cannot claim more memory than its case has voxels,
    or `CHECKED_VOXELS` where its shape is wrong. One volume with a fourth axis of length 1 is a mask.

    Args:
        path: the file.
        case: the grid of its case; None for a reference.
        rule: how grids are compared, see `GridRule`.

    Raises:
        InputError: the file is damaged, not on the grid or no mask of {0, 1}; with all that is wrong.
    """
    voxels, grid, was_turned = _read(path, binary_mask, case, rule)
    return Mask(voxels, grid, was_turned)


def read_probabilities(path: Path, case: Grid, rule: GridRule = "auto") -> tuple[np.ndarray, bool]:
    """Read a map of the probability of lesion, which must lie on the grid of its case as a mask does.

    Args:
        path: the file, floats, or integers with a scale factor.
        case: the grid of its case.
        rule: how grids are compared, see `GridRule`.

    Returns:
        32-bit floats in [0, 1], shape (X, Y, Z), in the order of axes of the case; and whether the file has another.

    Raises:
        InputError: the file is damaged, not on the grid, or holds values beyond 0 to 1; with all that is wrong.
    """
    voxels, _, was_turned = _read(path, probability_map, case, rule)
    return voxels, was_turned


def _read(
    path: Path, decode: Callable[[np.ndarray, Path], np.ndarray], case: Grid | None, rule: GridRule
) -> tuple[np.ndarray, Grid, bool]:
    """Voxels on the grid of the case, if there is one, that grid, and whether they are turned."""
    grid = _of_volume(read_grid(path))
    noun: Noun = "map" if decode is probability_map else "mask"
    turn, faults = _placed(grid, case, rule, noun) if case else (None, own_faults(grid))
    problems = [f"{path}: {fault}" for fault in faults]
    expected = math.prod(case.shape[:3]) if case else None
    if math.prod(grid.shape) <= CHECKED_VOXELS or math.prod(grid.shape) == expected or not problems:
        try:
            voxels = decode(read_volume(path).data, path)
        except MachineError:
            raise
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    voxels = voxels.reshape(grid.shape)
    if case is None or turn is None or not is_turned(turn):
        return voxels, grid, False
    return turned(voxels, turn), _of_volume(case), True


def fits(own: Grid, case: Grid, rule: GridRule = "auto") -> bool:
    """Whether a mask with a grid of its own would be scored on the grid of a case."""
    return not _placed(_of_volume(own), case, rule)[1]


def _of_volume(grid: Grid) -> Grid:
    """The grid of a mask without a fourth axis of length 1."""
    return Grid(grid.shape[:3], grid.spacing_mm, grid.affine) if grid.shape[3:] == (1,) else grid


def own_faults(grid: Grid) -> list[str]:
    """What is wrong with the grid of a reference, and what to do."""
    if len(grid.shape) != 3:
        return [f"has the shape {times(grid.shape)} where a mask has three axes: write one 3-D volume"]
    return [fault] if (fault := voxel_fault(grid.spacing_mm)) else []


def _placed(own: Grid, case: Grid, rule: GridRule, noun: Noun = "mask") -> tuple[np.ndarray | None, list[str]]:
    """How a mask or map is turned onto the grid of its case (None: as it is), and what is wrong with its grid."""
    case = Grid(case.shape[:3], case.spacing_mm, case.affine)
    if rule == "blank":
        turn, faults = _placed(own, case, "auto", noun)
        return (None, shape_faults(own, case, noun)) if faults and is_blank(own) else (turn, faults)
    if len(own.shape) != 3:
        return None, [f"has the shape {times(own.shape)} where the case has {times(case.shape)}: write one 3-D volume"]
    if rule == "index":
        return None, shape_faults(own, case, noun)
    if own.affine is not None and case.affine is not None:
        turn = turn_between(own.affine, own.shape, case)
        return turn, [] if turn is not None else _apart(own, case, noun)
    if rule == "affine":
        lacking = "its header" if own.affine is None else "the header of its case"
        return None, [
            f"cannot be compared by place, {lacking} tells none (an affine of its own voxel size): "
            f"{HEADER_REMEDY[noun]}{AUTO_REMEDY}"
        ]
    faults = shape_faults(own, case, noun)
    if not np.allclose(own.spacing_mm, case.spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
        faults.append(
            f"has the voxel size {times(own.spacing_mm)} mm where the case has {times(case.spacing_mm)} mm: "
            f"{HEADER_REMEDY[noun]}{'' if faults else INDEX_REMEDY}"
        )
    return None, faults


def without_options(problem: str) -> str:
    """A problem with a mask as its author is told, who hands it in and chooses no option of any command."""
    return problem.replace(INDEX_REMEDY, "").replace(AUTO_REMEDY, "")


def is_blank(grid: Grid) -> bool:
    """Whether a header is the one that SimpleITK or nibabel write around an array of three axes.

    That is voxels of 1 mm, the first one at the origin, the axes as in ITK (``GetImageFromArray``) or in NIfTI
    (``Nifti1Image(mask, np.eye(4))``), or no affine.
    """
    if len(grid.shape) != 3 or grid.spacing_mm != (1.0, 1.0, 1.0):
        return False
    return grid.affine is None or any(np.array_equal(grid.affine, blank) for blank in _BLANK)


def _apart(own: Grid, case: Grid, noun: Noun) -> list[str]:
    """What is wrong with a mask or map whose voxels lie elsewhere than those of its case."""
    same_shape = own.shape == case.shape
    if not same_shape and sorted(own.shape) != sorted(case.shape):
        remedy = f"resample the {noun} to the case's own grid"
    else:
        remedy = HEADER_REMEDY[noun] + (INDEX_REMEDY if same_shape else "")
    return [f"lies elsewhere than its case; it has {own}; the case has {case}: {remedy}"]


def shape_faults(own: Grid, case: Grid, noun: Noun = "mask") -> list[str]:
    """What is wrong with the shape of a mask or map on the grid of its case, and what to do."""
    if own.shape == case.shape:
        return []
    return [
        f"has the shape {times(own.shape)} where the case has {times(case.shape)}: resample the {noun} to the case's "
        "own grid"
    ]


def binary_mask(data: np.ndarray, path: Path | str) -> np.ndarray:
    """Labels to a boolean mask; messages begin with `path`.

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
        # of four digits no value beyond the tolerance reads 0 or 1
        shown = ", ".join(f"{value:.4g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
        probable = bool(((values > 0) & (values < 1)).all())
        remedy = "threshold the probabilities" if probable else "write 1 for lesion and 0 elsewhere"
        raise InputError(f"{path}: holds the values {shown}, a mask holds 0 and 1 alone: {remedy}")
    return np.asarray(lesion)


def probability_map(data: np.ndarray, path: Path | str) -> np.ndarray:
    """Values to 32-bit floats in [0, 1]; messages begin with `path`.

    Raises:
        InputError: a value lies beyond 0 to 1 (by more than `PROBABILITY_TOLERANCE`), or is no number.
    """
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise InputError(f"{path}: holds NaN or infinite values: write probabilities from 0 to 1")
    least, most = float(data.min()), float(data.max())
    if least < -PROBABILITY_TOLERANCE or most > 1 + PROBABILITY_TOLERANCE:
        remedy = "write probabilities, not logits" if least < 0 else "divide by the largest that there can be"
        raise InputError(
            f"{path}: holds values from {least:.6g} to {most:.6g}, a probability map holds 0 to 1: {remedy} (integers "
            "need a scale factor in the header)"
        )
    return np.clip(data.astype(np.float32), 0, 1)
