import gzip
import io
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
import trees
from rich.console import Console

from benchmark.cli import main
from benchmark.cohort.check import check_cohort, print_report
from benchmark.cohort.twin_manifest import GENERATOR_VERSION
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError


@pytest.fixture
def cohort(isles_tree):
    """A sound cohort of three cases of two patients."""
    return read_cohort(isles_tree())


def damaged(cohort, kind, change, case=1):
    """Write an image of a case anew with `change(data, spacing)`; returns its path."""
    found = cohort.cases[case]
    path = found.reference if kind == "OT" else found.images[kind]
    image = nib.load(path)
    data, spacing = change(
        np.array(np.asanyarray(image.dataobj)), tuple(float(size) for size in image.header.get_zooms())
    )
    header = image.header.copy()
    header["pixdim"][1:4] = spacing[:3]
    header.set_data_dtype(data.dtype)
    path.write_bytes(nib.Nifti1Image(data, None, header).to_bytes())
    return path


def only_problem(root):
    """The one problem of a cohort of which all other cases are sound."""
    report = check_cohort(root)
    assert report.exit_status == 1
    assert [case.verdict for case in report.cases] == ["sound", "1 problem", "sound"]
    (problem,) = report.problems
    return problem


def test_a_sound_cohort(cohort):
    report = check_cohort(cohort.root)
    assert report.problems == ()
    assert report.exit_status == 0
    assert report.closing_line == "3 cases, 2 patients, 0 problems"
    assert [(case.case, case.patient, case.verdict) for case in report.cases] == [
        ("case_1", "P1", "sound"),
        ("case_2", "P1", "sound"),
        ("case_3", "P2", "sound"),
    ]
    for case in report.cases:
        assert case.shape == (8, 9, 2)
        assert case.spacing_mm == pytest.approx((0.9, 0.9, 6.0))
        assert case.lesion_ml == pytest.approx(6 * 0.9 * 0.9 * 6 / 1000)  # not 6 voxels of 1 mm^3: the affine lies


def test_both_partitions_are_checked_unless_one_is_named(isles_tree):
    isles_tree([1, 2])
    root = isles_tree([1], partition="TESTING")
    report = check_cohort(root)
    assert [(case.partition, case.case) for case in report.cases] == [
        ("training", "case_1"),
        ("training", "case_2"),
        ("testing", "case_1"),
    ]
    assert report.cases[2].lesion_ml is None
    assert report.closing_line == "3 cases, 2 patients, 0 problems"  # P1 of TESTING is somebody else
    assert [case.partition for case in check_cohort(root, "testing").cases] == ["testing"]


@pytest.mark.parametrize("edition", ["isles2018", "isles2017"])
def test_time_series_may_be_there(isles_tree, edition):
    root = isles_tree([1], edition=edition)
    kind = {"isles2018": "CT_4DPWI", "isles2017": "MR_4DPWI"}[edition]
    isles_tree.case(root / "TRAINING" / "case_1", {kind: 77})
    assert check_cohort(root).problems == ()
    assert check_cohort(root).cases[0].shape == (8, 9, 2)


def test_a_missing_and_a_doubled_kind_are_found(cohort):
    shutil.rmtree(cohort.cases[1].images["CT_CBV"].parent)
    assert "CT_CBV is missing" in only_problem(cohort.root)
    image = cohort.cases[1].images["CT_MTT"]
    shutil.copytree(image.parent, image.parents[1] / "SMIR.Brain.XX.O.CT_MTT.5")
    report = check_cohort(cohort.root)
    assert len(report.problems) == 2
    assert "CT_MTT is there 2 times" in report.problems[0]


def test_the_odd_shape_is_named_and_not_the_others(cohort):
    path = damaged(cohort, "CT", lambda data, spacing: (data[:-1], spacing))
    fault = "has the shape 7 x 9 x 2 where its case has 8 x 9 x 2: replace the file"
    assert only_problem(cohort.root) == f"{path}: {fault}"


