"""MetaImage files (``.mha``): header and voxels, without trusting a byte of them.

The format is ITK's: lines of ``Key = value``, the last of them ``ElementDataFile = LOCAL``, then the voxels, the first
axis fastest, as they are or deflated. Files that name another file for their voxels are refused, so nothing outside
the file is ever opened.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leaderboard.errors import InputError

_HEADER_BYTES = 1 << 16
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


@dataclass(frozen=True)
class MetaHeader:
    """What the header of a MetaImage says.

    Attributes:
        shape: voxels along each axis, in the order X, Y, Z.
        spacing_mm: voxel size along each axis.
        dtype: type of a voxel as stored.
        compressed: whether the voxels are deflated.
        offset: bytes before the voxels.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    dtype: np.dtype
    compressed: bool
    offset: int


def read_header(path: Path) -> MetaHeader:
    """Read the header alone.

    Raises:
        InputError: the file is no MetaImage, or one whose voxels are not inside it, not binary or not single numbers.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    fields, offset = _fields(head)
    if not {"NDims", "DimSize", "ElementType", "ElementDataFile"} <= fields.keys():
        raise InputError(f"{path}: is not a MetaImage: replace the file")
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise InputError(f"{path}: keeps its voxels in another file: write one .mha with the voxels in it")
    if _true(fields.get("BinaryData", "True")) is not True:
        raise InputError(f"{path}: stores its voxels as text: write it in binary form")
    if fields.get("ElementNumberOfChannels", "1") != "1" or fields["ElementType"] not in _TYPES:
        raise InputError(
            f"{path}: holds {fields['ElementType']} voxels where single real numbers are needed: replace it"
        )
    try:
        shape = tuple(int(size) for size in fields["DimSize"].split())
        spacing_text = fields.get("ElementSpacing", fields.get("ElementSize", " ".join("1" for _ in shape)))
        spacing = tuple(abs(float(size)) for size in spacing_text.split())
        consistent = int(fields["NDims"]) == len(shape) == len(spacing)
    except ValueError:
        consistent = False
    if not consistent:
        raise InputError(f"{path}: has a damaged header: copy or write it again")
    swapped = _true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    dtype = np.dtype(_TYPES[fields["ElementType"]]).newbyteorder(">" if swapped else "<")
    return MetaHeader(shape, spacing, dtype, _true(fields.get("CompressedData", "False")), offset)


def read_voxels(path: Path, header: MetaHeader) -> np.ndarray:
    """The voxels, shape as in the header, in the machine's byte order.

    Never inflates more than the header promises.

    Raises:
        InputError: there are fewer or more voxels than the header promises, or they are damaged.
        OSError: the file cannot be read.
    """
    expected = math.prod(header.shape) * header.dtype.itemsize
    with path.open("rb") as file:
        file.seek(header.offset)
        content = file.read() if header.compressed else file.read(expected + 1)
    if header.compressed:
        content = _inflate(content, expected)
    if len(content) != expected:
        raise InputError(f"{path}: is truncated or damaged: copy or unpack it again")
    voxels = np.frombuffer(content, header.dtype).reshape(header.shape, order="F")
    return voxels.astype(header.dtype.newbyteorder("="), copy=False)


def looks_like_one(head: bytes) -> bool:
    """Whether a file that begins so is meant to be a MetaImage."""
    return {"NDims", "DimSize"} <= _fields(head)[0].keys()


def _fields(head: bytes) -> tuple[dict[str, str], int]:
    """Keys and values up to ``ElementDataFile``, and where the voxels begin."""
    fields: dict[str, str] = {}
    offset = 0
    while (end := head.find(b"\n", offset)) >= 0:
        key, separator, value = head[offset:end].decode("latin-1").partition("=")
        offset = end + 1
        if not separator:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return fields, offset


def _true(text: str) -> bool:
    return text[:1].lower() in ("t", "1")


def _inflate(content: bytes, expected: int) -> bytes:
    """At most one byte more than expected; nothing where the stream is damaged or does not end."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = stream.decompress(content, expected + 1)
    except zlib.error:
        return b""
    return found if stream.eof else b""
