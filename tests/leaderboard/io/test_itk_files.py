"""MetaImage and NRRD files, as ITK writes them and as nobody should."""

import gzip
import random
import subprocess
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as itk

from leaderboard.errors import InputError
from leaderboard.io.grids import Grid
from leaderboard.io.images import read_geometry, read_volume, write_mask
from leaderboard.io.masks import read_mask

SPACING = (0.9, 0.8125, 5.5)
VOXELS = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(np.uint8)


def content(voxels=VOXELS, *, compress=False, drop=(), **fields):
    """A sound MetaImage, or one whose fields are replaced or left out."""
    data = voxels.tobytes(order="F")
    data = zlib.compress(data) if compress else data
    written = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compress),
        "CompressedDataSize": str(len(data)),
        "ElementSpacing": " ".join(map(str, SPACING)),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": "MET_UCHAR",
        **fields,
        "ElementDataFile": fields.get("ElementDataFile", "LOCAL"),
    }
    lines = [f"{key} = {value}\n" for key, value in written.items() if key not in drop]
    return "".join(lines).encode() + data


def nrrd(voxels=VOXELS, *, compress=False, drop=(), **fields):
    """A sound NRRD file, or one whose fields are replaced, added (``_`` is a space) or left out."""
    data = voxels.tobytes(order="F")
    written = {
        "type": "uchar",
        "dimension": "3",
        "sizes": " ".join(map(str, voxels.shape)),
        "spacings": " ".join(map(str, SPACING)),
        "encoding": "gzip" if compress else "raw",
        **fields,
    }
    lines = [f"{key.replace('_', ' ')}: {value}\n" for key, value in written.items() if key not in drop]
    return "".join(["NRRD0004\n", *lines, "\n"]).encode() + (gzip.compress(data) if compress else data)


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    return problem.removeprefix(f"{path}: ")


def problems_of(path):
    try:
        read_mask(path, Grid((5, 4, 3), SPACING))
    except InputError as error:
        return error.problems
    return []


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".NRRD"])
@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]
)
def test_files_of_itk_are_read_with_axes_x_y_z(tmp_path, dtype, ending, compress):
    image = itk.GetImageFromArray(VOXELS.astype(dtype).transpose())  # ITK's arrays are (z, y, x)
    image.SetSpacing(SPACING)
    path = tmp_path / f"a{ending}"
    itk.WriteImage(image, str(path), useCompression=compress)
    volume = read_volume(path)
    assert volume.data.dtype == dtype
    np.testing.assert_array_equal(volume.data, VOXELS.astype(dtype))
    assert volume.spacing_mm == pytest.approx(SPACING)
    shape, spacing, header = read_geometry(path)
    assert (shape, spacing) == ((5, 4, 3), volume.spacing_mm)
    assert header.get_data_dtype() == dtype


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("write", "name"), [(content, "a.mha"), (nrrd, "a.nrrd")])
def test_files_written_by_hand_are_read(tmp_path, write, name, compress):
    (tmp_path / name).write_bytes(write(compress=compress))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.data, VOXELS)
    assert volume.spacing_mm == pytest.approx(SPACING)


def test_a_time_series_keeps_its_frames_last(tmp_path):
    frames = np.arange(120, dtype=np.uint8).reshape(5, 4, 3, 1, 2)  # as ISLES 2017 stores them
    (tmp_path / "a.mha").write_bytes(content(frames, NDims="5", ElementSpacing="1 2 3 1 1"))
    volume = read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.data, frames[:, :, :, 0])
    assert volume.spacing_mm == (1, 2, 3)


