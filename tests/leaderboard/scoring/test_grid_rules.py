"""Masks that are stored in another order than their references, or lie elsewhere: turned, refused, or scored by choice.

SimpleITK writes the masks here, from where it says that the references' voxels lie: an independent truth.
"""

import itertools
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as itk
import trees

from leaderboard.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.one_case import score_files

REAL = Path(__file__).parents[4] / "shared" / "data" / "isles2022_case" / "sub-strokecase0009_ses-0001_msk.nii.gz"
ORDERS = ["".join(codes) for codes in itertools.product("LR", "AP", "SI")] + ["PSR", "SAR", "ILA"]
ENDINGS = ["nii.gz", "nii", "mha", "nrrd"]


@pytest.fixture
def cohort(tmp_path):
    return trees.isles2022(tmp_path / "cohort")


@pytest.fixture
def references(cohort):
    return {case.name: case.reference for case in read_cohort(cohort).cases}


def in_order(image, codes):
    """The image with axes that run to where these letters say; all voxels stay where they are."""
    return itk.DICOMOrient(image, codes)


def predict(folder, references, change, ending="nii.gz"):
    """Write the references as predictions, each changed by a function of SimpleITK images."""
    folder.mkdir(exist_ok=True)
    for name, reference in references.items():
        itk.WriteImage(change(itk.ReadImage(str(reference))), str(folder / f"{name}.{ending}"))
    return folder


def bare(image):
    """As the challenge's own template writes masks: without spacing, origin and directions."""
    return itk.GetImageFromArray(itk.GetArrayFromImage(image))


def moved(image, by=(40.0, 0.0, 0.0)):
    image.SetOrigin(np.add(image.GetOrigin(), by).tolist())
    return image


def packed(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"masks/{file.name}")
    return path


def score(cohort, predictions, tmp_path, *options):
    arguments = ["score", "--cohort", cohort, "--predictions", predictions, "--method", "me"]
    return main([str(word) for word in [*arguments, "--out", tmp_path / "cases.csv", *options]])


def refusal(references, predictions, grid="auto"):
    cases = read_cohort(predictions.parent / "cohort").cases
    with pytest.raises(InputError) as caught:
        score_cases(cases, predictions, "me", grid=grid)
    return caught.value.problems


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("codes", ORDERS)
def test_a_mask_in_any_order_of_axes_scores_as_in_the_references(tmp_path, cohort, references, codes, ending):
    folder = predict(tmp_path / "p", references, lambda image: in_order(image, codes), ending)
    told = []
    frame = score_cases(read_cohort(cohort).cases, folder, "me", on_note=told.append)
    assert list(frame["dice"]) == [1, 1]
    assert list(frame["hausdorff_mm"]) == [0, 0]
    assert bool(told) == (codes != "RAS")


def test_that_masks_are_turned_is_said_in_one_line_by_score_and_check(tmp_path, cohort, references, capsys):
    folder = predict(tmp_path / "p", references, lambda image: in_order(image, "LPS"))
    for given in (folder, packed(folder)):
        assert score(cohort, given, tmp_path) == 0
        said = capsys.readouterr().err.splitlines()
        assert main(["check", "--cohort", str(cohort), "--predictions", str(given)]) == 0
        assert [line for line in said if "turned" in line] == capsys.readouterr().err.splitlines()
        (line,) = [line for line in said if "turned" in line]
        assert "2 masks are stored in another order of axes than the case's and turned to that order: sub-" in line


def test_the_real_references_in_another_order_score_1(tmp_path):
    if not REAL.is_file():
        pytest.skip("the real case is not here")
    for codes in ("RAS", "PSR"):
        itk.WriteImage(in_order(itk.ReadImage(str(REAL)), codes), str(tmp_path / "turned.nii.gz"))
        result = score_files((REAL, tmp_path / "turned.nii.gz"))
        assert (result.measures["dice"], result.was_turned) == (1, True)


@pytest.mark.parametrize("codes", ORDERS)
def test_a_turned_mask_scores_as_the_same_mask_that_is_not_turned(tmp_path, cohort, references, codes):
    def change(image):
        shifted = itk.GetImageFromArray(np.roll(itk.GetArrayFromImage(image), (1, 2, 1), (0, 1, 2)))
        shifted.CopyInformation(image)
        return shifted

    cases = read_cohort(cohort).cases
    plain = score_cases(cases, predict(tmp_path / "plain", references, change), "me")
    turned = predict(tmp_path / "turned", references, lambda image: in_order(change(image), codes))
    assert 0 < plain["dice"].max() < 1
    assert score_cases(cases, turned, "me").equals(plain)


