"""What a header says, held against what SimpleITK reads from the same file."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as itk

from leaderboard.errors import InputError
from leaderboard.io.grids import affine_of, read_grid
from leaderboard.io.images import read_geometry, read_volume, write_mask

VOXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
AFFINE = np.array([[0, -0.9, 0, -7], [0.8, 0, 0, 3], [0, 0, 5, 11], [0, 0, 0, 1.0]])


@pytest.fixture(autouse=True)
def silent():
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    yield
    itk.ProcessObject.SetGlobalWarningDisplay(True)


def by_itk(path):
    """Voxels (X, Y, Z) and affine in NIfTI's axes, as SimpleITK reads them."""
    image = itk.ReadImage(str(path))
    corners = [image.TransformIndexToPhysicalPoint(index) for index in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    first, *others = np.array(corners) * (-1, -1, 1)
    affine = np.eye(4)
    affine[:3, 3], affine[:3, :3] = first, np.transpose(np.array(others) - first)
    return itk.GetArrayFromImage(image).transpose(), affine


def changed(path, at, data, write=lambda path: nib.save(nib.Nifti1Image(VOXELS, AFFINE), path)):
    """A file with some bytes overwritten."""
    write(path)
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize(("unit", "per_mm"), [("meter", 1e-3), ("mm", 1), ("micron", 1e3), ("unknown", 1)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_lengths_are_in_mm_whatever_the_unit(tmp_path, unit, per_mm, codes, kind):
    affine = AFFINE.copy()
    affine[:3] *= per_mm
    image = kind(VOXELS, affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "a.nii.gz")
    grid = read_grid(tmp_path / "a.nii.gz")
    assert grid.spacing_mm == pytest.approx((0.8, 0.9, 5), rel=1e-6)
    assert np.allclose(grid.affine, AFFINE, atol=1e-5)
    if kind is nib.Nifti1Image:  # SimpleITK does not read the other
        assert np.allclose(grid.affine, by_itk(tmp_path / "a.nii.gz")[1], atol=1e-5)
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.voxel_ml == pytest.approx(0.0036, rel=1e-6)
    np.testing.assert_array_equal(volume.data, VOXELS)
    # a mask with this header is in mm, too
    write_mask(tmp_path / "m.nii", VOXELS > 3, volume.header)
    assert nib.load(tmp_path / "m.nii").header.get_xyzt_units()[0] in ("mm", "unknown")
    assert np.allclose(nib.load(tmp_path / "m.nii").affine, AFFINE, atol=1e-5)


def test_nifti_2_is_read_as_nifti_1_is(tmp_path):
    for ending, order in itertools.product((".nii", ".nii.gz"), "<>"):
        path = tmp_path / f"a{ending}"
        header = nib.Nifti2Header(endianness=order)
        header.set_data_dtype(np.int16)
        image = nib.Nifti2Image(VOXELS.astype(np.int16), AFFINE, header)
        image.header.set_slope_inter(0.5, 1)
        nib.save(image, path)
        np.testing.assert_allclose(read_volume(path).data, np.asarray(nib.load(path).dataobj))
        shape, spacing, found = read_geometry(path)
        assert shape == VOXELS.shape
        assert np.allclose(affine_of(found, spacing), AFFINE, atol=1e-6)
        write_mask(tmp_path / "m.nii", VOXELS > 3, found)
        assert np.allclose(by_itk(tmp_path / "m.nii")[1], AFFINE, atol=1e-6)


@pytest.mark.parametrize("longer", [5e-7, 1e-5, 9e-4])
def test_a_quaternion_that_was_rounded_is_read(tmp_path, longer):
    half_turn = np.diag([-0.8, -0.9, 5, 1])  # about z: the quaternion is (0, 0, 0, 1)
    half_turn[:3, 3] = 7, 3, 11

    def write(path):
        image = nib.Nifti1Image(VOXELS, half_turn)
        image.set_qform(half_turn, 1)
        image.set_sform(None, 0)
        nib.save(image, path)

    path = changed(tmp_path / "a.nii", 264, np.float32(1 + longer).tobytes(), write)
    np.testing.assert_array_equal(read_volume(path).data, VOXELS)
    assert np.allclose(read_grid(path).affine, by_itk(path)[1], atol=1e-5)
    with pytest.raises(ValueError, match="w2 should be positive"):
        nib.load(path)
    write_mask(tmp_path / "m.nii", VOXELS > 3, read_volume(path).header)
    assert np.allclose(nib.load(tmp_path / "m.nii").affine, half_turn, atol=1e-5)


def test_a_quaternion_that_is_no_rotation_is_refused_by_name(tmp_path):
    path = changed(tmp_path / "a.nii", 264, np.float32(1.7).tobytes())
    changed_codes = bytearray(path.read_bytes())
    changed_codes[252:256] = np.array([1, 0], "<i2").tobytes()
    path.write_bytes(changed_codes)
    for read in (read_volume, read_geometry):
        with pytest.raises(InputError, match=r"a quaternion of length \S+, which is no rotation: correct the qform"):
            read(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("unit", "size"), [("meter", 1e37), ("micron", 1e-44)])
def test_a_size_that_no_number_in_mm_holds_is_refused(tmp_path, unit, size):
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    changed(tmp_path / "a.nii", 80, np.float32(size).tobytes(), write=lambda path: None)
    with pytest.raises(InputError, match="has the voxel size"):
        read_geometry(tmp_path / "a.nii")


@pytest.mark.filterwarnings("error")
def test_an_origin_that_no_header_holds_is_no_place(tmp_path):
    head = "NDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 2 3\nOffset = 1e300 0 0\nElementType = MET_UCHAR\n"
    (tmp_path / "a.mha").write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + VOXELS.tobytes(order="F"))
    assert read_grid(tmp_path / "a.mha").affine is None


@pytest.mark.parametrize("offset", [0, 100, 347, 348, 351])
def test_voxels_that_begin_within_the_header_are_refused(tmp_path, offset):
    path = changed(tmp_path / "a.nii", 108, np.float32(offset).tobytes())
    for read in (read_volume, read_geometry):
        with pytest.raises(InputError, match=rf"at byte {offset}: correct vox_offset in its header .*352"):
            read(path)


@pytest.mark.parametrize("extra", [(1,), (1, 1), (1, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_axes_of_length_1_behind_the_third_are_none(tmp_path, extra, kind):
    nib.save(kind(VOXELS.reshape(2, 3, 4, *extra), AFFINE), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    at, form = (40, "<i2") if kind is nib.Nifti1Image else (16, "<i8")
    dim = np.array([3 + len(extra), 2, 3, 4, *extra], form).tobytes()
    content[at : at + len(dim)] = dim
    (tmp_path / "a.nii").write_bytes(content)
    volume = read_volume(tmp_path / "a.nii")
    assert volume.data.squeeze().shape == (2, 3, 4)
    assert volume.data.ndim <= 4
    np.testing.assert_array_equal(volume.data.squeeze(), VOXELS)


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
@pytest.mark.parametrize("seed", range(5))
def test_directions_and_origin_of_itks_files_are_turned_to_niftis_axes(tmp_path, ending, seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    image = itk.GetImageFromArray(VOXELS.transpose())
    image.SetSpacing((0.8, 0.9, 5))
    image.SetDirection(rotation.ravel().tolist())
    image.SetOrigin((7.5, -3, 11))
    itk.WriteImage(image, str(tmp_path / f"a.{ending}"))
    itk.WriteImage(image, str(tmp_path / "a.nii"))
    grid = read_grid(tmp_path / f"a.{ending}")
    assert np.allclose(grid.affine, nib.load(tmp_path / "a.nii").affine, atol=1e-4)
    assert np.allclose(grid.affine, by_itk(tmp_path / f"a.{ending}")[1], atol=1e-4)


def test_an_nrrd_in_other_axes_is_understood(tmp_path):
    head = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 3 4\n"
        "space directions: (0,0.8,0) (-0.9,0,0) (0,0,5)\nkinds: domain domain domain\nencoding: raw\n"
        "space origin: (-7,3,11)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + VOXELS.tobytes(order="F"))
    grid = read_grid(tmp_path / "a.nrrd")
    assert np.allclose(grid.affine, AFFINE)
    assert str(grid) == "2 x 3 x 4 voxels of 0.8 x 0.9 x 5 mm, axes ALS, first voxel at -7, 3, 11 mm"


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_file_that_tells_no_place_has_none(tmp_path, name):
    mha = "NDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 2 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 2 3\nencoding: raw\n\n"
    (tmp_path / name).write_bytes((mha if name == "a.mha" else nrrd).encode() + VOXELS.tobytes(order="F"))
    grid = read_grid(tmp_path / name)
    assert (grid.spacing_mm, grid.affine) == ((1, 2, 3), None)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_two_numbers_in_a_voxel_are_refused_with_the_call_that_takes_one(tmp_path, name):
    image = itk.GetImageFromArray(np.zeros((4, 3, 2, 2), np.uint8), isVector=True)
    itk.WriteImage(image, str(tmp_path / name))
    with pytest.raises(InputError, match=r"has 2 numbers in each voxel .* sitk\.VectorIndexSelectionCast\(image, 0\)"):
        read_volume(tmp_path / name)
    itk.WriteImage(itk.VectorIndexSelectionCast(image, 0), str(tmp_path / name))
    assert read_volume(tmp_path / name).data.shape == (2, 3, 4)