def test_the_odd_spacing_is_named_and_not_the_others(cohort):
    path = damaged(cohort, "OT", lambda data, spacing: (data, (1.0, 1.0, 1.0)))
    fault = "has the spacing 1 x 1 x 1 mm where its case has 0.9 x 0.9 x 6 mm: correct pixdim in its header"
    assert only_problem(cohort.root) == f"{path}: {fault}"


def test_rounded_spacing_is_no_problem(cohort):
    damaged(cohort, "CT", lambda data, spacing: (data, (0.90001, 0.9, 6.0002)))
    assert check_cohort(cohort.root).problems == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["CT_Tmax", "OT"])
def test_nan_and_inf_are_found(cohort, value, kind):
    def change(data, spacing):
        data = data.astype(np.float64)
        data[2:4, 4, 0] = value
        return data, spacing

    path = damaged(cohort, kind, change)
    assert only_problem(cohort.root) == f"{path}: holds NaN or Inf in 2 voxels: replace the file"


def test_a_map_of_zeros_is_found(cohort):
    path = damaged(cohort, "CT_CBF", lambda data, spacing: (data * 0, spacing))
    assert only_problem(cohort.root).startswith(f"{path}: is zero in every voxel: ")


@pytest.mark.parametrize(("value", "dtype"), [(2, np.uint8), (255, np.uint8), (-1, np.int16), (0.5, np.float32)])
def test_a_reference_that_is_not_binary_is_found(cohort, value, dtype):
    path = damaged(cohort, "OT", lambda data, spacing: ((data * np.float64(value)).astype(dtype), spacing))
    assert only_problem(cohort.root).startswith(f"{path}: holds the values {value}, a mask holds 0 and 1 alone: ")
    assert check_cohort(cohort.root).cases[1].lesion_ml is None


def test_an_empty_reference_is_found(cohort):
    path = damaged(cohort, "OT", lambda data, spacing: (data * 0, spacing))
    assert only_problem(cohort.root).startswith(f"{path}: is empty: ")


def test_a_map_with_a_time_axis_is_found(cohort):
    path = damaged(cohort, "CT_MTT", lambda data, spacing: (np.stack([data, data, data], axis=3), spacing))
    assert only_problem(cohort.root) == f"{path}: has 4 axes (8 x 9 x 2 x 3) where 3 are needed: replace the file"


def test_a_time_series_without_a_time_axis_is_found(isles_tree, cohort):
    path = cohort.root / "TRAINING" / "case_2" / "SMIR.Brain.XX.O.CT_4DPWI.1" / "a.nii"
    isles_tree.image(path, np.ones((8, 9, 2), np.float32))
    assert only_problem(cohort.root).startswith(f"{path}: has 3 axes (8 x 9 x 2) where 4 are needed")


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.9])
def test_a_truncated_file_is_found(cohort, keep):
    path = cohort.cases[1].images["CT_Tmax"]
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert only_problem(cohort.root) == f"{path}: is truncated or damaged: copy or unpack it again"


def test_a_damaged_gzip_file_is_found(cohort):
    path = cohort.cases[1].reference
    content = bytearray(gzip.compress(path.read_bytes()))
    content[-7] ^= 1
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(content)
    assert only_problem(cohort.root).endswith(".nii.gz: is truncated or damaged: copy or unpack it again")


def test_unknown_patients_are_found_with_the_file_to_write(isles_tree):
    root = isles_tree([1, 2], patients=None)
    report = check_cohort(root)
    assert report.closing_line == "2 cases, 0 patients, 2 problems"
    line = f"{root / 'patients.csv'}: patient of case_1 is unknown: name it there (columns case,patient)"
    assert report.problems[0] == line
    (root / "patients.csv").write_text("case,patient\ncase_1,a\ncase_2,a\n")
    assert check_cohort(root).closing_line == "2 cases, 1 patient, 0 problems"


def test_with_two_partitions_the_file_to_write_is_the_partitions_own(isles_tree):
    isles_tree([1])
    root = isles_tree([1], partition="TESTING", patients=None)
    (problem,) = check_cohort(root).problems
    assert problem.startswith(f"{root / 'TESTING' / 'patients.csv'}: ")


