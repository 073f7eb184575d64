"""Volumes on disk: reading with the spacing that counts, and writing masks in a case's own header.

NIfTI (``.nii``, ``.nii.gz``) is read through nibabel, MetaImage (``.mha``) and NRRD (``.nrrd``) by `itk_files`.

ISLES 2018 files carry the identity as their affine; the spacing stands in ``pixdim`` alone. `read_volume` therefore
takes it from the header's zooms and never from the affine. Lengths come in mm, whatever unit a NIfTI header has them
in, as ITK reads them.
"""

from __future__ import annotations

import contextlib
import contextvars
import gzip
import logging
import math
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from leaderboard.errors import InputError, MachineError, is_of_machine
from leaderboard.io import itk_files

#: Set while this thread reads: a filter, because a level is one for all threads.
_READING = contextvars.ContextVar("reading", default=False)
logging.getLogger("nibabel.global").addFilter(lambda record: not _READING.get())
_HEADER_BYTES = 348
_HEADER_BYTES_2 = 540
_MAGIC = (b"n+1", b"ni1", b"n+2", b"ni2")
#: Millimetres in a unit of length, by its code in ``xyzt_units``; without a code lengths are in mm.
_MM_PER_UNIT = {1: 1e3, 3: 1e-3}
#: A quaternion up to so much longer than 1 was rounded.
_LONGEST_QUATERNION = 1.001
#: A probability map is written in this many steps, the most that 16 bits have.
PROBABILITY_STEPS = 65535
#: What lies beyond 0 or 1 by no more is a probability that was rounded in few bits.
PROBABILITY_ROUNDING = 1e-3
#: What a file may hold before its first voxel (extensions) and after its last; far more is no image.
_SPARE_BYTES = 1 << 26


@dataclass(frozen=True)
class Volume:
    """An image as stored.

    Attributes:
        data: shape (X, Y, Z), or (X, Y, Z, T) for a time series; scaled values, in the stored type where unscaled.
        spacing_mm: size of a voxel along X, Y and Z.
        header: a NIfTI-1 header in mm; of a file in another format one with its shape, spacing, type and affine.
    """

    data: np.ndarray
    spacing_mm: tuple[float, float, float]
    header: nib.Nifti1Header

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000.0


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file, or by its name a MetaImage (``.mha``) or NRRD (``.nrrd``) file.

    A ``.gz`` is read to its very end, so that its checksum is compared: a flipped bit does not pass as a voxel.

    Raises:
        InputError: the file is missing, no such image, truncated, damaged, has no usable voxel size, fewer than three
            axes, or voxels that are not real numbers.
    """
    refuse_spare_bytes(path)
    if itk_files.is_itk_file(path):
        shape, spacing_mm, header = read_geometry(path)
        with _faults(path):
            voxels = itk_files.read_voxels(path)
        return Volume(voxels.reshape(shape, order="F"), spacing_mm, header)
    with _faults(path), _stream(path) as stream:
        stored = _stored_header(path, stream)
        header, spacing_mm = _in_mm(path, stored)
        # a plain file by its name, so that its voxels are mapped into memory
        data = np.asanyarray(ArrayProxy(stream if _is_gzip(path) else str(path), stored))
        spare = 0
        while isinstance(stream, gzip.GzipFile) and (more := stream.read(1 << 20)):
            spare += len(more)
            _refuse_spare(path, spare)
    data = data.reshape(_axes(path, data.shape))
    if data.dtype.kind not in "biuf":
        raise InputError(f"{path}: holds {data.dtype} voxels where real numbers are needed: replace the file")
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    return Volume(data, spacing_mm, header)


def refuse_spare_bytes(path: Path) -> None:
    """Refuse a file that is far longer than the voxels that its header promises, having read nothing but that.

    Raises:
        InputError: it is, or it is no image.
    """
    with _faults(path):
        length = path.stat().st_size
    if length > _SPARE_BYTES:
        shape, _, header = read_geometry(path)
        _refuse_spare(path, length - math.prod(shape) * header.get_data_dtype().itemsize)


def _refuse_spare(path: Path, spare: int) -> None:
    if spare > _SPARE_BYTES:
        raise InputError(f"{path}: goes on far beyond its last voxel: write it again")


def read_geometry(path: Path) -> tuple[tuple[int, ...], tuple[float, float, float], nib.Nifti1Header]:
    """Shape, spacing in mm and NIfTI header of a file that `read_volume` reads, without reading its voxels.

    Raises:
        InputError: the file is missing, no such image, or has no usable voxel size or fewer than three axes.
    """
    if itk_files.is_itk_file(path):
        return _itk_geometry(path)
    with _faults(path), _stream(path) as stream:
        stored = _stored_header(path, stream)
        header, spacing_mm = _in_mm(path, stored)
    return _axes(path, stored.get_data_shape()), spacing_mm, header


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _itk_geometry(path: Path) -> tuple[tuple[int, ...], tuple[float, float, float], nib.Nifti1Header]:
    with _faults(path):
        stored_shape, spacing_mm, dtype, affine = itk_files.read_header(path)
    shape = _axes(path, stored_shape)
    dx, dy, dz = spacing_mm[:3]
    _refuse_size(path, (dx, dy, dz))
    header = _plain_header(shape, dtype)
    header["pixdim"][1:4] = dx, dy, dz
    header.set_xyzt_units("mm")
    if affine is not None:
        with np.errstate(over="ignore"):
            header.set_sform(affine, code=1)
    return shape, (dx, dy, dz), header


def _plain_header(shape: tuple[int, ...], dtype: np.dtype) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    # assigned, as nibabel's setters refuse what NIfTI-1 cannot hold
    header["dim"][0], header["dim"][1 : len(shape) + 1] = len(shape), np.clip(shape, 0, 32767)
    return header


def _stream(path: Path) -> BinaryIO | gzip.GzipFile:
    """The file's bytes, unpacked where its name says so."""
    return gzip.open(path) if _is_gzip(path) else path.open("rb")


