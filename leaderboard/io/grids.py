"""Where the voxels of an image lie: its affine, orders of axes, and one image brought onto the grid of another.

An affine maps voxel indices to millimetres in NIfTI's axes: x to the patient's right, y to the front, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

from leaderboard.io.images import read_geometry

#: No voxel of a head scan is smaller or larger, in mm.
VOXEL_MM = (0.05, 20.0)
#: Voxels of two masks are the same ones where they lie no further apart than this share of a voxel.
SAME_PLACE = 0.1
#: How far two affines may differ, in mm, and still mean one grid.
TOLERANCE_MM = 1e-3
_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
#: From ITK's axes, x to the left and y to the back, to NIfTI's, and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image are."""

    shape: tuple[int, ...]  #: voxels along X, Y and Z (and T, where an image has it)
    spacing_mm: tuple[float, float, float]  #: size of a voxel along X, Y and Z
    affine: np.ndarray | None = None  #: 4 x 4; None where the header tells none, see `affine_of`

    def __str__(self) -> str:
        parts = [f"{times(self.shape)} voxels of {times(self.spacing_mm)} mm"]
        if self.affine is not None:
            parts.append(f"axes {order_of(self.affine)}, first voxel at {_listed(self.affine[:3, 3].tolist())} mm")
        return ", ".join(parts)


def read_grid(path: Path) -> Grid:
    """The grid of an image file, its voxels unread.

    Raises:
        InputError: as for `read_geometry`.
    """
    shape, spacing_mm, header = read_geometry(path)
    return Grid(shape, spacing_mm, affine_of(header, spacing_mm))


def voxel_fault(spacing_mm: Sequence[float]) -> str | None:
    """What is wrong with a voxel size that no head scan has, and what to do; None for a possible one."""
    low, high = VOXEL_MM
    if all(low <= size <= high for size in spacing_mm):
        return None
    return (
        f"has voxels of {times(spacing_mm)} mm where {low:g} to {high:g} mm are possible: correct the voxel size, "
        "or the unit of length (xyzt_units), in its header"
    )


def order_of(affine: np.ndarray) -> str:
    """Where the stored axes run: ``RAS`` is to the right, the front and the head."""
    return "".join(nib.aff2axcodes(affine))


def turn_between(affine: np.ndarray, shape: Sequence[int], onto: Grid) -> np.ndarray | None:
    """The flips and permutations of axes that bring an image onto a grid, for `turned`.

    Args:
        affine: of the image.
        shape: of the image, three axes.
        onto: the grid, with an affine.

    Returns:
        (3, 2), of each axis of the image the axis of the grid and the sign; None where the voxels of the two are not
        the same ones in the same places, within `SAME_PLACE`.
    """
    if onto.affine is None or len(shape) != 3:
        return None
    between = np.linalg.inv(onto.affine) @ affine
    steps = np.rint(between[:3, :3])
    if not (np.allclose(between[:3, :3], steps, rtol=0, atol=1e-2) and (abs(steps).sum(axis=0) == 1).all()):
        return None
    axes = abs(steps).argmax(axis=0)
    turn = np.stack([axes, steps[axes, range(3)]], axis=1)
    if sorted(axes) != [0, 1, 2] or [shape[place] for place in np.argsort(axes)] != list(onto.shape):
        return None
    # the image's corners, counted in the grid's voxels, must be the grid's own
    ends = np.array(np.meshgrid(*([0, size - 1] for size in onto.shape))).reshape(3, -1)
    places = between @ orientations.inv_ornt_aff(turn, tuple(shape)) @ np.vstack([ends, np.ones(ends.shape[1])])
    return turn if abs(places[:3] - ends).max() <= SAME_PLACE else None


def turned(data: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """An image (X, Y, Z) in the order of axes of the grid that `turn_between` was asked about."""
    return np.ascontiguousarray(orientations.apply_orientation(data, turn))


def is_turned(turn: np.ndarray) -> bool:
    """Whether a turn changes anything."""
    return not np.array_equal(turn, _CANONICAL)


def affine_of(header: nib.Nifti1Header, spacing_mm: Sequence[float]) -> np.ndarray | None:
    """The affine (4 x 4) that a header tells; None where it tells none that fits its own voxel size.

    ISLES 2018 has the identity there, whatever the voxel size: such an affine says nothing.
    """
    if not (int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0):
        return None
    affine = np.asarray(header.get_best_affine(), dtype=float)
    fits = np.allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing_mm, rtol=1e-3, atol=1e-3)
    if not (fits and np.isfinite(affine).all()):
        return None
    return affine if abs(np.linalg.det(affine)) > 1e-3 * np.prod(spacing_mm) else None


def same_grid(shape: Sequence[int], affine: np.ndarray, other_shape: Sequence[int], other_affine: np.ndarray) -> bool:
    """Whether the voxels of two images lie in the same places, in the same order."""
    return tuple(shape) == tuple(other_shape) and np.allclose(affine, other_affine, rtol=0, atol=TOLERANCE_MM)


def to_canonical(data: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """An image (X, Y, Z) with axes turned and flipped so that they run to the right, the front and the head.

    Without an affine the axes stay as they are.
    """
    return data if affine is None else np.ascontiguousarray(orientations.apply_orientation(data, _orientation(affine)))


def from_canonical(data: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """The inverse of `to_canonical`: an image in the order of axes of the file that has this affine."""
    if affine is None:
        return data
    back = orientations.ornt_transform(_CANONICAL, _orientation(affine))
    return np.ascontiguousarray(orientations.apply_orientation(data, back))


def canonical_spacing(spacing_mm: tuple[float, float, float], affine: np.ndarray | None) -> tuple[float, float, float]:
    """The voxel size along the axes of `to_canonical`."""
    if affine is None:
        return spacing_mm
    along = {int(axis): size for (axis, _), size in zip(_orientation(affine), spacing_mm, strict=True)}
    return along[0], along[1], along[2]


def resampled(data: np.ndarray, affine: np.ndarray, shape: Sequence[int], onto: np.ndarray) -> np.ndarray:
    """An image in the places of another's voxels, by linear interpolation; 0 outside of it.

    Args:
        data: (X, Y, Z) real numbers.
        affine: of `data`.
        shape: of the result.
        onto: affine of the result.

    Returns:
        float32 in `shape`.
    """
    import SimpleITK as sitk

    moved = sitk.Resample(
        _itk_image(data.astype(np.float32), affine),
        _itk_image(np.zeros(shape, np.uint8), onto),
        sitk.Transform(),
        sitk.sitkLinear,
        0.0,
        sitk.sitkFloat32,
    )
    return np.asarray(sitk.GetArrayFromImage(moved)).transpose()


def times(numbers: Sequence[float]) -> str:
    """Numbers along axes, for messages: ``0.9 x 0.9 x 6``."""
    return " x ".join(f"{number:.6g}" for number in numbers)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.6g}" for number in np.round(numbers, 3) + 0.0)


def _orientation(affine: np.ndarray) -> np.ndarray:
    """Of each stored axis, the canonical axis that it is nearest to and its sign."""
    return np.asarray(orientations.io_orientation(affine))


def _itk_image(data: np.ndarray, affine: np.ndarray):  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    turned = _FLIP @ affine
    spacing = np.linalg.norm(turned[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((turned[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(turned[:3, 3].tolist())
    return image
