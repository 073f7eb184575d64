import gzip
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from leaderboard.errors import InputError
from leaderboard.io.images import read_geometry, read_volume, write_bytes, write_mask, write_text

SPACING = (0.9765625, 0.8125, 4.9997)
MASK = np.zeros((5, 4, 3), np.uint8)
MASK[1:3, 2, 0] = 1


@pytest.fixture
def content(isles_tree):
    """Bytes of a sound image of 5 x 4 x 3 float64 voxels."""
    return isles_tree.content(isles_tree.values((5, 4, 3), "CT_MTT", 0), SPACING)


def faults(path):
    """The line with which each reader refuses a file (None where it accepts it)."""
    lines = []
    for read in (read_volume, read_geometry):
        try:
            read(path)
            lines.append(None)
        except InputError as error:
            (line,) = error.problems
            assert line.startswith(f"{path}: ")
            assert line.count(": ") >= 2
            assert "\n" not in line
            lines.append(line.removeprefix(f"{path}: "))
    return lines


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_spacing_comes_from_pixdim_although_the_affine_is_the_identity(isles_tree, suffix):
    path = isles_tree.image(isles_tree.folder / f"a{suffix}", MASK, SPACING)
    assert np.array_equal(nib.load(path).affine, np.eye(4))
    volume = read_volume(path)
    shape, spacing, _ = read_geometry(path)
    assert volume.spacing_mm == spacing == pytest.approx(SPACING, rel=1e-6)
    assert volume.data.shape == shape == (5, 4, 3)
    assert volume.voxel_ml == pytest.approx(0.9765625 * 0.8125 * 4.9997 / 1000, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float64, np.uint8, np.float32])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_values_and_type_are_as_stored(isles_tree, dtype, suffix):
    data = np.array([0, 1, 250], dtype).reshape(1, 1, 3).repeat(4, axis=1)
    volume = read_volume(isles_tree.image(isles_tree.folder / f"a{suffix}", data))
    assert volume.data.dtype == dtype
    np.testing.assert_array_equal(volume.data, data)


def test_scaled_values_are_scaled(tmp_path):
    image = nib.Nifti1Image(np.arange(6, dtype=np.int16).reshape(1, 2, 3), np.eye(4))
    image.header.set_slope_inter(0.5, -1)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.5, -1], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").data.ravel(), np.arange(6) * 0.5 - 1)


def test_big_endian_files_give_native_arrays(tmp_path):
    data = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">u2")
    (tmp_path / "a.nii").write_bytes(nib.Nifti1Image(data, None, header).to_bytes())
    volume = read_volume(tmp_path / "a.nii")
    assert volume.data.dtype == np.uint16
    assert volume.data.dtype.isnative
    np.testing.assert_array_equal(volume.data, data)


@pytest.mark.parametrize("shape", [(3, 4, 2, 7), (3, 4, 2, 1, 7)])
def test_time_series_have_four_axes_in_both_editions(isles_tree, shape):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = isles_tree.image(isles_tree.folder / "a.nii", data)
    assert read_geometry(path)[0] == (3, 4, 2, 7)
    np.testing.assert_array_equal(read_volume(path).data, data.reshape(3, 4, 2, 7))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