def _stored_header(path: Path, stream: BinaryIO | gzip.GzipFile) -> nib.Nifti1Header:
    """The header of a NIfTI-1 or NIfTI-2 file as stored; what nibabel would mend in silence is refused before."""
    head = stream.read(_HEADER_BYTES)
    kind = nib.Nifti1Header
    if _HEADER_BYTES_2 in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
        kind = nib.Nifti2Header
        head += stream.read(_HEADER_BYTES_2 - _HEADER_BYTES)
    header = kind(head, check=False)
    if header["magic"].item().rstrip(b"\0\r\n\032") in _MAGIC:
        _refuse_size(path, _sizes(header))
        if header["vox_offset"] > _SPARE_BYTES:
            raise InputError(f"{path}: is truncated or damaged: copy or unpack it again")
        if not header["vox_offset"] >= kind.single_vox_offset:
            raise InputError(
                f"{path}: says that its voxels begin within its header, at byte {header['vox_offset']:g}: correct "
                f"vox_offset in its header (a file without extensions has {kind.single_vox_offset}), or write it again"
            )
    stream.seek(0)
    return kind.from_fileobj(stream)


def _in_mm(path: Path, stored: nib.Nifti1Header) -> tuple[nib.Nifti1Header, tuple[float, float, float]]:
    """A stored header as NIfTI-1 in mm, its quaternion no longer than 1, and the voxel size."""
    header = _first_form(stored) if isinstance(stored, nib.Nifti2Header) else stored.copy()
    scale = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if scale:
        with np.errstate(over="ignore"):
            header["pixdim"][1:4] *= scale
            for name in ("srow_x", "srow_y", "srow_z", "qoffset_x", "qoffset_y", "qoffset_z"):
                header[name] = header[name] * scale
        _refuse_size(path, _sizes(header))
        header["xyzt_units"] = (int(header["xyzt_units"]) & ~7) | 2
    if header["qform_code"] > 0:
        parts = ("quatern_b", "quatern_c", "quatern_d")
        length = math.sqrt(sum(float(header[name]) ** 2 for name in parts))
        if 1 < length <= _LONGEST_QUATERNION:
            for name in parts:
                header[name] = float(header[name]) / length
        elif length > 1 and not header["sform_code"] > 0:
            raise InputError(
                f"{path}: its header has a quaternion of length {length:.4g}, which is no rotation: correct the qform"
            )
    return header, _sizes(header)


def _first_form(stored: nib.Nifti2Header) -> nib.Nifti1Header:
    """A NIfTI-2 header as NIfTI-1."""
    header = _plain_header(stored.get_data_shape(), stored.get_data_dtype())
    for name in (
        "pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
        "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z",
    ):  # fmt: skip
        with np.errstate(over="ignore"):
            header[name] = stored[name]
    return header


def _sizes(header: nib.Nifti1Header) -> tuple[float, float, float]:
    """Voxel size as it stands there (nibabel would make 1 mm of a size of 0)."""
    dx, dy, dz = (abs(float(size)) for size in header["pixdim"][1:4])
    return dx, dy, dz


def _refuse_size(path: Path, spacing_mm: tuple[float, float, float]) -> None:
    dx, dy, dz = spacing_mm
    if not (min(spacing_mm) > 0 and np.isfinite(spacing_mm).all()):
        field = itk_files.SPACING_FIELD.get(path.suffix.lower(), "pixdim")
        raise InputError(f"{path}: has the voxel size {dx:g} x {dy:g} x {dz:g} mm: correct {field} in its header")