def test_every_problem_is_told_once_and_each_in_one_line(cohort):
    damaged(cohort, "CT", lambda data, spacing: (data[:, :-1], (2.0, 2.0, 2.0)), case=0)
    damaged(cohort, "CT_CBV", lambda data, spacing: (data * 0, spacing), case=0)
    damaged(cohort, "OT", lambda data, spacing: (data * 3, spacing), case=2)
    cohort.cases[2].images["CT"].write_bytes(b"text")
    report = check_cohort(cohort.root)
    assert [case.verdict for case in report.cases] == ["3 problems", "sound", "2 problems"]
    assert len(set(report.problems)) == len(report.problems) == 5
    for problem in report.problems:
        path, fault, remedy = problem.split(": ")
        assert path.startswith(str(cohort.root))
        assert fault
        assert remedy
        assert "\n" not in problem


def test_a_case_that_cannot_be_read_at_all_is_still_a_row(cohort):
    for path in [*cohort.cases[1].images.values(), cohort.cases[1].reference]:
        path.write_bytes(b"")
    row = check_cohort(cohort.root).cases[1]
    assert (row.shape, row.spacing_mm, row.lesion_ml, row.verdict) == (None, None, None, "6 problems")


def test_progress_counts_the_cases(cohort):
    calls = []
    check_cohort(cohort.root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_no_cohort_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="holds no cases"):
        check_cohort(tmp_path)


def printed(report, width=80):
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    return out.getvalue()


def test_the_table_fits_80_columns_and_ends_with_the_counts(isles_tree):
    isles_tree([94], shape=(256, 256, 16), spacing=(0.9765, 0.9765, 12.0))
    out = printed(check_cohort(isles_tree([1], partition="TESTING")))
    rows = [line.split() for line in out.splitlines()]
    assert ["case_94", "P47", "256x256x16", "0.98x0.98x12.00", "0.07", "sound"] in rows
    assert ["case_1", "P1", "8x9x2", "0.90x0.90x6.00", "-", "sound"] in rows
    assert "(training)" in out
    assert "(testing)" in out
    assert out.splitlines()[-1] == "2 cases, 2 patients, 0 problems"


def test_problems_are_whole_lines_however_narrow_the_screen(isles_tree):
    root = isles_tree([1], name="a [red]folder[/red] with a long name " + "x" * 60, patients=None)
    report = check_cohort(root)
    assert report.problems[0] in printed(report, width=40).splitlines()


def test_nothing_of_nibabels_remarks_reaches_the_user(cohort, capfd, caplog):
    path = cohort.cases[0].images["CT"]
    content = bytearray(path.read_bytes())
    content[76:80] = np.float32(0).tobytes()  # qfac 0
    content[80:84] = np.float32(-0.9).tobytes()
    content[108:112] = np.float32(352.5).tobytes()
    path.write_bytes(content)
    nib.load(path)
    assert caplog.records  # what nibabel would say
    caplog.clear()
    capfd.readouterr()
    assert check_cohort(cohort.root).problems == ()
    assert not caplog.records
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("value", [0.99999999977, 1.00002, 0.9995])
def test_a_reference_that_rounds_to_0_and_1_is_sound(cohort, value):
    sound = check_cohort(cohort.root).cases[1].lesion_ml
    damaged(cohort, "OT", lambda data, spacing: (np.where(data == 1, value, 1e-9), spacing))
    report = check_cohort(cohort.root)
    assert report.problems == ()
    assert report.cases[1].lesion_ml == sound


@pytest.mark.parametrize("size", [0.04, 21.0, 976.0])
def test_voxels_that_no_scan_has_are_a_problem(cohort, size):
    for kind in ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT"):
        damaged(cohort, kind, lambda data, spacing: (data, (size, size, 6.0)))
    problems = check_cohort(cohort.root).problems
    assert len(problems) == 6
    assert all(
        f"has voxels of {size:g} x {size:g} x 6 mm where 0.05 to 20 mm are possible" in line for line in problems
    )


# other formats


def test_an_image_on_a_grid_of_its_own_is_no_problem_where_the_format_allows_it(tmp_path):
    report = check_cohort(trees.isles2022(tmp_path))
    assert report.problems == ()
    assert [case.shape for case in report.cases] == [trees.SHAPE] * 2  # of DWI, ADC and the reference, not of FLAIR


