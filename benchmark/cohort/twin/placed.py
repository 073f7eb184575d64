"""Images with a place in space: sampled on a turned grid, stored in any order of axes, with a real affine.

Affines map voxel indices to millimetres in NIfTI's axes: x to the patient's right, y to the front, z to the head. The
scanner's frame (`anatomy`) has x to the left.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.eulerangles import euler2mat
from scipy import ndimage

from benchmark.cohort.twin.fields import Grid

#: NIfTI's axes from the scanner's, as (z, x, y).
_SCANNER = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Placed:
    """A grid of voxels in NIfTI's axes."""

    shape: tuple[int, int, int]
    affine: np.ndarray  #: 4 x 4

    def sample(self, volume: np.ndarray, grid: Grid) -> np.ndarray:
        """A volume on this grid, each slice averaged over its thickness; 0 outside of it.

        Args:
            volume: real numbers, shape (Z, X, Y).
            grid: where its voxels are.

        Returns:
            float32, of this shape.
        """
        axes = (grid.z_mm, grid.x_mm, grid.y_mm)
        steps = np.array([axis[1] - axis[0] for axis in axes])
        matrix = _SCANNER @ self.affine[:3, :3] / steps[:, None]
        offset = (_SCANNER @ self.affine[:3, 3] - np.array([axis[0] for axis in axes])) / steps
        layers = max(1, round(float(np.linalg.norm(matrix[:, 2]))))
        total = np.zeros(self.shape, np.float32)
        for part in (np.arange(layers) + 0.5) / layers - 0.5:
            total += ndimage.affine_transform(
                volume.astype(np.float32, copy=False), matrix, offset + matrix[:, 2] * part, self.shape, order=1
            )
        return total / np.float32(layers)


def place(
    shape: tuple[int, int, int], spacing_mm: Sequence[float], angles_deg: np.ndarray, centre_mm: np.ndarray
) -> Placed:
    """A grid whose axes run to the right, the front and the head, turned about its centre.

    Args:
        shape: of the grid.
        spacing_mm: voxel size along its axes.
        angles_deg: rotation about x, then y, then z.
        centre_mm: where the middle of the grid lies.
    """
    affine = np.eye(4)
    affine[:3, :3] = euler2mat(*np.deg2rad(angles_deg)[::-1]) * np.asarray(spacing_mm)
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Placed(shape, affine)


def turned(data: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """An image and its affine with the axes in another order, such as ``LPS``; its voxels stay in their places.

    Args:
        data: (X, Y, Z) or (X, Y, Z, T).
        affine: of `data`.
        codes: which way the axes are to run.
    """
    change = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(codes))
    return orientations.apply_orientation(data, change), affine @ orientations.inv_ornt_aff(change, data.shape)


def gzipped_nifti(
    data: np.ndarray,
    affine: np.ndarray,
    *,
    qform: int = 1,
    sform: int = 1,
    slope: float = np.nan,
    frame_s: float = 1.0,
) -> bytes:
    """A compressed NIfTI-1 file; the bytes hold neither a name nor a time.

    Args:
        data: (X, Y, Z) or (X, Y, Z, T); its type is stored as it is.
        affine: stored as qform and as sform, each where its code is above 0.
        qform: code of the qform.
        sform: code of the sform.
        slope: ``scl_slope``, by which a reader multiplies `data`.
        frame_s: time between the frames along T.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_qform(affine, code=1)
    header["qform_code"] = qform
    header.set_sform(affine, code=sform)
    if data.ndim == 4:
        header["pixdim"][4] = frame_s
    header.set_xyzt_units("mm", "sec" if data.ndim == 4 else None)
    content = bytearray(nib.Nifti1Image(data, None, header).to_bytes())
    # nibabel writes nan for slope and intercept, whatever the header says: its bytes 112 to 119.
    if np.isfinite(slope):
        content[112:120] = np.array([slope, 0], "<f4").tobytes()
    return gzip.compress(bytes(content), compresslevel=4, mtime=0)