def test_written_mask_has_the_case_geometry(isles_tree, suffix, dtype):
    case = read_volume(isles_tree.image(isles_tree.folder / "a.nii", np.ones((5, 4, 3)), SPACING))
    path = isles_tree.folder / f"mask{suffix}"
    write_mask(path, MASK.astype(dtype), case.header)
    written = read_volume(path)
    assert written.data.dtype == np.uint8
    np.testing.assert_array_equal(written.data, MASK)
    assert written.spacing_mm == case.spacing_mm
    for key in ("pixdim", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units", "dim"):
        np.testing.assert_array_equal(written.header[key], case.header[key])
    np.testing.assert_array_equal(nib.load(path).affine, np.eye(4))


def test_a_mask_does_not_take_the_scaling_of_the_image_whose_header_it_gets(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.25, 3)
    header["cal_max"] = 4000
    write_mask(tmp_path / "mask.nii", MASK, header)
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii").data, MASK)
    slope, intercept = np.frombuffer((tmp_path / "mask.nii").read_bytes()[112:120], "<f4")
    assert np.isnan(slope) or slope == 1
    assert np.isnan(intercept) or intercept == 0
    assert header.get_slope_inter() == (0.25, 3)


def test_written_masks_are_the_same_bytes_every_time(isles_tree, monkeypatch):
    header = read_volume(isles_tree.image(isles_tree.folder / "a.nii", MASK, SPACING)).header
    contents = []
    for folder, now in (("x", 1e9), ("y", 1.7e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        (isles_tree.folder / folder).mkdir()
        for name in ("a.nii.gz", "b.nii.gz"):
            write_mask(isles_tree.folder / folder / name, MASK, header)
            contents.append((isles_tree.folder / folder / name).read_bytes())
    assert len(set(contents)) == 1
    flags, time = contents[0][3], contents[0][4:8]
    assert flags == 0  # no name in it
    assert time == bytes(4)


@pytest.mark.parametrize(
    "mask", [np.full((2, 2, 2), 2), np.full((2, 2, 2), 0.5), np.ones((2, 2)), np.full((2, 2, 2), -1)]
)
def test_only_binary_volumes_are_written(tmp_path, mask):
    with pytest.raises(ValueError, match="three axes and the values 0 and 1"):
        write_mask(tmp_path / "a.nii", mask, nib.Nifti1Header())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 100, 347, 348, 352, 360, -1])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files_are_refused(tmp_path, content, suffix, keep):
    path = tmp_path / f"a{suffix}"
    whole = gzip.compress(content) if suffix == ".nii.gz" else content
    path.write_bytes(whole[:keep])
    assert faults(path)[0] == "is truncated or damaged: copy or unpack it again"


def test_every_truncated_length_and_every_flipped_byte_of_a_gzip_file_is_found(tmp_path, content):
    path, rng = tmp_path / "a.nii.gz", random.Random(0)
    whole = gzip.compress(content, mtime=0)
    sound = read_volume_bytes(path, whole)
    for position in [*rng.sample(range(10, len(whole)), 60), len(whole) - 5, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randrange(8)
        assert read_volume_bytes(path, bytes(damaged)) in (None, sound)
        assert read_volume_bytes(path, whole[:position]) is None


def read_volume_bytes(path, content):
    path.write_bytes(content)
    try:
        volume = read_volume(path)
    except InputError:
        return None
    return volume.data.tobytes(), volume.spacing_mm


def test_a_checksum_that_does_not_fit_is_found(tmp_path, content):
    whole = bytearray(gzip.compress(content))
    whole[-6] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(whole)
    assert faults(tmp_path / "a.nii.gz")[0] == "is truncated or damaged: copy or unpack it again"


@pytest.mark.parametrize("text", [b"a text\n" * 100, b"short", b"\x89PNG\r\n" + bytes(400)])
def test_other_files_under_the_name_of_an_image_are_refused(tmp_path, text):
    for name in ("a.nii", "a.nii.gz", "a.txt"):
        (tmp_path / name).write_bytes(text)
        assert None not in faults(tmp_path / name)


def test_a_name_that_lies_about_compression_is_told(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(gzip.compress(content))
    (tmp_path / "b.nii.gz").write_bytes(content)
    assert all("rename it to .nii.gz" in fault for fault in faults(tmp_path / "a.nii"))
    assert all("is not gzip-compressed" in fault for fault in faults(tmp_path / "b.nii.gz"))


@pytest.mark.parametrize("name", ["a.NII.GZ", "a.nii.GZ", "a.Nii.Gz", "a.NII", "a.Nii"])
def test_endings_mean_the_same_in_capitals(isles_tree, content, name):
    path = isles_tree.folder / name
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    plain = isles_tree.folder / "plain.nii"
    plain.write_bytes(content)
    assert read_geometry(path)[:2] == read_geometry(plain)[:2]
    np.testing.assert_array_equal(read_volume(path).data, read_volume(plain).data)
    write_mask(path, MASK, read_volume(plain).header)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.lower().endswith(".gz")
    np.testing.assert_array_equal(read_volume(path).data, MASK)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_metaimage_under_another_name_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n" * 9)
    assert faults(tmp_path / name) == ["is a MetaImage, which its name does not say: rename it to .mha"] * 2


def test_absent_files_and_folders_are_refused(tmp_path):
    assert faults(tmp_path / "a.nii") == ["does not exist: check the path"] * 2
    (tmp_path / "b.nii").mkdir()
    assert faults(tmp_path / "b.nii") == ["is a folder where a file is needed: check the path"] * 2


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
def test_a_voxel_size_that_nibabel_would_mend_in_silence_is_refused(isles_tree, size):
    path = isles_tree.image(isles_tree.folder / "a.nii", MASK, (0.9, 0.9, 6.0))
    content = bytearray(path.read_bytes())
    content[88:92] = np.float32(size).tobytes()  # pixdim[3]
    path.write_bytes(content)
    assert faults(path) == [f"has the voxel size 0.9 x 0.9 x {size:g} mm: correct pixdim in its header"] * 2


def test_a_negative_voxel_size_is_its_amount(isles_tree):
    path = isles_tree.image(isles_tree.folder / "a.nii", MASK, (0.5, 0.5, -6.0))
    assert read_volume(path).spacing_mm == read_geometry(path)[1] == (0.5, 0.5, 6.0)


@pytest.mark.parametrize("shape", [(4, 5), (2, 2, 2, 2, 2), (2, 2, 2, 1, 2, 2)])
def test_too_few_or_too_many_axes_are_refused(isles_tree, shape):
    path = isles_tree.image(isles_tree.folder / "a.nii", np.ones(shape), (1.0, 1.0, 1.0))
    assert faults(path) == [f"has {len(shape)} axes where 3 are needed: replace the file"] * 2


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_voxels_that_are_no_real_numbers_are_refused(isles_tree, dtype):
    path = isles_tree.image(isles_tree.folder / "a.nii", np.zeros((2, 2, 2), dtype))
    assert "where real numbers are needed" in faults(path)[0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_no_damage_ends_in_anything_but_an_input_error(tmp_path, content, suffix):
    path, rng = tmp_path / f"a{suffix}", random.Random(1)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 3, 10])):
            damaged[rng.randrange(360)] = rng.randrange(256)
        kept = bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        path.write_bytes(gzip.compress(kept, 1) if suffix == ".nii.gz" else kept)
        faults(path)


@pytest.fixture
def remarkable(isles_tree, caplog):
    """A file on whose vox_offset nibabel remarks when it is loaded."""
    path = isles_tree.image(isles_tree.folder / "a.nii", MASK, (-0.9, 0.9, 6.0))
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(352.5).tobytes()
    path.write_bytes(content)
    caplog.clear()
    nib.load(path)
    assert caplog.records  # what nibabel would say
    caplog.clear()
    return path


def test_nibabel_says_nothing_to_the_user(remarkable, capfd, caplog):
    capfd.readouterr()
    read_geometry(remarkable)
    faults(remarkable)
    assert "".join(capfd.readouterr()) == ""
    assert not caplog.records
    nib.load(remarkable)
    assert caplog.records  # and it may speak again afterwards


def test_reading_in_many_threads_leaves_nibabels_log_as_it_was(remarkable, caplog):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_geometry, [remarkable] * 200))
    assert not caplog.records
    nib.load(remarkable)
    assert caplog.records


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_text(tmp_path / "a.csv", "ä\n")
    assert (tmp_path / "a.csv").read_bytes() == "ä\n".encode()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match=r"a\.csv: cannot be written \(No space left\): check"):
        write_text(tmp_path / "a.csv", "new\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == "ä\n".encode()


def test_threads_may_write_one_file_at_once(tmp_path):
    """As where two cases share an image, and each one's thread notes its digest."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: write_bytes(tmp_path / "note", b"the same"), range(1000)))
    finally:
        sys.setswitchinterval(before)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "a.csv")
    for text in ("one", "two"):
        write_text(tmp_path / "link.csv", text)
        assert (tmp_path / "link.csv").is_symlink()
        assert (tmp_path / "real" / "a.csv").read_text() == text
    assert len(list((tmp_path / "real").iterdir())) == 1


def test_what_is_no_regular_file_is_left_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, said in (("pipe", "no regular file"), ("link", "no regular file"), ("loop", "no regular file")):
        with pytest.raises(InputError, match=said):
            write_bytes(tmp_path / name, b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert Path(os.devnull).is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "loop", "pipe"]


@pytest.mark.parametrize("folder", ["absent", "file"])
def test_writing_where_there_is_no_folder_is_an_input_error(tmp_path, folder):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_bytes(tmp_path / folder / "a.csv", b"x")