def test_an_image_on_a_grid_of_its_own_is_a_problem_elsewhere(tmp_path):
    root = trees.isles2022(tmp_path)
    adc = read_cohort(root).cases[0].images["ADC"]
    trees.write(adc, trees.brain(1, (9, 12, 6)))
    (problem,) = check_cohort(root).problems
    assert problem == f"{adc}: has the shape 9 x 12 x 6 where its case has 10 x 12 x 6: replace the file"


def test_an_image_in_another_order_of_axes_is_no_problem(tmp_path):
    root = trees.isles2022(tmp_path)
    trees.turn(read_cohort(root).cases[0].images["ADC"], "PSL")
    assert check_cohort(root).problems == ()


def test_the_image_that_lies_elsewhere_is_named_and_not_the_others(tmp_path):
    root = trees.isles2022(tmp_path)
    dwi = read_cohort(root).cases[0].images["DWI"]
    trees.write(dwi, trees.brain(1), trees.affine(origin=(20.0, -15.0, 7.0)))
    (problem,) = check_cohort(root).problems
    assert problem.startswith(f"{dwi}: lies elsewhere (")
    assert "first voxel at 20, -15, 7 mm" in problem


def test_rows_of_patients_csv_that_name_no_case_are_told(tmp_path):
    root = trees.nnunet(tmp_path)
    (root / "patients.csv").write_text("case,patient\na_1,anna\na_3,anna\n")
    assert check_cohort(root).notes == (f"{root}: patients.csv names a_3, which is no case: correct it",)


def test_a_part_of_a_release_is_told_by_number_and_is_no_problem(tmp_path):
    report = check_cohort(trees.isles2022(tmp_path))
    assert f"{tmp_path}: holds 2 of the 250 training cases of ISLES 2022" in report.notes
    assert report.exit_status == 0
    assert f"note: {tmp_path}: holds 2 of the 250 training cases of ISLES 2022" in printed(report, 300)


@pytest.mark.parametrize("version", [GENERATOR_VERSION - 1, GENERATOR_VERSION + 1])
def test_a_twin_of_another_version_is_told_with_its_remedy_and_is_no_problem(isles_tree, capsys, version):
    root = isles_tree()
    (root / "twin.json").write_text(json.dumps({"generator_version": version, "cases": 3}))
    line = (
        f"{root}: holds a twin that version {version} of the generator made, and this is version {GENERATOR_VERSION}, "
        "whose images differ: delete the folder and write it again (benchmark twin; a suite writes its own)"
    )
    assert main(["check", str(root)]) == 0
    assert f"note: {line}\n" in capsys.readouterr().out
    assert line in check_cohort(root / "TRAINING").notes


@pytest.mark.parametrize("manifest", [{"generator_version": GENERATOR_VERSION}, {}, [], None])
def test_nothing_is_said_of_a_twin_of_this_version_or_of_a_file_that_is_no_manifest(isles_tree, manifest):
    root = isles_tree()
    (root / "twin.json").write_text("{" if manifest is None else json.dumps(manifest))
    assert not any("generator" in note for note in check_cohort(root).notes)


def test_a_version_that_is_no_number_is_not_quoted(isles_tree):
    root = isles_tree()
    (root / "twin.json").write_text(json.dumps({"generator_version": ["x" * 1000]}))
    [note] = [note for note in check_cohort(root).notes if "generator" in note]
    assert f"{root}: holds a twin that another version of the generator made, and this is version" in note


@pytest.mark.parametrize("kind", ["pipe", "device", "long"])
def test_a_manifest_that_never_ends_is_none(isles_tree, kind):
    root = isles_tree()
    path = root / "twin.json"
    if kind == "pipe":
        os.mkfifo(path)  # would wait for a writer
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_text(json.dumps({"generator_version": 0, "more": "x" * 100_000}))
    assert not any("generator" in note for note in check_cohort(root).notes)


