"""Which file is whose, and is it a mask of its case's grid?"""

import gzip
import os
import zipfile
from pathlib import Path, PurePath

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as itk

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import read_cohort
from leaderboard.cohort.names import mask_stem
from leaderboard.errors import InputError
from leaderboard.io import masks
from leaderboard.io.grids import Grid
from leaderboard.io.masks import binary_mask, read_mask
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.submission import check_predictions, mask_files, match_predictions, open_submission

SHAPE = (8, 9, 2)
SPACING = (0.9, 0.9, 6.0)
GRID = Grid(SHAPE, SPACING)


@pytest.fixture
def cases():
    return [
        Case(
            name=f"case_{number}",
            number=number,
            partition="training",
            patient=None,
            images={},
            grid="CT_MTT",
            ids={"CT": 100 + number, "CT_MTT": 200 + number, "OT": 300 + number},
            reference=Path(f"SMIR.Brain.XX.O.OT.{300 + number}.nii"),
        )
        for number in (1, 2, 12)
    ]


def match(cases, *names):
    return match_predictions([Path(name) for name in names], cases)


@pytest.mark.parametrize(
    "name",
    [
        "case_12.nii",
        "case_12.nii.gz",
        "CASE_012.nii",
        "SMIR.my method 2.0.212.nii",
        "SMIR.x.212.nii.gz",
        "SMIR.Brain.XX.O.OT.312.nii",
        "SMIR.Brain.XX.O.OT.312.nii.gz",
    ],
)
def test_names_that_are_accepted(cases, name):
    found = match(cases, name)
    assert found.files == {"case_12": Path(name)}
    assert not found.problems


@pytest.mark.parametrize(
    "name", ["case_3.nii", "case_1_2.nii", "mask.nii", "SMIR.x.999.nii", "SMIR.212.nii", "212.nii"]
)
def test_names_of_no_case_are_problems(cases, name):
    found = match(cases, name)
    assert not found.files
    assert "belongs to no case" in found.problems[0]


def test_an_id_of_another_image_gets_the_right_one_told(cases):
    assert match(cases, "SMIR.x.101.nii").problems == [
        "SMIR.x.101.nii: carries the id of the CT of case_1: name it SMIR.<name>.201.nii"
    ]


def test_a_doubled_case_has_no_prediction_and_a_problem(cases):
    found = match(cases, "SMIR.x.201.nii", "case_1.nii", "case_2.nii")
    assert list(found.files) == ["case_2"]
    assert found.problems == ["SMIR.x.201.nii: case_1 is predicted again by case_1.nii: keep one of them"]
    assert found.doubled == {"case_1": [Path("SMIR.x.201.nii"), Path("case_1.nii")]}


def folder_cases():
    """Cases whose references and images have one name, in folders per case."""
    return [
        Case(name, place, "training", None, {}, Path(name) / "mask.nii.gz", other_names=("dwi",))
        for place, name in enumerate(["anna", "bert"])
    ]


@pytest.mark.parametrize("file", ["mask.nii.gz", "dwi.nii.gz"])
def test_a_name_that_several_cases_have_means_none_of_them(file):
    found = match(folder_cases(), file)
    assert not found.files
    assert found.problems == [
        f"{file}: belongs to no case of the cohort: remove it, or name it like its case, such as anna.nii.gz"
    ]


def test_a_folder_named_like_a_case_decides_before_the_name_of_another_cases_file():
    assert match(folder_cases(), "anna/mask.nii.gz").files == {"anna": Path("anna/mask.nii.gz")}
    bert = Case("bert", 2, "training", None, {}, Path("lesion.nii.gz"))
    found = match([folder_cases()[0], bert], "anna/lesion.nii.gz", "bert/lesion.nii.gz")
    assert found.files == {"anna": Path("anna/lesion.nii.gz"), "bert": Path("bert/lesion.nii.gz")}


def test_names_that_differ_by_zeros_alone_are_told_apart():
    cases = [Case(name, 1, "training", None, {}, None) for name in ("case_1", "case_01")]
    assert match(cases, "case_01.nii", "case_1.nii").files == {
        "case_1": Path("case_1.nii"),
        "case_01": Path("case_01.nii"),
    }


def test_an_id_is_advised_where_cases_have_ids(cases):
    (problem,) = match(cases, "mask.nii").problems
    assert problem.endswith("such as case_1.nii.gz or SMIR.<name>.<id of the case's CT_MTT>.nii")