@pytest.mark.parametrize("ending", ENDINGS)
def test_masks_without_a_header_of_their_own_are_refused_and_scored_by_index(tmp_path, cohort, references, ending):
    folder = predict(tmp_path / "p", references, bare, ending)
    for problem in refusal(references, folder):
        assert "1 x 1 x 1 mm" in problem
        assert "2 x 2 x 5 mm" in problem
        assert "image.CopyInformation(ref) in SimpleITK" in problem
        assert "ref.header" in problem
        assert "--grid index" in problem
    for given in (folder, packed(folder)):
        assert score(cohort, given, tmp_path, "--grid", "index") == 0
        first = (tmp_path / "cases.csv").read_text()
        assert score(cohort, predict(tmp_path / "q", references, lambda image: image), tmp_path) == 0
        assert (tmp_path / "cases.csv").read_text() == first


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_rule_blank_takes_bare_masks_by_shape_and_all_others_as_auto_does(tmp_path, cohort, references, ending):
    plain = predict(tmp_path / "plain", references, lambda image: image)
    assert score(cohort, plain, tmp_path) == 0
    expected = (tmp_path / "cases.csv").read_text()
    given = (bare, lambda image: in_order(image, "LPS"))
    for number, change in enumerate(given):
        folder = predict(tmp_path / f"{number}", references, change, ending)
        assert score(cohort, folder, tmp_path, "--grid", "blank") == 0
        assert (tmp_path / "cases.csv").read_text() == expected
    assert refusal(references, predict(tmp_path / "m", references, moved, ending), "blank")
    smaller = predict(tmp_path / "s", references, lambda image: bare(image)[:-1, :, :], ending)
    assert all("has the shape" in problem for problem in refusal(references, smaller, "blank"))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("by", [(40, 0, 0), (0, 0, 1), (0, -0.5, 0)])
def test_an_origin_elsewhere_is_refused_with_both_geometries(tmp_path, cohort, references, ending, by):
    folder = predict(tmp_path / "p", references, lambda image: moved(image, by), ending)
    for rule in ("auto", "affine"):
        problems = refusal(references, folder, rule)
        assert len(problems) == 2
        x, y, z = np.add((-20, -15, 7), (-by[0], -by[1], by[2]))
        assert all(f"first voxel at {x:g}, {y:g}, {z:g} mm" in problem for problem in problems)
        assert all("the case has 10 x 12 x 6 voxels of 2 x 2 x 5 mm, axes RAS, first voxel at -20, -15, 7 mm" in problem
                   for problem in problems)  # fmt: skip
    assert score(cohort, folder, tmp_path) == 1
    assert not (tmp_path / "cases.csv").exists()
    assert score(cohort, folder, tmp_path, "--grid", "index") == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_ones_that_were_rounded_are_ones_in_any_file_and_other_values_are_told_with_their_digits(
    tmp_path, cohort, references, ending
):
    def times(one):
        return lambda image: itk.Cast(image, itk.sitkFloat64) * one

    cases = read_cohort(cohort).cases
    rounded = predict(tmp_path / "p", references, times(1.00002), ending)
    for given in (rounded, packed(rounded)):
        assert list(score_cases(cases, given, "me")["dice"]) == [1, 1]
    other = predict(tmp_path / "q", references, times(0.9882), ending)
    for given in (other, packed(other)):
        problems = refusal(references, given)
        assert len(problems) == 2
        assert all("holds the values 0.9882, a mask holds 0 and 1 alone" in problem for problem in problems)


@pytest.mark.parametrize(("unit", "per_mm"), [("micron", 1e3), ("meter", 1e-3)])
def test_masks_and_references_in_another_unit_score_in_mm(tmp_path, cohort, references, unit, per_mm):
    def in_unit(path, to):
        image = nib.load(path)
        matrix = image.affine.copy()
        matrix[:3] *= per_mm
        changed = nib.Nifti1Image(np.asarray(image.dataobj), matrix)
        changed.header.set_xyzt_units(unit)
        to.parent.mkdir(exist_ok=True)
        nib.save(changed, to)

    def shift(image):
        shifted = itk.GetImageFromArray(np.roll(itk.GetArrayFromImage(image), 1, 2))
        shifted.CopyInformation(image)
        return shifted

    cases = read_cohort(cohort).cases
    plain = predict(tmp_path / "plain", references, shift)
    expected = score_cases(cases, plain, "me")
    assert expected["hausdorff_mm"].min() == 2
    for file in plain.iterdir():
        in_unit(file, tmp_path / "p" / file.name)
    for _ in ("predictions", "references as well"):
        for given in (tmp_path / "p", packed(tmp_path / "p")):
            found = score_cases(cases, given, "me")
            for column in expected.select_dtypes("number"):
                assert np.allclose(found[column], expected[column], rtol=1e-6, equal_nan=True), column
        for reference in references.values():
            in_unit(reference, reference)


