"""MetaImage (``.mha``) and NRRD (``.nrrd``) files, read by SimpleITK behind a check of our own.

ITK trusts a header. It opens whatever file the header names for the voxels, a wrong number of axes can end the process,
and where deflated voxels are damaged it gives back others, or uninitialised memory. So each file is checked first: its
voxels lie in it, its axes can be counted, and it holds exactly as many voxels as it promises, undamaged.

SimpleITK takes a fifth of a second to import; only a process that meets such a file does.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leaderboard.errors import InputError
from leaderboard.io.axes import from_itk

if TYPE_CHECKING:
    from SimpleITK import ImageFileReader

_READERS = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO"}
#: What a header calls the voxel size, by the file's ending.
SPACING_FIELD = {".mha": "ElementSpacing", ".nrrd": "the spacings or space directions"}
#: What a header tells directions or an origin with.
_PLACE = {
    ".mha": re.compile(rb"^\s*(TransformMatrix|Rotation|Orientation|Offset|Position|Origin)\s*=", re.M),
    ".nrrd": re.compile(rb"^space (directions|origin):", re.M),
}
_DAMAGED = "is truncated or damaged: copy or unpack it again"
_DAMAGED_HEADER = "has a damaged header: copy or write it again"
_NRRD_MAGIC = re.compile(rb"NRRD\d{4}\r?\n")
#: Bytes of a header's line; what writers write takes a hundred, and ITK's reader of NRRD dies of long ones.
_LONGEST_LINE = 1000
#: Bytes of a whole header.
_LONGEST_HEADER = 1 << 20
_STDERR_LOCK = threading.Lock()


def is_itk_file(path: Path) -> bool:
    """Whether a file's name says that it is a MetaImage or an NRRD image."""
    return path.suffix.lower() in _READERS


def ending_of(head: bytes) -> str | None:
    """The ending that a file with these first bytes should have; None where it is neither MetaImage nor NRRD."""
    if _NRRD_MAGIC.match(head):
        return ".nrrd"
    return ".mha" if re.search(rb"^NDims *=", head, re.M) and re.search(rb"^DimSize *=", head, re.M) else None


def read_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...], np.dtype, np.ndarray | None]:
    """Shape (X, Y, Z, ...), voxel size along each axis in mm, type of a voxel, and affine.

    The affine (4 x 4) is in NIfTI's axes (right, front, head), which ITK's are turned to; None where the file tells
    neither directions nor an origin.

    Raises:
        InputError: the file is no such image, keeps its voxels elsewhere or as text, or they are not real numbers.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_LONGEST_HEADER)
    reader, shape, dtype = _opened(path, content)
    tells = _PLACE[path.suffix.lower()].search(_parted(path.suffix.lower(), content)[0])
    return shape, tuple(map(abs, reader.GetSpacing())), dtype, _affine(reader) if tells else None


def read_voxels(path: Path) -> np.ndarray:
    """The voxels, shape as in the header, in the machine's byte order.

    Raises:
        InputError: as for `read_header`, or there are fewer or more voxels than the header promises, or damaged ones.
        OSError: the file cannot be read.
    """
    import SimpleITK as sitk

    content = path.read_bytes()
    reader, shape, dtype = _opened(path, content)
    fault = _voxel_fault(path.suffix.lower(), content, math.prod(shape) * dtype.itemsize)
    if fault is None:
        with _silent_stderr(), contextlib.suppress(RuntimeError):
            return from_itk(sitk.GetArrayFromImage(reader.Execute()))
    raise InputError(f"{path}: {fault or _DAMAGED}")


def _affine(reader: ImageFileReader) -> np.ndarray | None:
    """Where voxels lie, in NIfTI's axes; None where there are fewer than three axes."""
    axes = reader.GetDimension()
    if axes < 3:
        return None
    direction = np.reshape(reader.GetDirection(), (axes, axes))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _opened(path: Path, content: bytes) -> tuple[ImageFileReader, tuple[int, ...], np.dtype]:
    """A reader of a file whose header is sound, and what the header says: shape and type."""
    ending = path.suffix.lower()
    if fault := (_metaimage_fault if ending == ".mha" else _nrrd_fault)(content):
        raise InputError(f"{path}: {fault}")
    if max(map(len, _parted(ending, content)[0].split(b"\n"))) > _LONGEST_LINE:
        raise InputError(f"{path}: {_DAMAGED_HEADER}")
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[ending])
    reader.SetFileName(str(path))
    try:
        with _silent_stderr():
            reader.ReadImageInformation()
        dtype = sitk.GetArrayViewFromImage(sitk.Image([1, 1], reader.GetPixelID())).dtype
    except RuntimeError:
        raise InputError(f"{path}: {_DAMAGED_HEADER}") from None
    components = reader.GetNumberOfComponents()
    if components != 1:
        raise InputError(
            f"{path}: has {components} numbers in each voxel where one is needed: write the one that is meant, "
            "sitk.VectorIndexSelectionCast(image, 0) for the first"
        )
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: holds voxels that are not real numbers: write real numbers")
    return reader, reader.GetSize(), dtype


