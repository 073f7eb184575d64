"""The twin in the tree of ISLES 2024: what its format reads, and the release's peculiarities."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from digests import digest

from benchmark.cohort.check import check_cohort
from benchmark.cohort.twin import write_twin
from benchmark.cohort.twin.isles2024 import TREE
from benchmark.pipeline.cache import preprocess
from leaderboard.cohort.banner import is_synthetic
from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.cohort.formats.tables import read_rows
from leaderboard.io.grids import same_grid

CASES, SIZE, SEED = 5, 32, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("twin") / "isles2024"
    write_twin(out, cases=CASES, size=SIZE, seed=SEED, jobs=1, format_name="isles2024")
    return out


@pytest.fixture(scope="module")
def cohort(root: Path) -> Cohort:
    return read_cohort(root)


def loaded(case: Case) -> dict[str, nib.Nifti1Image]:
    assert case.reference is not None
    paths = {**case.images, "reference": case.reference}
    return {kind: nib.Nifti1Image.from_filename(path) for kind, path in paths.items()}


def test_its_format_reads_it_without_a_problem_and_numbers_have_gaps(cohort: Cohort) -> None:
    assert cohort.format.name == "isles2024"
    assert [case.name for case in cohort.cases] == [f"sub-stroke{number:04d}" for number in (1, 2, 3, 5, 6)]
    assert {case.centre for case in cohort.cases} == {"Munich", "Zurich"}


def test_as_many_cases_as_were_released_have_numbers_as_low_as_those() -> None:
    last = TREE.patients("train", 149, SIZE)[-1]
    assert "sub-stroke0186" in TREE.files(last, last.slabs[0], False)[0]


def test_every_image_lies_on_the_grid_of_the_ct_with_an_affine_that_differs_in_the_last_digit(cohort: Cohort) -> None:
    orders = set()
    for case in cohort.cases:
        images = loaded(case)
        ct = images["NCCT"]
        orders.add("".join(nib.aff2axcodes(ct.affine)))
        for kind, image in images.items():
            assert same_grid(image.shape, image.affine, ct.shape, ct.affine)
            assert (kind == "NCCT") == np.array_equal(image.affine, ct.affine)
    assert orders == {"LAS", "LPS", "RAS"}


def test_tmax_is_minus_30_outside_the_brain_and_mtt_holds_values_that_no_tissue_has(cohort: Cohort) -> None:
    for case in cohort.cases:
        images = {kind: image.get_fdata() for kind, image in loaded(case).items()}
        brain = images["CBF"] > 0
        assert (images["Tmax"][~brain] == -30).all()
        assert images["Tmax"][brain].min() >= 0
        assert 1 <= np.count_nonzero(~np.isfinite(images["MTT"])) <= 8
        assert np.nanmin(images["MTT"][np.isfinite(images["MTT"])]) == -54112


def test_ct_has_air_and_bone_and_contrast_agent_only_brightens(cohort: Cohort) -> None:
    for case in cohort.cases:
        ct, cta = (np.asarray(loaded(case)[kind].dataobj).astype(float) for kind in ("NCCT", "CTA"))
        assert ct[0, 0, 0] == -1000
        assert ct.max() > 700
        assert (cta >= ct).all()
        assert (cta - ct).max() > 40


def test_a_one_of_the_mask_is_almost_one_and_is_kept_when_the_case_is_preprocessed(cohort: Cohort) -> None:
    case = cohort.cases[0]
    reference = loaded(case)["reference"]
    values = np.unique(reference.get_fdata())
    assert reference.header.get_data_dtype() == np.uint16
    assert values[0] == 0
    assert values[1:] == pytest.approx([0.99999999977], abs=1e-11)
    arrays, _ = preprocess(case, cohort.images)
    assert arrays["reference"].sum() == np.count_nonzero(reference.get_fdata()) > 0
    assert np.isfinite(arrays["image"]).all()


def test_blood_comes_late_where_tissue_dies(cohort: Cohort) -> None:
    ratios = []
    for case in cohort.cases:
        images = {kind: image.get_fdata() for kind, image in loaded(case).items()}
        lesion, brain = images["reference"] > 0.5, images["CBF"] > 0
        if lesion.sum() > 20:
            ratios.append([np.mean(images[kind][lesion & brain]) / np.mean(images[kind][brain & ~lesion])
                           for kind in ("Tmax", "CBF")])  # fmt: skip
    assert len(ratios) >= 3
    late, flow = np.median(ratios, axis=0)
    assert late > 1.3
    assert flow < 0.9


def test_tables_say_age_score_and_outcome(root: Path) -> None:
    (baseline,) = read_rows(
        root / "train/phenotype/sub-stroke0005/ses-01/sub-stroke0005_ses-01_demographic_baseline.csv"
    )
    (outcome,) = read_rows(root / "train/phenotype/sub-stroke0005/ses-02/sub-stroke0005_ses-02_outcome.csv")
    assert 30 <= int(baseline["Age"]) <= 98
    assert 1 <= int(baseline["NIHSS at admission"]) <= 35
    assert 0 <= int(outcome["mRS 3 months"]) <= 6


def test_a_case_does_not_depend_on_how_many_others_are_written(root: Path, tmp_path: Path) -> None:
    write_twin(tmp_path / "few", cases=1, size=SIZE, seed=SEED, jobs=1, format_name="isles2024")
    few = digest(tmp_path / "few" / "train")
    assert few.items() <= digest(root / "train").items()
    assert len(few) == 9


def test_the_series_is_written_on_request_beside_unchanged_files_and_is_no_map(root: Path, tmp_path: Path) -> None:
    write_twin(tmp_path / "4d", cases=1, size=SIZE, seed=SEED, jobs=1, format_name="isles2024", with_4d=True)
    train = tmp_path / "4d" / "train"
    path = train / "derivatives/sub-stroke0001/ses-01/sub-stroke0001_ses-01_space-ncct_ctp.nii.gz"
    files = digest(train)
    del files[str(path.relative_to(train))]
    assert len(files) == 9
    assert files.items() <= digest(root / "train").items()

    cohort = read_cohort(tmp_path / "4d")
    (case,) = cohort.cases
    assert path not in case.images.values()
    assert check_cohort(tmp_path / "4d", jobs=1).problems == ()
    series, ct = nib.Nifti1Image.from_filename(path), nib.Nifti1Image.from_filename(case.images["NCCT"])
    assert same_grid(series.shape[:3], series.affine, ct.shape, ct.affine)
    assert series.header.get_xyzt_units() == ("mm", "sec")
    assert series.header.get_zooms()[3] == 1.0
    # Contrast agent comes and goes over the CT where there is blood, and nowhere else.
    change = np.asarray(series.dataobj).astype(float) - np.asarray(ct.dataobj)[..., None]
    flow = loaded(case)["CBF"].get_fdata()
    assert change.shape[3] == 45
    assert not change[flow == 0].any()
    course = change[flow > np.percentile(flow[flow > 0], 90)].mean(axis=0)
    assert course[:5].max() < 0.5 * course.max() > 2
    assert 5 < course.argmax() < 35


@pytest.mark.parametrize("below", [".", "train"])
def test_it_is_known_to_be_synthetic(root: Path, below: str) -> None:
    assert is_synthetic(root / below)
    assert len(read_cohort(root / below).cases) == CASES
