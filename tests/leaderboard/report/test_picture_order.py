"""Pictures are axial slices, whatever the order of axes in which a case is stored."""

import itertools
import re

import nibabel as nib
import numpy as np
import pytest
import trees

from leaderboard.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.io.grids import Grid, read_grid
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.report.content import Content
from leaderboard.report.pictures import take_pictures
from leaderboard.report.slices import read_background
from leaderboard.scoring.folder import score_cases

ORDERS = ["".join(codes) for codes in itertools.product("LR", "AP", "SI")] + ["PSR", "SAR", "ILA"]


def turn(path, codes):
    """Store an image in another order of axes; it shows the same in the same place."""
    image = nib.load(path)
    target = nib.orientations.axcodes2ornt(tuple(codes))
    nib.save(image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)), path)


def pictured(folder, codes, mask_codes):
    """The pictures of a method that predicts a part of each reference, of a cohort whose files are stored so."""
    cohort = read_cohort(trees.isles2022(folder / "cohort"))
    (folder / "p").mkdir()
    for case in cohort.cases:
        image = nib.load(case.reference)
        part = np.asarray(image.dataobj).copy()
        part[2] = 0
        nib.save(nib.Nifti1Image(part, image.affine), folder / "p" / f"{case.name}.nii.gz")
        turn(folder / "p" / f"{case.name}.nii.gz", mask_codes)
        for path in (*case.images.values(), case.reference):
            turn(path, codes)
    cases = score_cases(cohort.cases, folder / "p", "me")
    assert 0 < cases["dice"].max() < 1
    content = Content(analyse(cases, RankingOptions(resamples=0)))
    return take_pictures(content, cohort, {"me": folder / "p"})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return pictured(tmp_path_factory.mktemp("plain"), "RAS", "RAS")


@pytest.mark.parametrize("codes", ORDERS)
def test_the_order_of_axes_changes_no_picture(tmp_path, plain, codes):
    assert pictured(tmp_path, codes, "LPS") == plain


def test_the_slice_is_the_axial_one_with_most_lesion(plain):
    assert {picture.slice for picture in plain.examples} == {(2, trees.SHAPE[2])}
    assert {view.slice for view in plain.views} == {(2, trees.SHAPE[2])}
    (size,) = {re.search(r'viewBox="([^"]+)"', view.image)[1] for view in plain.views}
    assert size == "0 0 20 24"  # 10 x 12 voxels of 2 mm


@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_an_image_on_another_grid_is_drawn_in_the_references_places(tmp_path, codes):
    cohort = read_cohort(trees.isles2022(tmp_path / "cohort"))
    case = cohort.cases[0]
    shown = case.images[cohort.background]
    matrix = trees.affine((1.0, 1.0, 2.5), (-22.0, -17.0, 2.0))
    x = matrix[0, 0] * np.arange(30) + matrix[0, 3]
    trees.write(shown, np.broadcast_to(x[:, None, None] + 100, (30, 34, 20)).astype(np.float32), matrix)
    turn(case.reference, codes)
    plane, _ = read_background(case, cohort, read_grid(case.reference), 2)
    expected = trees.affine()[0, 0] * np.arange(trees.SHAPE[0]) + trees.affine()[0, 3] + 100
    assert plane.shape == trees.SHAPE[:2]
    assert np.allclose(plane, expected[:, None], atol=1e-3)


def test_without_places_slices_are_those_that_are_stored(isles_tree):
    cohort = read_cohort(isles_tree([1]))
    case = cohort.cases[0]
    plane, _ = read_background(case, cohort, Grid((8, 9, 2), (0.9, 0.9, 6.0)), 1)
    assert (plane == np.asarray(nib.load(case.images[cohort.background]).dataobj)[..., 1]).all()


def test_report_draws_what_was_scored_by_index_with_the_same_option_alone(tmp_path, capsys):
    root = trees.isles2022(tmp_path / "cohort")
    folder, table = tmp_path / "p", str(tmp_path / "cases.csv")
    folder.mkdir()
    for case in read_cohort(root).cases:  # without the place of its case
        mask = nib.Nifti1Image(np.asarray(nib.load(case.reference).dataobj), np.eye(4))
        nib.save(mask, folder / f"{case.name}.nii.gz")
    given = ["--cohort", str(root), "--grid", "index"]
    assert main(["score", *given, "--predictions", str(folder), "--method", "me", "--out", table]) == 0
    report = ["report", table, "--predictions", f"me={folder}", "--resamples", "0", "--out", str(tmp_path / "page")]
    assert main([*report, *given]) == 0
    assert 'class="slice"' in (tmp_path / "page" / "index.html").read_text()
    capsys.readouterr()
    assert main([*report, *given[:2]]) == 1
    assert "lies elsewhere than its case" in capsys.readouterr().err
