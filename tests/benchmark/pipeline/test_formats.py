"""From the images of any format to arrays on one grid, and from a mask back into the file's own order."""

import itertools
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import trees

from benchmark.pipeline.cache import build_cache, open_entry
from benchmark.pipeline.midline import estimate_midline
from benchmark.training.callbacks import write_masks
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.scoring.one_case import score_files

CASE = Path(__file__).parents[4] / "shared" / "data" / "isles2022_case"
ORDERS = ["".join(codes) for codes in itertools.product("LR", "AP", "SI")] + ["PSR", "PSL", "SAR"]


def preprocessed(root, cache):
    """The first case, and it preprocessed."""
    cohort = read_cohort(root)
    entries = build_cache(cohort.cases, cohort.images, cache)
    return cohort.cases[0], open_entry(cohort.cases[0], entries[0])


@pytest.mark.parametrize("codes", ORDERS)
def test_how_a_files_axes_run_changes_nothing_in_the_arrays(tmp_path, codes):
    _, plain = preprocessed(trees.isles2022(tmp_path / "plain"), tmp_path / "cache")
    root = trees.isles2022(tmp_path / "turned")
    case = read_cohort(root).cases[0]
    for path in (*case.images.values(), case.reference):
        trees.turn(path, codes)
    _, turned = preprocessed(root, tmp_path / "cache")
    assert turned.spacing_mm == pytest.approx(plain.spacing_mm)
    assert (turned.reference == plain.reference).all()
    assert (turned.brain == plain.brain).all()
    assert np.allclose(turned.image, plain.image, atol=1e-4)


@pytest.mark.parametrize("codes", ORDERS)
@pytest.mark.parametrize("name", ["isles2022", "isles2024", "isles2026", "nnunet", "manifest"])
def test_a_prediction_equal_to_the_reference_scores_1_on_the_cases_own_grid(tmp_path, name, codes):
    root = getattr(trees, name)(tmp_path / "cohort")
    for case in read_cohort(root).cases:
        for path in (*case.images.values(), case.reference):
            trees.turn(path, codes)
    there_and_back(root, tmp_path)