def test_mixed_units_are_told_with_the_number_of_cases(tmp_path):
    root = trees.isles2022(tmp_path, (1, 2, 3))
    assert not any("is stored in" in note for note in check_cohort(root).notes)
    adc = read_cohort(root).cases[1].images["ADC"]
    trees.write(adc, trees.brain(1) * 1e-3)
    line = "ADC is stored in um2/ms in 2 cases, mm2/s in 1 case: it is read as um2/ms everywhere"
    assert line in check_cohort(root).notes


def test_an_empty_reference_is_a_note_where_cases_may_be_without_lesion(tmp_path):
    root = trees.isles2022(tmp_path, (1, 150))
    first, known = (case.reference for case in read_cohort(root).cases)
    for path in (first, known):
        trees.write(path, trees.lesion() * 0)
    report = check_cohort(root)
    assert report.problems == ()
    assert report.cases[0].notes == (f"{first}: is empty: its case is without lesion",)
    (told,) = report.cases[1].notes
    assert told.startswith("sub-strokecase0150: its reference is empty in the release")
    assert [case.lesion_ml for case in report.cases] == [0, 0]


def test_values_that_are_repaired_are_a_note_and_others_a_problem(tmp_path):
    root = trees.isles2024(tmp_path)
    images = read_cohort(root).cases[0].images
    broken = trees.brain(1)
    broken[2, 2, 2] = np.nan
    for kind in ("MTT", "CTA"):
        trees.write(images[kind], broken)
    report = check_cohort(root)
    assert report.problems == (f"{images['CTA']}: holds NaN or Inf in 1 voxel: replace the file",)
    assert f"{images['MTT']}: holds NaN or Inf in 1 voxel: they are read as 0" in report.notes


def test_known_faults_of_a_release_are_named(tmp_path):
    report = check_cohort(trees.isles2024(tmp_path, (1, 43)))
    assert report.cases[0].notes == ()
    assert report.cases[1].notes[0].startswith("sub-stroke0043: its CBF map is truncated in the release")


def test_a_reference_stored_with_a_scale_factor_is_binary(tmp_path):
    root = trees.isles2024(tmp_path)
    trees.write(read_cohort(root).cases[0].reference, (trees.lesion() * 0.99999999977).astype(np.float64))
    report = check_cohort(root)
    assert report.problems == ()
    assert report.cases[0].lesion_ml == report.cases[1].lesion_ml


def test_where_a_case_was_scanned_is_a_column_if_known(tmp_path):
    assert "centre" not in printed(check_cohort(trees.isles2022(tmp_path / "a")), 200)
    out = printed(check_cohort(trees.manifest(tmp_path / "b")), 200)
    assert ["anna", "p-anna", "Bern"] in [line.split()[:3] for line in out.splitlines()]


def test_the_table_of_isles2022_fits_80_columns(tmp_path):
    out = printed(check_cohort(trees.isles2022(tmp_path)))
    assert ["sub-strokecase0001", "10x12x6", "2.00x2.00x5.00", "0.24", "sound"] in [
        line.split() for line in out.splitlines()
    ]


def test_the_report_is_the_same_from_one_process_and_from_several(tmp_path):
    root = trees.isles2022(tmp_path, (1, 2, 3, 150))
    trees.write(read_cohort(root).cases[2].images["ADC"], trees.brain(1, (9, 12, 6)))
    assert check_cohort(root, jobs=2) == check_cohort(root, jobs=1)


def test_a_format_is_named_on_the_command_line(tmp_path, capsys):
    root = trees.isles2022(tmp_path)
    assert main(["check", str(root), "--format", "isles2022"]) == 0
    assert main(["check", str(root), "--format", "isles2018"]) == 1
    assert "holds no cases (TRAINING" in capsys.readouterr().err


def test_names_and_numbers_stay_whole_beside_a_centre_on_80_columns(tmp_path):
    root = trees.isles2022(tmp_path)
    rows = "".join(f"sub-strokecase{number:04d},center_{number}\n" for number in (1, 2))
    (root / "center_ids.csv").write_text(f"subject,center\n{rows}")
    rows = [line.split() for line in printed(check_cohort(root)).splitlines()]
    assert ["sub-strokecase0002", "center_2", "10x12x6", "2.00x2.00x5.00", "0.24", "sound"] in rows