def _axes(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape as X, Y, Z or X, Y, Z, T, without further axes of length 1: ISLES 2017 has X, Y, Z, 1, T."""
    found = (*shape[:3], *(size for size in shape[3:] if size != 1)) if len(shape) > 4 else tuple(shape)
    if len(found) not in (3, 4):
        raise InputError(f"{path}: has {len(shape)} axes where 3 are needed: replace the file")
    if min(found) < 1:
        raise InputError(f"{path}: has no voxels (shape {' x '.join(map(str, shape))}): replace the file")
    return found


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say in one line whatever is wrong with a file that is read, and keep nibabel's own log off the screen."""
    token = _READING.set(True)
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder where a file is needed: check the path") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read: change its permissions") from None
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, ValueError, zlib.error) as error:
        if is_of_machine(error):
            fault = getattr(error, "strerror", None) or error
            raise MachineError(f"{path}: cannot be read ({fault}): check the disk") from None
        raise InputError(f"{path}: {_fault_of(path, error)}") from None
    except MemoryError:  # `masks` reads no more voxels than a case can have, so that it is not the file's
        raise MachineError(f"{path}: there is too little memory to read it: take fewer processes (--jobs)") from None
    except OverflowError:
        raise InputError(f"{path}: is truncated or damaged: copy or unpack it again") from None
    finally:
        _READING.reset(token)


def _fault_of(path: Path, error: Exception) -> str:
    """Fault and remedy of a file that nibabel could not read."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    gzipped = head[:2] == b"\x1f\x8b"
    ending = itk_files.ending_of(head)
    if ending and not itk_files.is_itk_file(path):
        kind = {".mha": "a MetaImage", ".nrrd": "an NRRD image"}[ending]
        return f"is {kind}, which its name does not say: rename it to {ending}"
    if gzipped and not _is_gzip(path):
        return "is gzip-compressed, which its name does not say: rename it to .nii.gz"
    if _is_gzip(path) and not gzipped and head:
        return "is not gzip-compressed, as its name says: replace the file, or rename it to .nii"
    if isinstance(error, ImageFileError | HeaderDataError):
        return "is not a NIfTI image: replace the file"
    return "is truncated or damaged: copy or unpack it again"


def write_mask(path: Path, mask: np.ndarray, like: nib.Nifti1Header) -> None:
    """Write a binary mask as uint8 in the geometry of another image's header, atomically.

    The bytes depend on the mask and the header alone: a ``.gz`` carries neither a name nor a time.

    Args:
        path: ends in ``.nii`` or ``.nii.gz``.
        mask: shape (X, Y, Z), values 0 and 1.
        like: header whose spacing, sform and qform the file gets.

    Raises:
        InputError: the file cannot be written.
        ValueError: the mask is not binary, or not three-dimensional.
    """
    mask = np.asarray(mask)
    if mask.ndim != 3 or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{path}: a mask has three axes and the values 0 and 1")
    _write_like(path, mask.astype(np.uint8), like, 1.0)


def write_probabilities(path: Path, probability: np.ndarray, like: nib.Nifti1Header) -> None:
    """Write a probability map as uint16 with the scale factor 1 / 65535, else like `write_mask`.

    Halves are rounded down, so that the file is greater than 0.5 exactly where `probability` is.

    Args:
        path: ends in ``.nii`` or ``.nii.gz``.
        probability: shape (X, Y, Z); what lies beyond 0 to 1 by a rounding error is cut off.
        like: header whose spacing, sform and qform the file gets.

    Raises:
        InputError: the file cannot be written.
        ValueError: a value is no probability, or the map is not three-dimensional.
    """
    values = np.asarray(probability, dtype=np.float64)
    if values.ndim != 3 or not ((values >= -PROBABILITY_ROUNDING) & (values <= 1 + PROBABILITY_ROUNDING)).all():
        raise ValueError(f"{path}: a probability map has three axes and values from 0 to 1")
    steps = np.ceil(np.clip(values, 0, 1) * PROBABILITY_STEPS - 0.5).astype(np.uint16)
    _write_like(path, steps, like, 1 / PROBABILITY_STEPS)


def read_probability_steps(path: Path) -> np.ndarray:
    """The map in a file of `write_probabilities` in steps of 1 / 65535: 64-bit floats that are whole, shape (X, Y, Z).

    Raises:
        InputError: the file cannot be read.
    """
    return np.asarray(np.rint(read_volume(path).data.astype(np.float64) * PROBABILITY_STEPS))


def _write_like(path: Path, data: np.ndarray, like: nib.Nifti1Header, slope: float) -> None:
    """Write values as they are, with the factor to multiply them with, in the geometry of a header, atomically."""
    header = like.copy()
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    image = nib.Nifti1Image(data, None, header)
    image.header.set_slope_inter(slope, 0)
    content = image.to_bytes()
    if _is_gzip(path):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file under a temporary name in the same folder, then rename it: it is whole or not there.

    A link stays one: what it points to is written.

    Args:
        path: the file.
        content: what it is to hold.
        durable: it is on the disk before this returns, and survives a power cut.

    Raises:
        InputError: the file cannot be written, or what is there is no regular file (a device, a pipe, a folder).
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise InputError(f"{path}: is no regular file, and is left as it is: give the name of another file")
    # Of the thread, not of the process: threads may write one file.
    temporary = target.with_name(f".{target.name}.{threading.get_native_id()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(target)
        if durable:
            sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise MachineError(
            f"{path}: cannot be written ({error.strerror or error}): check the folder and the disk"
        ) from None


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """`write_bytes` for UTF-8 text with plain line ends."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut, where the system can do that for folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