def test_a_rounded_origin_is_the_same_place(tmp_path, cohort, references):
    folder = predict(tmp_path / "p", references, lambda image: moved(image, (0.01, -0.02, 0.05)))
    assert list(score_cases(read_cohort(cohort).cases, folder, "me")["dice"]) == [1, 1]


def test_another_voxel_size_in_the_same_shape_is_refused(tmp_path, cohort, references):
    def change(image):
        image.SetSpacing((2, 2, 5.5))
        return image

    assert all(
        "voxels of 2 x 2 x 5.5 mm" in line for line in refusal(references, predict(tmp_path / "p", references, change))
    )


def test_an_oblique_grid_is_compared_by_place_as_well(tmp_path, cohort):
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * trees.SPACING
    matrix[:3, 3] = 3, 4, 5
    case = read_cohort(cohort).cases[0]
    trees.write(case.reference, trees.lesion(), matrix)
    image = itk.Flip(itk.PermuteAxes(itk.ReadImage(str(case.reference)), (2, 0, 1)), (True, False, True))
    itk.WriteImage(image, str(tmp_path / "m.mha"))
    assert score_files((case.reference, tmp_path / "m.mha")).measures["dice"] == 1
    itk.WriteImage(moved(image, (0, 0, 3)), str(tmp_path / "m.mha"))
    assert "lies elsewhere" in score_files((case.reference, tmp_path / "m.mha")).prediction_faults[0]


def test_headers_without_a_place_are_compared_by_index_as_ever(tmp_path, isles_tree):
    root = isles_tree([1, 2])
    cases = read_cohort(root).cases
    folder = tmp_path / "p"
    folder.mkdir()
    for case in cases:
        shutil.copy(case.reference, folder / f"{case.name}.nii")
    assert list(score_cases(cases, folder, "me")["dice"]) == [1, 1]
    # a place in one of the two headers is none to compare with
    for case in cases:
        itk.WriteImage(moved(itk.ReadImage(str(case.reference))), str(folder / f"{case.name}.nii"))
    assert list(score_cases(cases, folder, "me")["dice"]) == [1, 1]
    with pytest.raises(InputError, match="the header of its case tells none") as caught:
        score_cases(cases, folder, "me", grid="affine")
    assert len(caught.value.problems) == 2


def test_by_index_the_shape_alone_counts(tmp_path, cohort, references):
    folder = predict(tmp_path / "p", references, lambda image: in_order(image, "ASR"))
    (first, _) = refusal(references, folder, "index")
    assert "has the shape 12 x 6 x 10 where the case has 10 x 12 x 6: resample" in first


def test_an_interrupted_scoring_never_mixes_two_rules(tmp_path, cohort, references):
    folder = predict(tmp_path / "p", references, lambda image: in_order(image, "LPS"))
    cases, journal = read_cohort(cohort).cases, tmp_path / "j"
    told = []
    for _ in range(2):  # the second takes all from the journal
        frame = score_cases(cases, folder, "me", journal=journal, on_note=told.append)
        assert list(frame["dice"]) == [1, 1]
    assert told[0] == told[1]
    by_index = score_cases(cases, folder, "me", journal=journal, grid="index")
    assert (by_index["dice"] < 1).all()
    assert by_index.equals(score_cases(cases, folder, "me", grid="index"))


def test_an_unknown_rule_is_refused(tmp_path, cohort, references, capsys):
    assert score(cohort, predict(tmp_path / "p", references, bare), tmp_path, "--grid", "indx") == 1
    assert "--grid: 'indx' is unknown: did you mean index?" in capsys.readouterr().err


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_voxels_that_no_scan_has_are_refused_as_a_grid(tmp_path, cohort, references, scale):
    reference = next(iter(references.values()))
    matrix = trees.affine() * scale
    trees.write(reference, trees.lesion(), matrix)
    result = score_files((reference, reference))
    assert "where 0.05 to 20 mm are possible: correct the voxel size, or the unit" in result.reference_faults[0]
    folder = tmp_path / "p"
    folder.mkdir()
    shutil.copy(reference, folder)
    assert main(["check", "--cohort", str(cohort), "--predictions", str(folder)]) == 1
