"""The twin as it lies on disk: names, headers, determinism, refusals."""

import csv
import json
from importlib import resources

import nibabel as nib
import numpy as np
import pytest
import yaml
from digests import digest

from benchmark.cli import main
from benchmark.cohort.twin import write_twin
from benchmark.cohort.twin_manifest import GENERATOR_VERSION
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError

SMALL = {"cases": 6, "size": 32, "seed": 3, "test_cases": 2}
DTYPES = {
    "CT": np.int32,
    "CT_CBF": np.uint16,
    "CT_CBV": np.uint16,
    "CT_MTT": np.float64,
    "CT_Tmax": np.float64,
    "OT": np.uint8,
}
#: Sums over the first case of `SMALL`, as this version writes it.
RECORDED_VERSION, FIGURES = 2, {"CT": 637_679, "CT_CBF": 521_820, "OT": 33}
COLUMNS = dict(zip(DTYPES, ("id_ct", "id_ct_cbf", "id_ct_cbv", "id_ct_mtt", "id_ct_tmax", "id_ot"), strict=True))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    out = tmp_path_factory.mktemp("twin") / "small"
    write_twin(out, **SMALL, jobs=1)
    return out


@pytest.fixture(scope="module")
def real_rows():
    with resources.files("leaderboard.cohort.data").joinpath("isles2018_cases.csv").open() as file:
        return {(row["partition"], int(row["case"])): row for row in csv.DictReader(file)}


def images_of(folder):
    """Data and header of each image of a case folder, by kind."""
    images = {path.name.split(".")[4]: nib.load(path) for path in folder.glob("*/*.nii")}
    return {kind: (np.asarray(image.dataobj), image.header) for kind, image in images.items()}


def test_training_tree_has_the_real_names_and_ids_and_nothing_else(twin, real_rows):
    expected = set()
    for case in range(1, SMALL["cases"] + 1):
        for kind, column in COLUMNS.items():
            name = f"SMIR.Brain.XX.O.{kind}.{real_rows['train', case][column]}"
            expected.add(f"case_{case}/{name}/{name}.nii")
    assert set(digest(twin / "TRAINING")) == expected


def test_testing_tree_has_no_reference_and_the_references_lie_apart(twin, real_rows):
    expected = set()
    for case in range(1, SMALL["test_cases"] + 1):
        for kind, column in COLUMNS.items():
            if kind != "OT":
                name = f"SMIR.Brain.XX.O.{kind}.{real_rows['test', case][column]}"
                expected.add(f"case_{case}/{name}/{name}.nii")
    assert set(digest(twin / "TESTING")) == expected
    assert set(digest(twin / "TESTING_REFERENCES")) == {"case_1.nii", "case_2.nii"}
    assert {path.name for path in twin.iterdir()} == {
        "TRAINING",
        "TESTING",
        "TESTING_REFERENCES",
        "twin.json",
        "banner.txt",
    }


def test_headers_carry_the_spacing_in_pixdim_and_the_identity_as_affine(twin, real_rows):
    for case in range(1, SMALL["cases"] + 1):
        row = real_rows["train", case]
        spacing = (float(row["dx_mm"]) * 8, float(row["dy_mm"]) * 8, float(row["dz_mm"]))
        for kind, (data, header) in images_of(twin / f"TRAINING/case_{case}").items():
            assert header.get_data_dtype() == DTYPES[kind]
            assert data.dtype == DTYPES[kind]
            assert data.shape == (32, 32, int(row["slices"]))
            assert header.get_zooms() == pytest.approx(spacing, rel=1e-6)
            assert (header.get_best_affine() == np.eye(4)).all()
            assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 0)
            assert np.isnan(header["scl_slope"])
            assert header.get_xyzt_units() == ("mm", "sec")


def test_simpleitk_reads_the_spacing_from_pixdim(twin):
    sitk = pytest.importorskip("SimpleITK")
    path = next((twin / "TRAINING/case_1").glob("*.CT_MTT.*/*.nii"))
    assert sitk.ReadImage(str(path)).GetSpacing() == pytest.approx((0.976562 * 8, 0.976562 * 8, 5.0003), rel=1e-6)


def test_a_test_reference_has_the_header_of_its_case(twin):
    reference = nib.load(twin / "TESTING_REFERENCES/case_2.nii")
    _, header = images_of(twin / "TESTING/case_2")["CT"]
    assert reference.shape == header.get_data_shape()
    assert reference.header.get_zooms() == header.get_zooms()
    assert reference.header.get_data_dtype() == np.uint8