def test_stem_drops_the_ending_and_leading_zeros():
    assert [mask_stem(name) for name in ("case_007.nii.gz", "a.b.nii", "case_0.nii")] == ["case_7", "a.b", "case_0"]


def test_only_mask_files_that_are_not_hidden_count(tmp_path):
    for name in ("case_2.nii", "case_1.nii.gz", "._case_1.nii", ".DS_Store", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "case_3.nii").mkdir()
    assert [path.name for path in mask_files(tmp_path)] == ["case_1.nii.gz", "case_2.nii"]


def test_a_folder_without_predictions_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    for folder, message in [
        (tmp_path, "holds no"),
        (tmp_path / "x", "does not exist"),
        (tmp_path / "notes.txt", "not a"),
    ]:
        with pytest.raises(InputError, match=message):
            mask_files(folder)


def test_only_masks_count_and_other_images_are_told(tmp_path, isles_tree, cases):
    for name in ("case_1.nii", "case_2.MHA"):
        (tmp_path / name).touch()
    (tmp_path / "case_12.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    os.mkfifo(tmp_path / "pipe.nii")
    for name in ("case_12.img", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in mask_files(tmp_path)] == ["case_1.nii", "case_2.MHA"]
    with open_submission(tmp_path) as submission:
        told = {Path(problem.split(": ")[0]).name: problem for problem in submission.problems}
    assert set(told) == {"case_12.nii.gz", "pipe.nii", "case_12.img"}
    assert "no regular file, or a link to none" in told["case_12.nii.gz"]
    assert "of a format that is not read" in told["case_12.img"]


def test_of_a_folder_with_a_looping_link_that_link_alone_is_told(tmp_path, isles_tree, cases):
    isles_tree.image(tmp_path / "case_1.nii.gz", isles_tree.values((8, 9, 2), "OT", 0))
    (tmp_path / "case_2.nii.gz").symlink_to("case_2.nii.gz")
    (tmp_path / "notes").symlink_to("notes")
    with open_submission(tmp_path) as submission:
        assert list(submission.files) == [tmp_path / "case_1.nii.gz"]
        (problem,) = submission.problems
    assert problem == f"{tmp_path / 'case_2.nii.gz'}: is no regular file, or a link to none: put the file there"


def test_masks_one_folder_deeper_are_hinted_at(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "case_1.nii").touch()
    with pytest.raises(InputError, match=r"holds no .*: give .*/masks, which does"):
        mask_files(tmp_path)


def test_a_metaimage_is_checked_as_a_nifti_is(tmp_path, isles_tree):
    mask = isles_tree.values(SHAPE, "OT", 0)
    image = itk.GetImageFromArray(mask.transpose())
    image.SetSpacing(SPACING)
    itk.WriteImage(image, str(tmp_path / "case_1.mha"))
    np.testing.assert_array_equal(read_mask(tmp_path / "case_1.mha", GRID).voxels, mask == 1)
    for shape, spacing, message in [((8, 9, 3), SPACING, "shape"), (SHAPE, (0.9, 0.9, 5.0), "voxel size")]:
        with pytest.raises(InputError, match=message):
            read_mask(tmp_path / "case_1.mha", Grid(shape, spacing))


def test_a_file_that_claims_any_amount_of_memory_is_refused_by_its_header(tmp_path, isles_tree):
    content = bytearray(isles_tree.content(isles_tree.values(SHAPE, "OT", 0), SPACING))
    content[42:48] = np.array([32000] * 3, "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="has the shape 32000 x 32000 x 32000 where"):
        read_mask(tmp_path / "a.nii.gz", GRID)


def test_a_gzip_bomb_behind_a_sound_mask_is_left_unread(tmp_path, isles_tree):
    content = isles_tree.content(isles_tree.values(SHAPE, "OT", 0), SPACING)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(1 << 27), 1))
    with pytest.raises(InputError, match="goes on far beyond its last voxel"):
        read_mask(tmp_path / "a.nii.gz", GRID)


def test_a_gzip_bomb_before_the_first_voxel_is_left_unread(tmp_path, isles_tree):
    content = bytearray(isles_tree.content(isles_tree.values(SHAPE, "OT", 0), SPACING))
    content[108:112] = np.float32(352 + (1 << 27)).tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content[:352]) + bytes(1 << 27) + bytes(content[352:]), 1))
    with pytest.raises(InputError, match="truncated or damaged"):
        read_mask(tmp_path / "a.nii.gz", GRID)