@pytest.mark.parametrize("edition", ["isles2017", "isles2018"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_so_it_does_where_headers_tell_no_place(tmp_path, isles_tree, edition, suffix):
    there_and_back(isles_tree([1, 2], edition=edition, patients=None, suffix=suffix), tmp_path)


def there_and_back(root, tmp_path):
    """A case's reference, from its file through the cache to a prediction, is the same mask in the same place."""
    case, cached = preprocessed(root, tmp_path / "cache")
    write_masks(tmp_path / "predictions", case, {"": torch.from_numpy(np.array(cached.reference))})
    written = tmp_path / "predictions" / f"{case.name}.nii.gz"
    assert score_files((case.reference, written)).measures["dice"] == 1
    found, expected = nib.load(written), nib.load(case.reference)
    assert (np.asarray(found.dataobj) == np.asarray(expected.dataobj)).all()
    assert np.allclose(found.affine, expected.affine, atol=1e-4)


def test_an_image_on_its_own_grid_is_resampled_onto_the_references(tmp_path):
    root = trees.isles2022(tmp_path / "cohort")
    flair = read_cohort(root).cases[0].images["FLAIR"]
    image = nib.load(flair)
    x = image.affine[0, 0] * np.arange(image.shape[0]) + image.affine[0, 3]
    trees.write(flair, np.broadcast_to(x[:, None, None] + 100, image.shape).astype(np.float32), image.affine)
    _, cached = preprocessed(root, tmp_path / "cache")
    inner = np.asarray(cached.image[1:-1, 2, 1:-1, 1:-1])
    along_x = trees.affine()[0, 0] * np.arange(trees.SHAPE[0])[1:-1] + trees.affine()[0, 3] + 100
    assert np.allclose(inner, along_x, atol=1e-3)


@pytest.mark.parametrize("codes", ORDERS[::3])
def test_a_reference_in_another_order_than_its_images_is_turned_to_theirs(tmp_path, codes):
    _, plain = preprocessed(trees.isles2022(tmp_path / "plain"), tmp_path / "cache")
    root = trees.isles2022(tmp_path / "turned")
    trees.turn(read_cohort(root).cases[0].reference, codes)
    _, turned = preprocessed(root, tmp_path / "cache")
    assert (turned.reference == plain.reference).all()


@pytest.mark.parametrize("one", [0.99999999977, 1.00002, 0.9991])
def test_a_reference_that_was_rounded_is_one_of_0_and_1(tmp_path, one):
    root = trees.isles2022(tmp_path / "cohort")
    reference = read_cohort(root).cases[0].reference
    trees.write(reference, np.where(trees.lesion(), one, 1e-9))
    _, cached = preprocessed(root, tmp_path / "cache")
    assert (np.asarray(cached.reference).transpose(2, 1, 0) == trees.lesion()).all()


def test_a_reference_that_lies_elsewhere_is_refused(tmp_path):
    root = trees.isles2022(tmp_path / "cohort")
    reference = read_cohort(root).cases[0].reference
    trees.write(reference, trees.lesion(), trees.affine(origin=(20.0, -15.0, 7.0)))
    with pytest.raises(InputError, match=r"_msk.nii.gz: lies elsewhere than its case"):
        preprocessed(root, tmp_path / "cache")


def test_an_image_that_may_not_lie_elsewhere_is_refused(tmp_path):
    root = trees.isles2022(tmp_path / "cohort")
    adc = read_cohort(root).cases[0].images["ADC"]
    trees.write(adc, trees.brain(1, (9, 12, 6)))
    with pytest.raises(InputError, match=r"_adc.nii.gz: shape \(9, 12, 6\) where DWI has"):
        preprocessed(root, tmp_path / "cache")


@pytest.mark.parametrize("codes", ORDERS[::3])
@pytest.mark.parametrize(("name", "kind"), [("isles2022", "ADC"), ("isles2024", "Tmax"), ("nnunet", "ADC")])
def test_one_channel_in_another_order_of_axes_gives_the_same_arrays(tmp_path, name, kind, codes):
    _, plain = preprocessed(getattr(trees, name)(tmp_path / "plain"), tmp_path / "cache")
    root = getattr(trees, name)(tmp_path / "turned")
    trees.turn(read_cohort(root).cases[0].images[kind], codes)
    _, turned = preprocessed(root, tmp_path / "cache")
    assert (turned.image == plain.image).all()


@pytest.mark.parametrize(("name", "kind"), [("isles2022", "ADC"), ("isles2024", "Tmax"), ("nnunet", "ADC")])
def test_a_channel_that_lies_40_mm_off_is_refused_with_both_grids(tmp_path, name, kind):
    root = getattr(trees, name)(tmp_path / "cohort")
    trees.write(read_cohort(root).cases[0].images[kind], trees.brain(1), trees.affine(origin=(20.0, -15.0, 7.0)))
    fault = r"lies elsewhere \(.*first voxel at 20, -15, 7 mm\) than .*first voxel at -20, -15, 7 mm\): resample"
    with pytest.raises(InputError, match=fault):
        preprocessed(root, tmp_path / "cache")


def test_values_that_a_release_is_known_to_hold_are_repaired(tmp_path):
    root = trees.isles2024(tmp_path / "cohort")
    case = read_cohort(root).cases[0]
    tmax = trees.brain(1)
    tmax[0, 0, 0], tmax[1, 1, 1], tmax[2, 2, 2] = -30, np.nan, 1e6
    trees.write(case.images["Tmax"], tmax)
    _, cached = preprocessed(root, tmp_path / "cache")
    stored = np.asarray(cached.image[:, 2]).transpose(2, 1, 0)
    assert (stored[0, 0, 0], stored[1, 1, 1], stored[2, 2, 2]) == (0, 0, 60)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_adc_maps_of_any_unit_become_the_same_array(tmp_path, unit):
    root = trees.isles2022(tmp_path / "cohort")
    adc = read_cohort(root).cases[0].images["ADC"]
    trees.write(adc, (trees.brain(1) * unit).astype(np.float32))
    _, cached = preprocessed(root, tmp_path / "cache")
    assert np.allclose(np.asarray(cached.image[:, 1]).transpose(2, 1, 0), trees.brain(1), rtol=1e-5)


@pytest.mark.skipif(not CASE.is_dir(), reason="the real case is not here")
def test_the_real_isles2022_case_is_read_preprocessed_predicted_and_scored(tmp_path):
    name = "sub-strokecase0009"
    root = tmp_path / "cohort"
    for kind in ("dwi", "adc", "flair", "msk"):
        above = root / ("derivatives" if kind == "msk" else "rawdata") / name / "ses-0001"
        above.mkdir(parents=True, exist_ok=True)
        shutil.copy(CASE / f"{name}_ses-0001_{kind}.nii.gz", above)
    case, cached = preprocessed(root, tmp_path / "cache")
    assert cached.image.shape == (73, 3, 112, 112)
    assert cached.spacing_mm == (2, 2, 2)
    assert 0.5 < cached.mean[1] < 1.5  # um2/ms: the ADC of brain tissue
    # All three images tell the same midline, though the brain looks another way in each and the lesion is on one side.
    shown = np.asarray(cached.image).swapaxes(0, 1)
    lines = [estimate_midline(image, np.asarray(cached.brain), cached.spacing_mm) for image in shown]
    assert cached.midline.correlation > 0.5
    assert all(abs(line.shift_mm - cached.midline.shift_mm) <= 2 for line in lines)
    assert all(abs(line.angle_deg - cached.midline.angle_deg) <= 2 for line in lines)
    overlap = np.asarray(cached.image[:, 2])[cached.brain.astype(bool)]
    assert (overlap > 0).mean() > 0.9  # FLAIR covers the brain that DWI and ADC show
    write_masks(tmp_path / "predictions", case, {"": torch.from_numpy(np.array(cached.reference))})
    measures = score_files((case.reference, tmp_path / "predictions" / f"{name}.nii.gz")).measures
    assert measures["dice"] == 1
    assert measures["reference_ml"] == pytest.approx(523 * 8 / 1000)


def test_a_reference_stored_with_a_scale_factor_is_binary(tmp_path):
    root = trees.isles2024(tmp_path / "cohort")
    _, plain = preprocessed(root, tmp_path / "cache")
    trees.write(read_cohort(root).cases[0].reference, (trees.lesion() * 0.99999999977).astype(np.float64))
    _, scaled = preprocessed(root, tmp_path / "cache")
    assert (scaled.reference == plain.reference).all()