def test_references_are_binary_and_not_empty(twin):
    paths = [*twin.glob("TRAINING/*/*.OT.*/*.nii"), *twin.glob("TESTING_REFERENCES/*.nii")]
    assert len(paths) == 8
    for path in paths:
        assert set(np.unique(np.asarray(nib.load(path).dataobj))) == {0, 1}


def test_maps_are_zero_outside_tissue_and_the_ct_keeps_its_skull(twin):
    for case in range(1, SMALL["cases"] + 1):
        images = {kind: data for kind, (data, _) in images_of(twin / f"TRAINING/case_{case}").items()}
        tissue, air = images["CT_CBF"] > 0, images["CT"] == images["CT"][0, 0, 0]
        assert 0.1 < tissue.mean() < 0.6
        assert 0.2 < air.mean() < 0.8
        assert not (tissue & air).any()
        for kind in ("CT_CBV", "CT_MTT", "CT_Tmax"):
            assert (images[kind][~tissue] == 0).all()
        assert ((images["CT_MTT"] >= 0) & (images["CT_MTT"] <= 40)).all()
        assert ((images["CT_Tmax"] >= 0) & (images["CT_Tmax"] <= 40)).all()
        assert images["CT"][0, 0, 0] in (-23, 0)
        assert (images["CT"][:, :2] == images["CT"][0, 0, 0]).all()
        assert images["CT"].max() > 500
        assert 30 < np.median(images["CT"][tissue]) < 45
        assert images["OT"][~tissue].sum() <= 0.2 * images["OT"].sum()


def test_the_tree_reads_as_a_sound_cohort_with_known_patients(twin):
    training, testing = read_cohort(twin, "training"), read_cohort(twin, "testing")
    assert [case.patient for case in training.cases] == ["1", "1", "2", "2", "3", "3"]
    assert [case.patient for case in testing.cases] == ["1", "2"]
    assert all(case.reference is None for case in testing.cases)


def test_two_processes_write_the_same_bytes_as_one(twin, tmp_path):
    write_twin(tmp_path / "again", **SMALL, jobs=2)
    assert digest(tmp_path / "again") == digest(twin)


def test_a_case_does_not_depend_on_how_many_others_are_written(twin, tmp_path):
    write_twin(tmp_path / "one", cases=1, size=32, seed=3, jobs=1)
    assert digest(tmp_path / "one/TRAINING") == {
        path: value for path, value in digest(twin / "TRAINING").items() if path.startswith("case_1/")
    }


def test_another_seed_gives_other_images(twin, tmp_path):
    write_twin(tmp_path / "other", cases=1, size=32, seed=4, jobs=1)
    other = digest(tmp_path / "other/TRAINING")
    assert all(value != digest(twin / "TRAINING")[path] for path, value in other.items())


def test_an_interrupted_twin_is_continued_to_the_same_bytes(twin, tmp_path):
    out = tmp_path / "interrupted"
    write_twin(out, **SMALL, jobs=1)
    lost = [next(out.glob("TRAINING/case_3/*.OT.*/*.nii")), out / "TESTING_REFERENCES/case_1.nii"]
    for path in lost:
        path.unlink()
    (lost[0].parent / f".{lost[0].name}.1.tmp").write_bytes(b"half")
    kept = next(out.glob("TRAINING/case_1/*.CT.*/*.nii"))
    before = kept.stat().st_mtime_ns
    calls = []
    write_twin(out, **SMALL, jobs=1, progress=lambda done, total: calls.append((done, total)))
    assert digest(out) == digest(twin)
    assert kept.stat().st_mtime_ns == before
    assert calls[0] == (6, 8)
    assert calls[-1] == (8, 8)


def test_a_finished_twin_is_left_alone(twin):
    before = {path: path.stat().st_mtime_ns for path in twin.rglob("*")}
    calls = []
    write_twin(twin, **SMALL, jobs=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(8, 8)]
    assert {path: path.stat().st_mtime_ns for path in twin.rglob("*")} == before


def test_other_arguments_are_refused_for_a_folder_that_holds_a_twin(twin):
    with pytest.raises(InputError, match="other arguments"):
        write_twin(twin, **(SMALL | {"seed": 4}), jobs=1)


