"""MetaImage files, as ITK writes them and as nobody should."""

import random
import zlib

import numpy as np
import pytest

from leaderboard.errors import InputError
from leaderboard.io.images import read_geometry, read_volume, write_mask
from leaderboard.io.masks import read_mask

SPACING = (0.9, 0.8125, 5.5)
VOXELS = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(np.uint8)


def content(voxels=VOXELS, *, compress=False, drop=(), **fields):
    """A sound file, or one whose fields are replaced or left out."""
    data = np.asfortranarray(voxels).tobytes(order="F")
    written = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compress),
        "ElementSpacing": " ".join(map(str, SPACING)),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": "MET_UCHAR",
        **fields,
        "ElementDataFile": fields.get("ElementDataFile", "LOCAL"),
    }
    lines = [f"{key} = {value}\n" for key, value in written.items() if key not in drop]
    return "".join(lines).encode() + (zlib.compress(data) if compress else data)


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    return problem.removeprefix(f"{path}: ")


def problems_of(path):
    try:
        read_mask(path, (5, 4, 3), SPACING)
    except InputError as error:
        return error.problems
    return []


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]
)
def test_files_of_itk_are_read_with_axes_x_y_z(tmp_path, dtype, compress):
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(VOXELS.astype(dtype).transpose())  # ITK's arrays are (z, y, x)
    image.SetSpacing(SPACING)
    itk.WriteImage(image, str(tmp_path / "a.mha"), useCompression=compress)
    volume = read_volume(tmp_path / "a.mha")
    assert volume.data.dtype == dtype
    np.testing.assert_array_equal(volume.data, VOXELS.astype(dtype))
    assert volume.spacing_mm == pytest.approx(SPACING)
    shape, spacing, _ = read_geometry(tmp_path / "a.mha")
    assert (shape, spacing) == ((5, 4, 3), volume.spacing_mm)


def test_a_mask_written_with_its_header_has_its_geometry(tmp_path):
    (tmp_path / "a.MHA").write_bytes(content())
    write_mask(tmp_path / "b.nii", VOXELS > 50, read_volume(tmp_path / "a.MHA").header)
    mask, spacing = read_mask(tmp_path / "b.nii")
    assert spacing == pytest.approx(SPACING, rel=1e-6)
    np.testing.assert_array_equal(mask, VOXELS > 50)


def test_the_other_byte_order_and_a_missing_spacing_are_understood(tmp_path):
    voxels = VOXELS.astype(">u2")
    (tmp_path / "a.mha").write_bytes(
        content(voxels, ElementType="MET_USHORT", BinaryDataByteOrderMSB="True", drop=["ElementSpacing"])
    )
    volume = read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.data, VOXELS)
    assert volume.data.dtype.isnative
    assert volume.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a MetaImage"),
        (b"text\n" * 100, "is not a MetaImage"),
        (bytes(500), "is not a MetaImage"),
        (content(drop=["DimSize"]), "is not a MetaImage"),
        (content(ElementDataFile="/etc/passwd"), "keeps its voxels in another file"),
        (content(ElementDataFile="LIST"), "keeps its voxels in another file"),
        (content(BinaryData="False"), "as text"),
        (content(ElementNumberOfChannels="3"), "single real numbers"),
        (content(ElementType="MET_STRING"), "single real numbers"),
        (content(DimSize="5 4 x"), "damaged header"),
        (content(NDims="2"), "damaged header"),
        (content(DimSize="5 4", NDims="2", ElementSpacing="1 1"), "has 2 axes"),
        (content(DimSize="5 4 0"), "has no voxels"),
        (content(DimSize="5 4 -3"), "has no voxels"),
        (content(ElementSpacing="1 1 0"), "voxel size 1 x 1 x 0 mm: correct ElementSpacing"),
        (content(ElementSpacing="1 1 nan"), "voxel size"),
        (content()[:-1], "truncated or damaged"),
        (content() + b"x", "truncated or damaged"),
        (content(DimSize="32000 32000 32000"), "truncated or damaged"),
        (content(compress=True)[:-5], "truncated or damaged"),
        (content(np.zeros((50, 40, 30), np.uint8), compress=True, DimSize="5 4 3"), "truncated or damaged"),
        (content(compress=True, DimSize="32000 32000 32000"), "truncated or damaged"),
    ],
)
def test_a_file_that_is_not_sound_is_refused_in_a_line(tmp_path, data, message):
    assert message in refusal(tmp_path / "a.mha", data)


def test_no_damage_ends_in_anything_but_an_input_error(tmp_path):
    path, rng = tmp_path / "a.mha", random.Random(2)
    for compress in (False, True):
        whole = content(compress=compress)
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(rng.choice([1, 3, 10])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
            assert all(problem.startswith(f"{path}: ") for problem in problems_of(path))


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_volume(tmp_path / "a.mha")