def test_labels_within_a_scale_factor_of_one_are_a_mask():
    data = np.array([0.0, 0.9999999, 1.0000001, -1e-9, 1.00002, 0.99999999977, 0.9991, -0.0009, 1.0009])
    assert binary_mask(data, Path("m")).tolist() == [False, True, True, False, True, True, True, False, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255], "the values 255, a mask holds 0 and 1 alone: write 1 for lesion"),
        ([0, 1, 2, 3], "the values 2, 3, a mask"),
        ([0.0, -1.0], "the values -1, a mask"),
        ([0.2, 0.7, 1.0], "0.2, 0.7, a mask holds 0 and 1 alone: threshold the probabilities"),
        ([0.0, np.nan], "NaN or infinite"),
        ([1.0, np.inf], "NaN or infinite"),
        ([1.0, 0.9882], "the values 0.9882, a mask holds 0 and 1 alone: threshold the probabilities"),
        ([1.0, 0.998999], "the values 0.999, a mask"),
        ([1.0, -2e-3], "the values -0.002, a mask"),
        ([0, 2**53 + 1], "the values 9.007e"),
        ([2, 0, 0], "the values 2, a mask"),
        (list(range(50)), "2, 3, 4, 5, 6, ..., a mask"),
    ],
)
def test_values_that_are_no_labels_are_named(values, message):
    with pytest.raises(InputError, match=message):
        binary_mask(np.array(values), Path("m"))


def test_a_mask_stored_with_a_scale_factor_is_read(tmp_path):
    image = nib.Nifti1Image(np.eye(3, dtype=np.float32)[..., None], np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "m.nii")
    assert image.header.get_slope_inter() != (1, 0)
    assert read_mask(tmp_path / "m.nii").voxels[..., 0].tolist() == np.eye(3, dtype=bool).tolist()


def break_file(path, isles_tree, kind):
    mask = isles_tree.values(SHAPE, "OT", 0)
    content = isles_tree.content(mask, SPACING)
    if kind == "shape":
        isles_tree.image(path, mask[:, :, :1], SPACING)
    elif kind == "axes":
        isles_tree.image(path, np.stack([mask, mask], axis=-1), SPACING)
    elif kind == "spacing":
        isles_tree.image(path, mask, (0.9, 0.902, 6.0))
    elif kind == "probabilities":
        isles_tree.image(path, mask * 0.5, SPACING)
    elif kind == "nan":
        isles_tree.image(path, np.where(mask, np.nan, 0.0), SPACING)
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "gzip cut":
        path.write_bytes(gzip.compress(content)[:-20])
    elif kind == "255":
        isles_tree.image(path, mask * 255, SPACING)