def test_a_folder_with_other_content_is_refused_and_untouched(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        write_twin(tmp_path, cases=1, size=32, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write_twin(tmp_path / "out", cases=1, size=32, seed=0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"cases": 0}, "--cases"),
        ({"cases": 95}, "--cases"),
        ({"size": 31}, "--size"),
        ({"size": 257}, "--size"),
        ({"seed": -1}, "--seed"),
        ({"test_cases": -1}, "--test-cases"),
        ({"test_cases": 63}, "--test-cases"),
        ({"jobs": 0}, "--jobs"),
    ],
)
def test_an_argument_out_of_range_is_refused_before_anything_is_written(tmp_path, wrong, named):
    with pytest.raises(InputError, match=f"^{named}: .*: choose"):
        write_twin(tmp_path / "out", **({"cases": 1, "size": 32, "seed": 0} | wrong))
    assert not (tmp_path / "out").exists()


def test_a_format_without_a_twin_and_test_cases_of_one_without_any_are_refused(tmp_path):
    with pytest.raises(InputError, match="no twin of the format isles2017: choose among isles2018, isles2022"):
        write_twin(tmp_path / "out", cases=1, size=32, seed=0, format_name="isles2017")
    for name, most in (("isles2022", 250), ("isles2024", 149)):
        with pytest.raises(InputError, match=f"--cases: {most + 1} .* 1 to {most}\n--test-cases: 1 .* 0 to 0"):
            write_twin(tmp_path / "out", cases=most + 1, size=32, seed=0, test_cases=1, format_name=name)
    assert not (tmp_path / "out").exists()


def test_a_twin_of_another_format_is_refused_in_its_place(twin):
    arguments = {key: value for key, value in SMALL.items() if key != "test_cases"}
    with pytest.raises(InputError, match="other arguments"):
        write_twin(twin, **arguments, format_name="isles2022")


def test_the_manifest_holds_the_arguments_and_no_date(twin):
    manifest = json.loads((twin / "twin.json").read_text())
    assert manifest == SMALL | {
        "generator": "isles-benchmark twin",
        "generator_version": GENERATOR_VERSION,
        "with_4d": False,
    }


def test_the_generator_has_another_version_where_its_images_have_changed(twin):
    """Within what other processors may round differently."""
    images = {kind: data for kind, (data, _) in images_of(twin / "TRAINING/case_1").items()}
    found = {kind: int(images[kind].sum(dtype=np.int64)) for kind in FIGURES}
    told = f"the twin's bytes changed: raise GENERATOR_VERSION, record {found}, and make the committed results again"
    assert (GENERATOR_VERSION, found) == (RECORDED_VERSION, pytest.approx(FIGURES, rel=1e-4)), told


def test_a_suite_over_a_twin_of_an_older_generator_is_refused_with_its_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"cases": 2, "size": 32, "seed": 0}
    content = {"name": "s", "methods": ["all_background"], "cohort": {"twin": arguments}, "folds": {"number": 2}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    older = {"generator": "isles-benchmark twin", "generator_version": GENERATOR_VERSION - 1}
    cohort = tmp_path / "runs" / "s" / "cohort"
    cohort.mkdir(parents=True)
    (cohort / "twin.json").write_text(json.dumps(older | arguments | {"test_cases": 0, "with_4d": False}))
    assert main(["run", "--config", "suite.yaml"]) == 1
    said = capsys.readouterr().err
    assert f"cohort: holds a twin that version {GENERATOR_VERSION - 1} of the generator made" in said
    assert "delete the folder, or write to another (benchmark run: --out)" in said
    assert [path.name for path in cohort.iterdir()] == ["twin.json"]


def test_the_time_series_is_written_on_request_beside_unchanged_maps(twin, tmp_path):
    out = tmp_path / "series"
    write_twin(out, cases=1, size=32, seed=3, jobs=1, with_4d=True)
    path = out / "TRAINING/case_1/SMIR.Brain.XX.O.CT_4DPWI.345561/SMIR.Brain.XX.O.CT_4DPWI.345561.nii"
    series = nib.load(path)
    assert series.shape == (32, 32, 8, 49)
    assert series.header.get_data_dtype() == np.float32
    assert series.header.get_zooms()[3] == 1.0
    maps = digest(out / "TRAINING")
    del maps[str(path.relative_to(out / "TRAINING"))]
    assert maps.items() <= digest(twin / "TRAINING").items()
