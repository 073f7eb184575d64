"""The twin in the tree of ISLES 2022: what its format reads, and what the images show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from digests import digest

from benchmark.cohort.twin import write_twin
from benchmark.cohort.twin.isles2022 import TREE, habits_of
from benchmark.cohort.twin.patient import draw_person
from benchmark.suite.results import mark_tables
from leaderboard.cohort.banner import SYNTHETIC, is_synthetic
from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.cohort.kinds import adc_factor
from leaderboard.io.grids import resampled, to_canonical

CASES, SIZE, SEED = 12, 32, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("twin") / "isles2022"
    write_twin(out, cases=CASES, size=SIZE, seed=SEED, jobs=1, format_name="isles2022")
    return out


@pytest.fixture(scope="module")
def cohort(root: Path) -> Cohort:
    return read_cohort(root)


def image(path: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def images(case: Case) -> dict[str, np.ndarray]:
    """Each image on the grid of the DWI, the ADC in um2/ms, and the reference."""
    grid = image(case.images["DWI"])
    found = {kind: image(path).get_fdata() for kind, path in case.images.items()}
    found["FLAIR"] = resampled(found["FLAIR"], image(case.images["FLAIR"]).affine, grid.shape, grid.affine)
    found["ADC"] *= adc_factor(found["ADC"])
    assert case.reference is not None
    return found | {"reference": image(case.reference).get_fdata() > 0}


def test_its_format_reads_it_without_a_problem(cohort: Cohort) -> None:
    assert cohort.format.name == "isles2022"
    assert [case.name for case in cohort.cases] == [f"sub-strokecase{number:04d}" for number in range(1, CASES + 1)]
    assert all(case.reference is not None and set(case.images) == {"DWI", "ADC", "FLAIR"} for case in cohort.cases)


def test_the_older_layout_of_its_files_holds_the_same_cases(root: Path, cohort: Cohort, tmp_path: Path) -> None:
    for path in sorted((root / "ISLES-2022").rglob("*.*")):
        subject, session = path.parts[path.parts.index("ses-0001") - 1], "ses-0001"
        top = "derivatives" if path.name.endswith("_msk.nii.gz") else "rawdata"
        moved = tmp_path / top / subject / session / path.name.replace("FLAIR", "flair")
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, moved)
    shutil.copy(root / "center_ids.csv", tmp_path)
    mirror = read_cohort(tmp_path)
    assert mirror.format.name == "isles2022"
    assert len(mirror.cases) == CASES
    for one, other in zip(cohort.cases, mirror.cases, strict=True):
        assert (one.name, one.patient, one.centre, one.grid) == (other.name, other.patient, other.centre, other.grid)
        assert list(one.images) == list(other.images)
        assert one.reference is not None
        assert other.reference is not None
        for kind, path in {**one.images, "reference": one.reference}.items():
            assert path.read_bytes() == {**other.images, "reference": other.reference}[kind].read_bytes()


def test_sidecars_say_one_thing_of_a_patient_and_are_left_aside_when_a_case_is_read(
    root: Path, cohort: Cohort, tmp_path: Path
) -> None:
    found = []
    for case in cohort.cases:
        beside = [path.with_name(path.name.replace(".nii.gz", ".json")) for path in case.images.values()]
        (text,) = {path.read_text() for path in beside}
        found.append(json.loads(text))
    assert {tuple(said) for said in found} == {("Manufacturer", "MagneticFieldStrength", "PatientSex", "PatientAge")}
    assert {said["PatientSex"] for said in found} == {"F", "M"}
    assert all(25 <= int(said["PatientAge"].removesuffix("Y")) <= 98 for said in found)
    assert len({said["PatientAge"] for said in found}) > CASES / 2
    assert {
        said["Manufacturer"] for case, said in zip(cohort.cases, found, strict=True) if case.centre == "center_2"
    } == {"Siemens"}
    bare = shutil.copytree(root, tmp_path / "bare", ignore=shutil.ignore_patterns("sub-*.json"))
    assert not any(bare.rglob("sub-*.json"))
    assert in_root(read_cohort(bare)) == in_root(cohort)


def in_root(cohort: Cohort) -> list[dict[str, str]]:
    return [{kind: str(path.relative_to(cohort.root)) for kind, path in case.images.items()} for case in cohort.cases]


def test_a_fifth_of_the_cases_are_of_a_second_centre_with_thick_slices(cohort: Cohort) -> None:
    spacings = {case.centre: image(case.images["DWI"]).header.get_zooms() for case in cohort.cases}
    assert [case.centre for case in cohort.cases].count("center_2") in (2, 3)
    assert spacings["center_1"] == pytest.approx((7, 7, 7))
    assert spacings["center_2"] == pytest.approx((4.2, 4.2, 7))


def test_at_full_size_the_grids_are_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.cohort.twin import isles2022

    for centre, shape in ((1, (112, 112, 73)), (2, (187, 187, 30))):
        habits = isles2022.Habits(centre, "LAS", "LAS", 1.0, False)
        dwi, flair = isles2022._grids(np.random.default_rng(0), 2.0, habits, 5.0)
        assert dwi.shape == shape
        assert flair.shape[2] == 29
        assert np.linalg.norm(flair.affine[:3, 2]) == pytest.approx(5)


def test_types_and_forms_are_those_of_the_release(cohort: Cohort) -> None:
    case = cohort.cases[0]
    assert case.reference is not None
    for path, dtype, codes in (
        (case.images["DWI"], np.float64, (2, 1)),
        (case.images["ADC"], np.float64, (2, 1)),
        (case.images["FLAIR"], np.float32, (1, 1)),
        (case.reference, np.uint16, (0, 2)),
    ):
        header = image(path).header
        assert header.get_data_dtype() == dtype
        assert (int(header["qform_code"]), int(header["sform_code"])) == codes
        assert header.get_xyzt_units()[0] == "mm"


def test_dwi_adc_and_reference_share_a_grid_and_flair_has_another(cohort: Cohort) -> None:
    for case in cohort.cases:
        assert case.reference is not None
        dwi, adc, mask, flair = (
            image(path) for path in (case.images["DWI"], case.images["ADC"], case.reference, case.images["FLAIR"])
        )
        for other in (adc, mask):
            assert other.shape == dwi.shape
            np.testing.assert_allclose(other.affine, dwi.affine, atol=1e-5)
        assert flair.header.get_zooms()[0] < dwi.header.get_zooms()[0]
        assert not np.allclose(direction(flair.affine), direction(dwi.affine), atol=1e-3)


def direction(affine: np.ndarray) -> np.ndarray:
    """Unit vector from slice to slice, to the head."""
    column = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return column * np.sign(column[2])


def test_a_lesion_is_bright_in_dwi_and_dark_in_adc(cohort: Cohort) -> None:
    ratios, diffusivities = [], []
    for case in cohort.cases:
        found = images(case)
        lesion, tissue = found["reference"], (found["ADC"] > 0.5) & (found["ADC"] < 1.0) & ~found["reference"]
        if lesion.sum() < 10:
            continue
        ratios.append(np.median(found["DWI"][lesion]) / np.median(found["DWI"][tissue]))
        diffusivities.append(np.median(found["ADC"][lesion]))
        assert 0.7 < np.median(found["ADC"][tissue]) < 0.9
    assert len(ratios) >= 5
    assert min(ratios) > 1.1
    assert 1.3 < np.median(ratios) < 2.5
    assert 0.3 < np.median(diffusivities) < 0.7
    assert max(diffusivities) < 1.0  # voxels of 7 mm hold fluid too


def test_fluid_diffuses_freely_and_is_dark_in_flair(cohort: Cohort) -> None:
    for case in cohort.cases:
        found = images(case)
        assert 2.3 < np.percentile(found["ADC"][found["ADC"] > 0], 99) < 3.3
        inner = found["FLAIR"] > 0  # where FLAIR's own brain is
        fluid, tissue = inner & (found["ADC"] > 1.8), inner & (found["ADC"] > 0.5) & (found["ADC"] < 0.9)
        assert np.median(found["FLAIR"][fluid]) < 0.75 * np.median(found["FLAIR"][tissue])


def test_flair_shows_the_same_brain_when_it_is_resampled(cohort: Cohort) -> None:
    for case in cohort.cases:
        found = images(case)
        dwi, flair = found["DWI"] > 20, found["FLAIR"] > 0.3 * np.median(found["FLAIR"][found["FLAIR"] > 0])
        overlap = 2 * (dwi & flair).sum() / (dwi.sum() + flair.sum())
        assert overlap > 0.9
        edges = [np.linalg.norm(np.gradient(mask.astype(float)), axis=0).ravel() for mask in (dwi, flair)]
        moved = np.roll(edges[1].reshape(dwi.shape), 3, axis=1).ravel()
        assert np.corrcoef(edges)[0, 1] > max(0.65, 0.2 + np.corrcoef(edges[0], moved)[0, 1])


def test_orders_of_axes_differ_by_case_and_lesions_lie_on_the_patients_side_in_one_order(cohort: Cohort) -> None:
    orders, checked = set(), 0
    for case, patient in zip(cohort.cases, TREE.patients("train", CASES, SIZE), strict=True):
        assert case.reference is not None
        mask = image(case.reference)
        orders.add("".join(nib.aff2axcodes(mask.affine)))
        lesion = to_canonical(mask.get_fdata() > 0, mask.affine)
        if lesion.sum() < 10:
            continue
        checked += 1
        halves = lesion[: lesion.shape[0] // 2].sum(), lesion[-(lesion.shape[0] // 2) :].sum()
        side = draw_person(patient, SEED).stroke.side  # +1 left, where the canonical first axis begins
        assert (halves[0] > halves[1]) == (side == 1)
    assert orders == {"LAS", "RAS", "LPS", "RPS"}
    assert checked >= 5


def test_the_unit_of_the_adc_differs_by_case_and_each_is_found(cohort: Cohort) -> None:
    factors = {case.name: adc_factor(image(case.images["ADC"]).get_fdata()) for case in cohort.cases}
    assert sorted(factors.values()) == [1e-3] * 4 + [1.0] * 4 + [1e3] * 4


def test_one_case_in_twelve_has_no_lesion_and_the_others_plausible_volumes(cohort: Cohort) -> None:
    volumes = {}
    for case, patient in zip(cohort.cases, TREE.patients("train", CASES, SIZE), strict=True):
        assert case.reference is not None
        mask = image(case.reference)
        assert set(np.unique(mask.get_fdata())) <= {0, 1}
        volumes[patient.number] = mask.get_fdata().sum() * abs(np.linalg.det(mask.affine)) / 1000
        assert (volumes[patient.number] == 0) == habits_of(patient, SEED).lesion_free
    assert list(volumes.values()).count(0) == 1
    drawn = sorted(volume for volume in volumes.values() if volume)
    assert 2 < np.median(drawn) < 25
    assert drawn[-1] < 500


def test_all_is_zero_outside_the_brain_but_a_rim_of_small_values(cohort: Cohort) -> None:
    dwi = image(cohort.cases[0].images["DWI"]).get_fdata()
    assert (dwi[0] == 0).all()
    assert 0.5 < (dwi == 0).mean() < 0.9
    assert dwi.min() < 0 < -dwi.min() < 0.1 * np.median(dwi[dwi > 0])


def test_few_cases_or_many_and_one_process_or_two_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write_twin(tmp_path / "few", cases=2, size=SIZE, seed=SEED, jobs=2, format_name="isles2022")
    few, many = digest(tmp_path / "few" / "ISLES-2022"), digest(root / "ISLES-2022")
    assert few.items() <= many.items()
    assert len(few) == 2 * 7


def test_an_interrupted_twin_is_continued_to_the_same_bytes(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    write_twin(out, cases=2, size=SIZE, seed=SEED, jobs=1, format_name="isles2022")
    before = digest(out)
    next(out.rglob("*0002*_msk.nii.gz")).unlink()
    (out / "center_ids.csv").unlink()
    kept = next(out.rglob("*0001*_dwi.nii.gz")).stat().st_mtime_ns
    write_twin(out, cases=2, size=SIZE, seed=SEED, jobs=1, format_name="isles2022")
    assert digest(out) == before
    assert next(out.rglob("*0001*_dwi.nii.gz")).stat().st_mtime_ns == kept


def test_another_seed_gives_other_images(root: Path, tmp_path: Path) -> None:
    write_twin(tmp_path / "other", cases=1, size=SIZE, seed=SEED + 1, jobs=1, format_name="isles2022")
    other, own = digest(tmp_path / "other" / "ISLES-2022"), digest(root / "ISLES-2022")
    assert all(value != own[path] for path, value in other.items())


@pytest.mark.parametrize("below", [".", "ISLES-2022"])
def test_it_is_known_to_be_synthetic_and_its_tables_are_marked(root: Path, below: str, tmp_path: Path) -> None:
    assert is_synthetic(root / below)
    assert mark_tables(read_cohort(root / below), tmp_path) == SYNTHETIC
    assert (tmp_path / "twin.json").read_bytes() == (root / "twin.json").read_bytes()
