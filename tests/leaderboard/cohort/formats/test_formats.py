"""Which format a folder is in, and what each format makes of its tree."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import trees

from leaderboard.cohort.formats import FORMATS, find_format, read_cohort, scan_cohort
from leaderboard.cohort.kinds import adc_factor, shown_by
from leaderboard.errors import InputError

WRITERS = {name: getattr(trees, name) for name in ("isles2022", "isles2024", "isles2026", "nnunet", "manifest")}


def test_every_format_but_those_of_smir_is_tried_here():
    assert set(WRITERS) == set(FORMATS) - {"isles2017", "isles2018"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_tree_is_taken_for_its_own_format_alone(tmp_path, name):
    root = WRITERS[name](tmp_path)
    assert find_format(root)[0].name == name
    assert [other for other, form in FORMATS.items() if form.find(root)] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_every_case_has_its_images_its_reference_and_a_grid(tmp_path, name):
    cohort = read_cohort(WRITERS[name](tmp_path))
    assert cohort.partition == "training"
    assert len(cohort.cases) == 2
    for case in cohort.cases:
        assert tuple(case.images) == cohort.channels
        assert case.grid in case.images
        assert case.reference.is_file()
        assert case.patient


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_image_is_told_with_its_case(tmp_path, name):
    root = WRITERS[name](tmp_path)
    case = read_cohort(root).cases[1]
    kind, path = list(case.images.items())[-1]
    path.unlink()
    problems = scan_cohort(root).problems
    assert {problem.case for problem in problems} == {case.name}
    assert any(kind in problem.text for problem in problems)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_that_is_named_is_not_guessed(tmp_path, name):
    root = WRITERS[name](tmp_path)
    assert read_cohort(root, format_name=name) == read_cohort(root)
    with pytest.raises(InputError, match=r"holds no cases \(TRAINING"):
        read_cohort(root, format_name="isles2018")
    with pytest.raises(InputError, match="there is no format isles1999: choose among"):
        read_cohort(root, format_name="isles1999")


@pytest.mark.parametrize("name", ["isles2018", *WRITERS])
def test_patients_csv_says_whose_a_case_is(tmp_path, isles_tree, name):
    root = isles_tree([1, 2], patients=None) if name == "isles2018" else WRITERS[name](tmp_path)
    first = read_cohort(root).cases[0].name
    (root / "patients.csv").write_text(f"case,patient\n{first},anna b\n")
    if name != "manifest":  # which has a column for it
        assert read_cohort(root).cases[0].patient == "anna b"


@pytest.mark.parametrize("name", ["nnunet", "manifest"])
@pytest.mark.parametrize(("case", "written"), [("case_001", "case_001"), ("003", "003"), ("003", "3")])
def test_patients_csv_is_heeded_for_names_with_leading_zeros(tmp_path, name, case, written):
    root = WRITERS[name](tmp_path, names=(case, "other_2"))
    if name == "manifest":
        text = (root / "cohort.csv").read_text()
        (root / "cohort.csv").write_text(text.replace("p-", "").replace(f"{case},{case},", f"{case},,"))
    (root / "patients.csv").write_text(f"case,patient\n{written},anna\n")
    assert read_cohort(root).cases[0].patient == "anna"


def test_an_exact_name_comes_before_one_that_is_alike(tmp_path):
    root = trees.nnunet(tmp_path, names=("1", "01"))
    (root / "patients.csv").write_text("case,patient\n01,anna\n1,bert\n")
    assert {case.name: case.patient for case in read_cohort(root).cases} == {"01": "anna", "1": "bert"}


def test_rows_of_patients_csv_that_name_no_case_are_known(tmp_path):
    root = trees.nnunet(tmp_path, names=("a_1", "a_2"))
    (root / "patients.csv").write_text("case,patient\na_1,anna\na_3,anna\n")
    assert read_cohort(root).strangers == ("a_3",)


def test_cases_with_the_same_number_in_their_names_have_numbers_of_their_own(tmp_path):
    cases = read_cohort(trees.nnunet(tmp_path, names=("anna_1", "bert_1", "carl_2"))).cases
    assert len({case.number for case in cases}) == 3
    assert cases[2].number == 2


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("isles2022", "center_ids.csv"),
        ("isles2024", "train/phenotype/sub-stroke0001/ses-01/sub-stroke0001_ses-01_demographic_baseline.csv"),
        ("manifest", "cohort.csv"),
        ("nnunet", "patients.csv"),
    ],
)
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"case;patient\na_1;anna\n", "separated by ';': save it with commas"),
        ("case,patient\na_1,anna\n".encode("utf-16"), "but in UTF-16: save it as CSV in UTF-8"),
        (b"case,patient\na_1,anna,12,5\n", r"has 4 fields where the table has 2 columns"),
    ],
)
def test_a_table_of_a_cohort_that_a_spreadsheet_spoilt_is_refused_by_cause(tmp_path, name, table, content, cause):
    path = WRITERS[name](tmp_path) / table
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=cause) as refused:
        read_cohort(tmp_path)
    assert str(path) in refused.value.problems[0]


# ISLES 2022


def test_both_layouts_of_isles2022_hold_the_same_cases(tmp_path):
    new = read_cohort(trees.isles2022(tmp_path / "new"))
    old = read_cohort(trees.isles2022(tmp_path / "old", old=True))
    for one, other in zip(new.cases, old.cases, strict=True):
        assert (one.name, one.number, one.patient, one.grid) == (other.name, other.number, other.patient, other.grid)
        assert list(one.images) == list(other.images) == ["DWI", "ADC", "FLAIR"]


@pytest.mark.parametrize("below", ["ISLES-2022", "."])
def test_isles2022_is_found_from_either_folder(tmp_path, below):
    trees.isles2022(tmp_path)
    assert len(read_cohort(tmp_path / below).cases) == 2


def test_isles2022_has_its_centres_from_the_workbook_or_a_csv(tmp_path):
    import openpyxl

    root = trees.isles2022(tmp_path / "cohort")
    assert [case.centre for case in read_cohort(root).cases] == [None, None]
    (root / "center_ids.csv").write_text("subject,center\nsub-strokecase0002,B\nsub-strokecase0001,A\n")
    assert [case.centre for case in read_cohort(root).cases] == ["A", "B"]
    (root / "center_ids.csv").unlink()
    book = openpyxl.Workbook()
    for row in (["Case", "Center ID"], ["sub-strokecase0001", 1], ["sub-strokecase0002", 2]):
        book.active.append(row)
    book.save(root / "center_ids.xlsx")
    assert [case.centre for case in read_cohort(root).cases] == ["1", "2"]


def test_a_damaged_workbook_is_refused_by_name(tmp_path):
    root = trees.isles2022(tmp_path / "cohort")
    (root / "center_ids.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"center_ids.xlsx: cannot be read as a workbook"):
        read_cohort(root)


def test_a_workbook_that_unpacks_to_too_much_is_refused_unread(tmp_path):
    root = trees.isles2022(tmp_path / "cohort")
    with zipfile.ZipFile(root / "center_ids.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(17 << 20))
    with pytest.raises(InputError, match=r"center_ids.xlsx: unpacks to more than 16 MiB"):
        read_cohort(root)


@pytest.mark.parametrize("place", [(10_001, 1), (1, 201)])
def test_a_workbook_of_too_many_rows_or_columns_is_refused(tmp_path, place):
    import openpyxl

    root = trees.isles2022(tmp_path / "cohort")
    book = openpyxl.Workbook()
    book.active.cell(*place, "x")
    book.save(root / "center_ids.xlsx")
    with pytest.raises(InputError, match=r"center_ids.xlsx: has more than 10000 rows or 200 columns"):
        read_cohort(root)


def test_a_sheet_that_claims_millions_of_rows_is_read_no_further_than_the_limit(tmp_path):
    import openpyxl

    root = trees.isles2022(tmp_path / "cohort")
    book = openpyxl.Workbook()
    for row in (["Case", "Center ID"], ["sub-strokecase0001", 1]):
        book.active.append(row)
    book.active.cell(1_048_576, 16_384, "x")
    book.save(root / "center_ids.xlsx")
    assert [case.centre for case in read_cohort(root).cases] == ["1", None]


def test_isles2022_without_references_is_for_testing(tmp_path):
    root = trees.isles2022(tmp_path)
    shutil.rmtree(root / "ISLES-2022" / "derivatives")
    cohort = read_cohort(root)
    assert (cohort.partition, [case.reference for case in cohort.cases]) == ("testing", [None, None])


def test_isles2022_takes_predictions_named_like_the_dwi_image(tmp_path):
    case = read_cohort(trees.isles2022(tmp_path)).cases[0]
    assert case.other_names == ("sub-strokecase0001_ses-0001_dwi",)
    assert FORMATS["isles2022"].submitted_file(case, "x") == "sub-strokecase0001_ses-0001_dwi.nii.gz"


# ISLES 2024


def test_isles2024_leaves_the_mask_in_the_grid_of_the_mri_aside(tmp_path):
    root = trees.isles2024(tmp_path)
    case = read_cohort(root).cases[0]
    trees.write(case.reference.with_name(f"{case.name}_ses-02_lesion-msk.nii"), trees.lesion((4, 4, 4)))
    assert read_cohort(root).cases[0].reference == case.reference


def test_isles2024_takes_the_mask_of_early_versions(tmp_path):
    root = trees.isles2024(tmp_path)
    case = read_cohort(root).cases[0]
    early = case.reference.with_name(f"{case.name}_ses-02_lesion-msk.nii.gz")
    case.reference.rename(early)
    assert read_cohort(root).cases[0].reference == early


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_isles2024_has_its_centre_from_the_tables_of_its_patients(tmp_path, ending):
    import openpyxl

    root = trees.isles2024(tmp_path)
    name = read_cohort(root).cases[0].name
    table = root / "train/phenotype" / name / "ses-01" / f"{name}_ses-01_demographic_baseline.{ending}"
    table.parent.mkdir(parents=True)
    if ending == "csv":
        table.write_text("Age,Center,Sex\n70,Zurich,M\n")
    else:
        book = openpyxl.Workbook()
        for row in (["Age", "Center"], [70, "Zurich"]):
            book.active.append(row)
        book.save(table)
    assert [case.centre for case in read_cohort(root).cases] == ["Zurich", None]


# ISLES 2026


def test_the_site_of_isles2026_is_the_centre(tmp_path):
    cases = read_cohort(trees.isles2026(tmp_path)).cases
    assert [(case.name, case.centre) for case in cases] == [("sub-r009s001", "R009"), ("sub-soop0910", "SOOP")]


def test_isles2026_is_found_from_either_folder(tmp_path):
    root = trees.isles2026(tmp_path)
    assert read_cohort(root / "ATLAS3_Training_Raw").channels == read_cohort(root).channels == ("T1w",)


# nnU-Net


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"channel_names": None}, "names no channels"),
        ({"channel_names": {"0": "DWI", "2": "ADC"}}, "names no channels"),
        ({"channel_names": {"0": "DWI", "1": "DWI"}}, "two channels alike"),
        ({"labels": {"background": 0, "core": 1, "penumbra": 2}}, "other labels"),
        ({"file_ending": ".png"}, "file_ending .png is not read"),
    ],
)
def test_a_dataset_json_that_cannot_be_used_is_refused(tmp_path, change, fault):
    root = trees.nnunet(tmp_path)
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"dataset.json: .*{fault}"):
        read_cohort(root)


def test_a_dataset_json_of_no_sensible_length_is_refused_unread(tmp_path):
    root = trees.nnunet(tmp_path)
    (root / "dataset.json").write_bytes(b" " * (17 << 20))
    with pytest.raises(InputError, match=r"dataset.json: is larger than the 16 MiB that are read"):
        read_cohort(root)


def test_images_for_testing_are_a_partition_of_their_own(tmp_path):
    root = trees.nnunet(tmp_path)
    shutil.copytree(root / "imagesTr", root / "imagesTs")
    cohort = read_cohort(root, "testing")
    assert [case.reference for case in cohort.cases] == [None, None]


# manifest


def test_a_manifest_says_patient_and_centre(tmp_path):
    case = read_cohort(trees.manifest(tmp_path)).cases[0]
    assert (case.name, case.patient, case.centre) == ("anna", "p-anna", "Bern")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("case\nanna\n", "needs a column case"),
        ("DWI\nx.nii\n", "needs a column case"),
        ("case,DWI\nanna,x.nii\nanna,y.nii\n", "anna is there twice"),
        ("case,DWI\n../anna,x.nii\n", "is no name of a case"),
        ("case,DWI\nanna,x.nii\n", "DWI is x.nii, which is no file"),
        ("case,DWI\nanna,\n", "DWI is missing: fill in its path"),
    ],
)
def test_a_faulty_manifest_is_refused_by_name(tmp_path, content, fault):
    (tmp_path / "cohort.csv").write_text(content)
    with pytest.raises(InputError, match=fault):
        read_cohort(tmp_path)


def test_rows_without_a_reference_are_for_testing(tmp_path):
    root = trees.manifest(tmp_path)
    with (root / "cohort.csv").open("a") as file:
        file.write("new,p,Bern,images/anna-dwi.nii.gz,images/anna-adc.nii.gz,\n")
    assert [case.name for case in read_cohort(root, "testing").cases] == ["new"]
    assert [case.name for case in read_cohort(root, "training").cases] == ["anna", "bert"]


# what images show


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_unit_of_an_adc_map_is_known_by_its_values(unit):
    adc = np.concatenate(
        [np.random.default_rng(0).normal(0.8, 0.15, 9000).clip(0.1), np.full(400, 2.8), np.zeros(5000)]
    )
    assert adc_factor(adc * unit) * unit == pytest.approx(1)


def test_an_empty_adc_map_stays_as_it_is():
    assert adc_factor(np.zeros(9)) == 1


@pytest.mark.parametrize(
    ("name", "shows"),
    [("CT_Tmax", "Tmax"), ("MR_rCBF", "CBF"), ("NCCT", "CT"), ("T1w", "T1w"), ("dwi b1000", "DWI"), ("CTP", None)],
)
def test_a_word_in_its_name_tells_what_an_image_shows(name, shows):
    assert shown_by(name) == shows
