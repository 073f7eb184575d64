import csv
from importlib import resources
from pathlib import Path

import pytest

from leaderboard.cohort.formats import read_cohort
from leaderboard.cohort.formats.isles2018 import case_table
from leaderboard.cohort.patients import known_patient, read_patients
from leaderboard.errors import InputError

KINDS_2018 = ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT")


def table_ids(partition, number):
    """Image ids by kind of a case of the packaged table, read apart from the code under test."""
    table = case_table()
    row = table[(table.partition == partition) & (table.case == number)].iloc[0]
    return {kind: int(row[f"id_{kind.lower()}"]) for kind in KINDS_2018 if row[f"id_{kind.lower()}"] > 0}


def test_packaged_table_holds_the_published_counts():
    table = case_table()
    training, testing = table[table.partition == "train"], table[table.partition == "test"]
    assert (len(table), len(training), len(testing)) == (156, 94, 62)
    assert (training.patient.nunique(), testing.patient.nunique()) == (63, 40)
    assert (training.slices.sum(), testing.slices.sum()) == (502, 282)
    assert set(table.slices) == {2, 4, 8, 16, 22}
    assert (training.groupby("patient").size().value_counts().to_dict()) == {1: 32, 2: 31}
    for partition in (training, testing):
        assert list(partition.case) == list(range(1, len(partition) + 1))
        slabs = partition.groupby("patient").case.agg(["min", "max", "size"])
        assert (slabs["max"] - slabs["min"] + 1 == slabs["size"]).all()


def test_a_changed_table_does_not_change_the_next_one():
    table = case_table()
    table["patient"] = 0
    assert case_table().patient.nunique() == 63


def test_patients_of_the_public_data_follow_the_table(isles_tree):
    root = isles_tree.folder
    for number in (17, 18, 19):
        isles_tree.case(root / "TRAINING" / f"case_{number}", table_ids("train", number))
    isles_tree.case(root / "TESTING" / "case_62", {**table_ids("test", 62)})
    assert [case.patient for case in read_cohort(root).cases] == ["13", "14", "14"]
    assert [case.patient for case in read_cohort(root, "testing").cases] == ["40"]


def test_every_public_case_is_recognised_by_its_ids():
    for row in case_table().itertuples():
        partition = {"train": "training", "test": "testing"}[row.partition]
        assert known_patient(partition, row.case, frozenset({int(row.id_ct_mtt)})) == str(row.patient)


def test_a_foreign_cohort_with_the_same_numbers_has_no_isles_patients(isles_tree):
    assert {case.patient for case in read_cohort(isles_tree(patients=None)).cases} == {None}


def test_ids_of_the_other_partition_are_foreign_too(isles_tree):
    isles_tree.case(isles_tree.folder / "TRAINING" / "case_1", {**table_ids("train", 2)})
    assert read_cohort(isles_tree.folder).cases[0].patient is None


def test_patients_csv_overrides_the_table_and_may_be_partial(isles_tree):
    root = isles_tree.folder
    for number in (1, 2):
        isles_tree.case(root / "TRAINING" / f"case_{number}", table_ids("train", number))
    (root / "patients.csv").write_text("note,case,patient\n,case_2, anna \n")
    assert [case.patient for case in read_cohort(root).cases] == ["1", "anna"]


def test_patients_csv_of_a_partition_speaks_for_that_partition_alone(isles_tree):
    isles_tree([1], partition="TRAINING", patients=lambda number: "train")
    root = isles_tree([1], partition="TESTING", patients=None)
    (root / "patients.csv").write_text("case,patient\ncase_1,both\n")
    assert read_cohort(root, "training").cases[0].patient == "train"
    assert read_cohort(root, "testing").cases[0].patient == "both"


def test_patients_csv_above_a_given_partition_is_found(isles_tree, monkeypatch):
    root = isles_tree([1], patients=None)
    (root / "patients.csv").write_text("case,patient\ncase_1,p\n")
    assert read_cohort(root / "TRAINING").cases[0].patient == "p"
    monkeypatch.chdir(root / "TRAINING")
    assert read_cohort(Path()).cases[0].patient == "p"


@pytest.mark.parametrize("spelling", ["case_7", "CASE_07", "7", "training_7"])
def test_patients_csv_may_spell_a_case_in_several_ways(isles_tree, spelling):
    root = isles_tree([7], patients=None)
    (root / "patients.csv").write_text(f"\ufeffcase,patient\n{spelling},p\n", encoding="utf-8")
    assert read_cohort(root).cases[0].patient == "p"


@pytest.mark.parametrize(
    "content",
    [
        b"case;patient\ncase_1;p\n",
        b"case,person\ncase_1,p\n",
        b"case,person\n",
        b"",
        b"case,patient\ncase_1\n",
        b"case,patient\n ,p\n",
        b"case,patient\ncase_1,J\xfcrgen\n",
        b"case,patient\ncase_1,p\n1,q\n",
    ],
)
def test_a_faulty_patients_csv_is_refused_in_one_line(isles_tree, content):
    root = isles_tree([1], patients=None)
    (root / "patients.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_cohort(root)
    assert error.value.problems == [str(error.value)]
    assert str(error.value).startswith(f"{root / 'patients.csv'}:")
    assert "\n" not in str(error.value)


def test_packaged_table_is_plain_csv_without_gaps_in_training():
    with resources.files("leaderboard.cohort.data").joinpath("isles2018_cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(all(row.values()) for row in rows if row["partition"] == "train")
    ids = [row[key] for row in rows for key in row if key.startswith("id_") and row[key]]
    assert len(ids) == len(set(ids))


def test_a_name_that_is_not_allowed_is_told_with_file_line_and_kind(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("case,patient\n1,a\n2,=cmd\n@3,b\n")
    with pytest.raises(InputError) as caught:
        read_patients([tmp_path], [])
    assert [problem.partition(" begins ")[0] for problem in caught.value.problems] == [
        f"{path}:3: the patient '=cmd'", f"{path}:4: the case '@3'"
    ]  # fmt: skip