def _metaimage_fault(content: bytes) -> str | None:
    if not all(key in content for key in (b"NDims", b"DimSize", b"ElementType", b"ElementDataFile")):
        return "is not a MetaImage: replace the file"
    # Once in the whole file: whatever ITK takes for a line of the header, it finds no other name to open.
    if content.count(b"ElementDataFile") > 1 or not re.search(
        rb"ElementDataFile *= *(LOCAL|Local|local) *\r?\n", content
    ):
        return "keeps its voxels in another file: write one .mha with the voxels in it"
    if content.count(b"NDims") > 1 or not re.search(rb"NDims *= *[1-5]\s", content):
        return _DAMAGED_HEADER
    if re.search(rb"^\s*HeaderSize *= *(?!(0|-1)\s)", content, re.M):
        return "tells where its voxels begin (HeaderSize): write it without"
    if re.search(rb"^\s*BinaryData *= *[^Tt1 ]", content, re.M):
        return "stores its voxels as text: write it in binary form"
    return None


def _nrrd_fault(content: bytes) -> str | None:
    if not _NRRD_MAGIC.match(content):
        return "is not an NRRD image: replace the file"
    if re.search(rb"[\r\n]\s*data ?file\s*:", content, re.I):
        return "keeps its voxels in another file: write one .nrrd with the voxels in it"
    # ITK's reader of NRRD dies of sizes that are no numbers.
    head, _ = _parted(".nrrd", content)
    if len(head) >= _LONGEST_HEADER:
        return _DAMAGED_HEADER
    if head.count(b"sizes:") != 1 or len(re.findall(rb"^sizes:[ \d]+\r?$", head, re.M)) != 1:
        return _DAMAGED_HEADER
    return None


def _parted(ending: str, content: bytes) -> tuple[bytes, bytes]:
    """Header and voxels of a file."""
    if ending == ".mha":
        head, _, rest = content.partition(b"ElementDataFile")
        return head, rest.partition(b"\n")[2]
    head, *voxels = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    return head, b"".join(voxels)


def _voxel_fault(ending: str, content: bytes, expected: int) -> str | None:
    """What is wrong with the voxels of a file, which take so many bytes; never inflates more."""
    head, voxels = _parted(ending, content)
    if ending == ".mha":
        deflated = re.search(rb"^\s*CompressedData *= *[Tt1]", head, re.M)
        if deflated and not re.search(rb"^\s*CompressedDataSize *= *%d\s" % len(voxels), head, re.M):
            return "is truncated or damaged, or its header lacks CompressedDataSize: write it again"
    else:
        deflated = re.search(rb"^encoding: *(gzip|gz)\s", head + b"\n", re.M | re.I)
        if not deflated and not re.search(rb"^encoding: *raw\s", head + b"\n", re.M | re.I):
            return "encodes its voxels neither raw nor as gzip: write it with one of them"
    if deflated:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            voxels = stream.decompress(voxels, expected + 1)
        except zlib.error:
            return _DAMAGED
        if not stream.eof or stream.unused_data:
            return _DAMAGED
    return None if len(voxels) == expected else _DAMAGED


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep ITK's own words about a damaged file off the screen: it writes them to the process's stderr directly."""
    with _STDERR_LOCK, Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