def test_a_mask_written_with_its_header_has_its_geometry(tmp_path):
    (tmp_path / "a.MHA").write_bytes(content())
    write_mask(tmp_path / "b.nii", VOXELS > 50, read_volume(tmp_path / "a.MHA").header)
    mask = read_mask(tmp_path / "b.nii")
    assert mask.spacing_mm == pytest.approx(SPACING, rel=1e-6)
    np.testing.assert_array_equal(mask.voxels, VOXELS > 50)


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
        (content(ElementDataFile="LOCAL/../a.raw"), "keeps its voxels in another file"),
        # ITK tells keys by their first letters, and takes the first that fits
        (content(ElementDataFileX="/etc/passwd"), "keeps its voxels in another file"),
        (content(Comment="x\nElementDataFile: /etc/passwd"), "keeps its voxels in another file"),
        (content(BinaryData="False"), "as text"),
        (content(ElementNumberOfChannels="3"), "has 3 numbers in each voxel where one is needed: write the one"),
        (content(DimSize="5 4 x"), "damaged header"),
        (content(NDims="2"), "has 2 axes"),
        (content(NDims="93"), "damaged header"),  # ends the process within ITK
        (content(NDims="100000"), "damaged header"),
        (content(DimSize="5 4", NDims="2", ElementSpacing="1 1"), "has 2 axes"),
        (content(DimSize="5 4 0"), "has no voxels"),
        (content(DimSize="5 4 -3"), "truncated or damaged"),
        (content(ElementSpacing="1 1 0"), "voxel size 1 x 1 x 0 mm: correct ElementSpacing"),
        (content(ElementSpacing="1 1 nan"), "voxel size"),
        (content()[:-1], "truncated or damaged"),
        (content() + b"x", "truncated or damaged"),
        (content(DimSize="32000 32000 32000"), "truncated or damaged"),
        (content(compress=True)[:-5], "truncated or damaged"),
        (content(compress=True, drop=["CompressedDataSize"]), "lacks CompressedDataSize"),
        (content(np.zeros((50, 40, 30), np.uint8), compress=True, DimSize="5 4 3"), "truncated or damaged"),
        (content(compress=True, DimSize="32000 32000 32000"), "truncated or damaged"),
    ],
)
def test_a_metaimage_that_is_not_sound_is_refused_in_a_line(tmp_path, capfd, data, message):
    assert message in refusal(tmp_path / "a.mha", data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an NRRD image"),
        (b"text\n" * 100, "is not an NRRD image"),
        (nrrd(data_file="/etc/passwd"), "keeps its voxels in another file: write one .nrrd"),
        (nrrd(DATAFILE="a.raw"), "keeps its voxels in another file"),
        (nrrd(drop=["sizes"]), "damaged header"),
        (nrrd(sizes="5 4 x"), "damaged header"),
        (nrrd(sizes="5 4", dimension="2", spacings="1 1"), "has 2 axes"),
        (nrrd(spacings="1 1 0"), "damaged header"),
        (nrrd(encoding="ascii"), "neither raw nor as gzip"),
        (nrrd()[:-1], "truncated or damaged"),
        (nrrd() + b"x", "truncated or damaged"),
        (nrrd(sizes="32000 32000 32000"), "truncated or damaged"),
        (nrrd(compress=True)[:-5], "truncated or damaged"),
        (nrrd(compress=True)[:-8] + bytes(8), "truncated or damaged"),  # the checksum
        (nrrd(np.zeros((50, 40, 30), np.uint8), compress=True, sizes="5 4 3"), "truncated or damaged"),
        (nrrd(compress=True, sizes="32000 32000 32000"), "truncated or damaged"),
    ],
)
def test_an_nrrd_that_is_not_sound_is_refused_in_a_line(tmp_path, capfd, data, message):
    assert message in refusal(tmp_path / "a.nrrd", data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("write", "name"), [(content, "a.mha"), (nrrd, "a.nrrd")])
def test_no_damage_ends_in_anything_but_an_input_error(tmp_path, capfd, write, name, compress):
    path, rng, whole = tmp_path / name, random.Random(2), write(compress=compress)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 10])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        assert all(problem.startswith(f"{path}: ") for problem in problems_of(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("write", "name"), [(content, "a.mha"), (nrrd, "a.nrrd")])
def test_a_flipped_bit_of_deflated_voxels_never_passes_as_a_voxel(tmp_path, write, name):
    whole, path = write(compress=True), tmp_path / name
    begin = len(whole) - len(zlib.compress(VOXELS.tobytes(order="F")))
    for place in range(begin, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = read_volume(path).data
        except InputError:
            continue
        np.testing.assert_array_equal(found, VOXELS)


@pytest.mark.parametrize(("name", "imported"), [("a.nii.gz", False), ("a.mha", True)])
def test_a_process_imports_simpleitk_only_for_such_a_file(tmp_path, name, imported):
    (tmp_path / "a.mha").write_bytes(content((VOXELS > 50).astype(np.uint8)))
    write_mask(tmp_path / "a.nii.gz", VOXELS > 50, read_volume(tmp_path / "a.mha").header)
    code = (
        "import sys; from pathlib import Path; from leaderboard.scoring.one_case import score_files;"
        "assert not score_files((Path(sys.argv[1]),) * 2).reference_faults; print('SimpleITK' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, capture_output=True, text=True)
    assert ran.stdout == f"{imported}\n"


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_volume(tmp_path / "a.mha")


@pytest.mark.parametrize("sizes", [b"9 8 5" + b" " * 2000, b"{a: " * 3000, b"nine 8 5"])
def test_a_header_that_itks_reader_dies_of_is_refused_before(tmp_path, sizes):
    path = tmp_path / "case_1.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: " + sizes + b"\nencoding: raw\n\n" + bytes(360)
    )
    with pytest.raises(InputError, match=r"case_1\.nrrd: "):
        read_geometry(path)