FAULTS = {
    "shape": "has the shape 8 x 9 x 1 where the case has 8 x 9 x 2",
    "axes": "has the shape 8 x 9 x 2 x 2",
    "spacing": "has the voxel size 0.9 x 0.902 x 6 mm where",
    "probabilities": "threshold",
    "nan": "NaN",
    "text": "",
    "empty": "",
    "truncated": "damaged",
    "gzip cut": "damaged",
    "255": "255",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_one_problem_that_names_the_file(tmp_path, isles_tree, kind):
    path = tmp_path / ("case_1.nii.gz" if kind == "gzip cut" else "case_1.nii")
    break_file(path, isles_tree, kind)
    with pytest.raises(InputError) as caught:
        read_mask(path, GRID)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{path}: ")
    assert FAULTS[kind] in caught.value.problems[0]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("way", [-1, 1])
def test_voxel_sizes_are_the_same_up_to_a_thousandth_of_a_millimetre(tmp_path, isles_tree, axis, way):
    for apart, same in ((0.9e-3, True), (1.1e-3, False)):
        spacing = [size + way * apart * (number == axis) for number, size in enumerate(SPACING)]
        path = isles_tree.image(tmp_path / "m.nii", isles_tree.values(SHAPE, "OT", 0), spacing)
        if same:
            assert read_mask(path, GRID).voxels.sum() == 6
        else:
            with pytest.raises(InputError, match="has the voxel size"):
                read_mask(path, GRID)


def test_every_fault_of_a_file_is_told_at_once(tmp_path, isles_tree):
    mask = isles_tree.values((8, 9, 3), "OT", 0) * 255
    path = isles_tree.image(tmp_path / "m.nii.gz", mask, (0.9, 0.9, 5.0))
    with pytest.raises(InputError) as caught:
        read_mask(path, GRID)
    assert [problem.split(f"{path}: ")[1] for problem in caught.value.problems] == [
        "has the shape 8 x 9 x 3 where the case has 8 x 9 x 2: resample the mask to the case's own grid",
        "has the voxel size 0.9 x 0.9 x 5 mm where the case has 0.9 x 0.9 x 6 mm: write the mask with the case's own "
        "header: image.CopyInformation(ref) in SimpleITK, in nibabel nib.Nifti1Image(mask.astype('uint8'), ref.affine, "
        "ref.header)",
        "holds the values 255, a mask holds 0 and 1 alone: write 1 for lesion and 0 elsewhere",
    ]


def test_a_wrong_shape_is_read_for_its_labels_only_up_to_a_size(tmp_path, isles_tree, monkeypatch):
    path = isles_tree.image(tmp_path / "m.nii", isles_tree.values((8, 9, 3), "OT", 0) * 255, SPACING)
    for most, faults in ((216, 2), (215, 1)):
        monkeypatch.setattr(masks, "CHECKED_VOXELS", most)
        with pytest.raises(InputError) as caught:
            read_mask(path, GRID)
        assert len(caught.value.problems) == faults
    # a sound shape is no larger than its case
    monkeypatch.setattr(masks, "CHECKED_VOXELS", 0)
    isles_tree.image(path, isles_tree.values(SHAPE, "OT", 0) * 255, (0.9, 0.9, 5.0))
    with pytest.raises(InputError) as caught:
        read_mask(path, GRID)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("kind", ["OT", "CT", "CT_MTT"])
def test_the_remedy_for_a_lost_voxel_size_is_right(tmp_path, isles_tree, kind):
    reference = nib.load(isles_tree.image(tmp_path / "ref.nii", isles_tree.values(SHAPE, kind, 0), SPACING))
    mask = isles_tree.values(SHAPE, "OT", 0) == 1
    nib.save(nib.Nifti1Image(mask.astype("uint8"), reference.affine), tmp_path / "m.nii.gz")
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path / "m.nii.gz", GRID)
    advice = caught.value.problems[0].partition(" in nibabel ")[2].partition("; ")[0]
    nib.save(eval(advice, {"nib": nib, "mask": mask, "ref": reference}), tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", GRID).voxels, mask)


def test_masks_come_in_natural_order(tmp_path, isles_tree):
    numbers = [1, 2, 3, 10, 11, 20, 100]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for number in sorted(numbers, key=str):
            path = isles_tree.image(tmp_path / "p" / f"case_{number}.nii", isles_tree.values((8, 9, 5), "OT", 0))
            archive.write(path, path.name)
        archive.writestr(f"{'9' * 5000}.nii", "a number that Python would not convert")
    cases = read_cohort(isles_tree(numbers)).cases
    names = [f"case_{number}.nii" for number in numbers]
    for given in (tmp_path / "p", tmp_path / "p.zip"):
        assert [path.name for path in mask_files(given) if path.name[0] == "c"] == names
        with pytest.raises(InputError) as caught:
            check_predictions(cases, given)
        faults = [problem for problem in caught.value.problems if "has the shape" in problem]
        assert [problem.split(": ")[0].rpartition("/")[2] for problem in faults] == names


def test_absent_cases_are_named_up_to_ten(tmp_path, isles_tree):
    cases = read_cohort(isles_tree(range(1, 16))).cases
    isles_tree.image(tmp_path / "p" / "case_1.nii", isles_tree.values(SHAPE, "OT", 0))
    listed = ", ".join(f"case_{number}" for number in range(2, 12))
    for refuse in (
        lambda: check_predictions(cases, tmp_path / "p", complete=True),
        lambda: score_cases(cases, tmp_path / "p", "me", complete=True),
    ):
        with pytest.raises(InputError) as caught:
            refuse()
        assert caught.value.problems == [
            f"{tmp_path / 'p'}: 14 of the cases have no prediction ({listed} and 4 more): add them"
        ]


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_a_fourth_axis_of_length_1_is_no_fault(tmp_path, isles_tree, name):
    mask = isles_tree.values(SHAPE, "OT", 0)
    path = isles_tree.image(tmp_path / name, mask[..., None], SPACING)
    assert nib.Nifti1Image.load(path).shape == (*SHAPE, 1)
    for grid in (GRID, None):
        np.testing.assert_array_equal(read_mask(path, grid).voxels, mask == 1)
    with pytest.raises(InputError, match=r"has the shape 8 x 9 x 2 where the case has 8 x 9 x 1: resample"):
        read_mask(path, Grid((8, 9, 1), SPACING))


@pytest.mark.parametrize("grid", [GRID, Grid((8, 9, 1), SPACING), None])
def test_several_volumes_are_no_mask_and_the_remedy_is_to_write_one(tmp_path, isles_tree, grid):
    mask = isles_tree.values(SHAPE, "OT", 0)
    path = isles_tree.image(tmp_path / "m.nii", np.stack([mask, mask], axis=-1), SPACING)
    with pytest.raises(InputError, match=r"has the shape 8 x 9 x 2 x 2 where .*: write one 3-D volume$"):
        read_mask(path, grid)


def test_every_file_of_a_doubled_case_is_checked(tmp_path, isles_tree):
    cases = read_cohort(isles_tree(range(1, 4))).cases
    folder = tmp_path / "predictions"
    folder.mkdir()
    break_file(folder / "case_2.nii", isles_tree, "255")
    (folder / "case_2.nii.gz").write_text("junk")
    isles_tree.image(folder / "case_1.nii", isles_tree.values(SHAPE, "OT", 0))
    for refuse in (check_predictions, lambda *arguments: score_cases(*arguments, "me")):
        with pytest.raises(InputError) as caught:
            refuse(cases, folder)
        doubled, label, junk = caught.value.problems
        assert doubled.startswith(f"{folder / 'case_2.nii'}: case_2 is predicted again by case_2.nii.gz")
        assert label.startswith(f"{folder / 'case_2.nii'}: holds the values 255")
        assert junk.startswith(f"{folder / 'case_2.nii.gz'}: is not gzip-compressed")
    told = []
    frame = score_cases(cases, folder, "me", lenient=True, on_problem=told.append)
    assert list(frame["status"]) == ["ok", "missing", "missing"]
    assert told == [doubled, label, junk]


def test_a_doubled_case_with_a_damaged_reference_tells_of_it_once(tmp_path, isles_tree):
    cases = read_cohort(isles_tree([1])).cases
    cases[0].reference.write_text("damaged")
    for name in ("case_1.nii", "case_1.nii.gz"):
        isles_tree.image(tmp_path / "p" / name, isles_tree.values(SHAPE, "OT", 0))
    for refuse in (check_predictions, lambda *arguments: score_cases(*arguments, "me")):
        with pytest.raises(InputError) as caught:
            refuse(cases, tmp_path / "p")
        assert sorted(problem.split(": ")[0] for problem in caught.value.problems) == sorted(
            [str(cases[0].reference), str(tmp_path / "p" / "case_1.nii")]
        )


def test_listing_a_folder_takes_time_in_proportion_to_its_files(tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"case_{number}.nii").touch()
    compared = []

    def counted(self, other):
        compared.append(other)
        return str(self) == str(other)

    monkeypatch.setattr(PurePath, "__eq__", counted)
    assert len(mask_files(tmp_path)) == 300
    assert len(compared) < 10 * 300


def test_check_lists_every_problem_and_needs_no_reference(tmp_path, isles_tree):
    cases = read_cohort(isles_tree(range(1, 6), partition="TESTING")).cases
    folder = tmp_path / "predictions"
    folder.mkdir()
    break_file(folder / "case_1.nii", isles_tree, "shape")
    break_file(folder / "case_2.nii", isles_tree, "nan")
    isles_tree.image(folder / "case_3.nii", isles_tree.values(SHAPE, "OT", 0))
    isles_tree.image(folder / "case_9.nii", isles_tree.values(SHAPE, "OT", 0))
    with pytest.raises(InputError) as caught:
        check_predictions(cases, folder)
    assert sorted(Path(problem.split(": ")[0]).stem for problem in caught.value.problems) == [
        "case_1",
        "case_2",
        "case_9",
    ]
    for name in ("case_1.nii", "case_2.nii", "case_9.nii"):
        (folder / name).unlink()
    assert check_predictions(cases, folder) == ["case_1", "case_2", "case_4", "case_5"]
    assert check_predictions(cases, folder, jobs=2) == ["case_1", "case_2", "case_4", "case_5"]
