"""Where the voxels of an image lie: its affine, orders of axes, and one image brought onto the grid of another.

An affine maps voxel indices to millimetres in NIfTI's axes: x to the patient's right, y to the front, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from nibabel import orientations

#: How far two affines may differ, in mm, and still mean one grid.
TOLERANCE_MM = 1e-3
_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
#: From ITK's axes, x to the left and y to the back, to NIfTI's, and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_of(header: nib.Nifti1Header, spacing_mm: Sequence[float]) -> np.ndarray | None:
    """The affine (4 x 4) that a header tells; None where it tells none that fits its own voxel size.

    ISLES 2018 has the identity there, whatever the voxel size: such an affine says nothing.
    """
    if not (int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0):
        return None
    affine = np.asarray(header.get_best_affine(), dtype=float)
    fits = np.allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing_mm, rtol=1e-3, atol=1e-3)
    return affine if fits and np.isfinite(affine).all() else None


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
