"""Volumes on disk: reading with the spacing that counts, and writing masks in a case's own header.

ISLES 2018 files carry the identity as their affine; the spacing stands in ``pixdim`` alone. `read_volume` therefore
takes it from the header's zooms and never from the affine.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from leaderboard.errors import InputError


@dataclass(frozen=True)
class Volume:
    """An image as stored.

    Attributes:
        data: shape (X, Y, Z), or (X, Y, Z, T) for a time series; scaled values, in the stored type where unscaled.
        spacing_mm: size of a voxel along X, Y and Z.
        header: the NIfTI header.
    """

    data: np.ndarray
    spacing_mm: tuple[float, float, float]
    header: nib.Nifti1Header

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000.0


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file.

    Raises:
        InputError: the file is missing, no NIfTI image, truncated, damaged, or has fewer than three axes.
    """
    try:
        image = nib.Nifti1Image.load(path)
        data = np.asanyarray(image.dataobj)
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read: change its permissions") from None
    except (ImageFileError, HeaderDataError):
        raise InputError(f"{path}: is not a NIfTI image: replace the file") from None
    except (OSError, EOFError, ValueError, zlib.error, OverflowError, MemoryError):
        raise InputError(f"{path}: is truncated or damaged: copy or unpack it again") from None
    if data.ndim == 5 and data.shape[3] == 1:  # ISLES 2017 stores its time series as X, Y, Z, 1, T
        data = data[:, :, :, 0]
    if data.ndim not in (3, 4):
        raise InputError(f"{path}: has {data.ndim} axes where 3 are needed: replace the file")
    dx, dy, dz = (float(size) for size in image.header.get_zooms()[:3])
    if not (min(dx, dy, dz) > 0 and np.isfinite([dx, dy, dz]).all()):
        raise InputError(f"{path}: has the voxel size {dx:g} x {dy:g} x {dz:g} mm: correct pixdim in its header")
    return Volume(data, (dx, dy, dz), image.header)


def read_geometry(path: Path) -> tuple[tuple[int, ...], tuple[float, float, float], nib.Nifti1Header]:
    """Shape, spacing in mm and header of a NIfTI file, without reading its voxels.

    Raises:
        InputError: the file is missing or no NIfTI image.
    """
    try:
        image = nib.Nifti1Image.load(path)
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except (
        ImageFileError,
        HeaderDataError,
        OSError,
        EOFError,
        zlib.error,
    ):
        raise InputError(f"{path}: is not a NIfTI image: replace the file") from None
    dx, dy, dz = (float(size) for size in image.header.get_zooms()[:3])
    return tuple(image.shape), (dx, dy, dz), image.header


def write_mask(path: Path, mask: np.ndarray, like: nib.Nifti1Header) -> None:
    """Write a binary mask as uint8 in the geometry of another image's header, atomically.

    The bytes depend on the mask and the header alone: a ``.gz`` carries neither a name nor a time.

    Args:
        path: ends in ``.nii`` or ``.nii.gz``.
        mask: shape (X, Y, Z), values 0 and 1.
        like: header whose spacing, sform and qform the file gets.
    """
    header = like.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    image = nib.Nifti1Image(mask.astype(np.uint8), None, header)
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        import gzip

        content = gzip.compress(content, compresslevel=6, mtime=0)
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then rename it: it is whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror}): check the folder and the disk") from None


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text with plain line ends."""
    write_bytes(path, text.encode("utf-8"))
