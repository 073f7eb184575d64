import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trees
from hypothesis import given, settings
from patients import cohorts, spread

from benchmark.cohort import folds as folds_module
from benchmark.cohort.folds import (
    FoldCase,
    Folds,
    case_folds,
    centre_folds,
    check_folds_against,
    folds_bytes,
    isles2018_folds,
    isles2022_folds,
    make_folds,
    measure_cohort,
    read_fold_file,
    write_fold_file,
)
from benchmark.suite.config import read_suite
from benchmark.suite.config_files import shipped_configs
from leaderboard.cohort.formats import read_cohort
from leaderboard.cohort.formats.isles2018 import case_table
from leaderboard.cohort.names import natural_key
from leaderboard.errors import InputError

COMMITTED = Path(__file__).parents[3] / "configs" / "folds" / "isles2018.csv"


@settings(max_examples=60, deadline=None)
@given(cohorts())
def test_every_case_is_validated_once_and_patients_stay_whole(drawn):
    cases, number, seed = drawn
    folds = make_folds(cases, number, seed)
    names = sorted((case.case for case in cases), key=natural_key)
    assert folds.number_of_folds == number
    assert sorted((c for fold in range(number) for c in folds.validation(fold)), key=natural_key) == names
    for fold in range(number):
        training, validation = folds.training(fold), folds.validation(fold)
        assert sorted(training + validation, key=natural_key) == names
        assert not {folds.patient_of[c] for c in training} & {folds.patient_of[c] for c in validation}
    assert folds.split_patients == {}


@pytest.mark.parametrize(
    ("cases", "number", "fault"),
    [
        ([("case_1", "a", 1.0), ("case_2", "b", 1.0)], 1, "ask for at least 2"),
        ([("case_1", "a", 1.0), ("case_2", "b", 1.0)], 3, "there are 2 patients"),
        ([("case_1", "a", 1.0), ("case_1", "b", 1.0)], 2, "case_1 there twice"),
        ([("case_1", "a", 1.0), ("case_2", "", 1.0)], 2, "patient of case_2 is unknown"),
    ],
)
def test_what_cannot_be_dealt_is_refused(cases, number, fault):
    with pytest.raises(InputError, match=fault):
        make_folds(cases, number, 0)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_not_there_is_refused(fold):
    with pytest.raises(InputError, match="choose one of 0 to 4"):
        isles2018_folds().validation(fold)


@settings(max_examples=30, deadline=None)
@given(cohorts())
def test_a_file_gives_back_what_was_written(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("folds") / "folds.csv"
    folds = make_folds(*drawn)
    write_fold_file(path, folds)
    assert read_fold_file(path) == folds
    assert read_fold_file(path).digest == folds.digest
    content = path.read_bytes()
    write_fold_file(path, read_fold_file(path))
    assert path.read_bytes() == content


def test_the_digest_follows_the_split_alone(tmp_path):
    rows = ["case_1,a,0,1.5", "case_2,a,0,", "case_10,b,1,2"]

    def digest(*rows, header="case,patient,fold,lesion_ml"):
        (tmp_path / "f.csv").write_text("\n".join([header, *rows]) + "\n")
        return read_fold_file(tmp_path / "f.csv").digest

    assert digest(*rows) == digest(*rows[::-1]) == digest("case_1, a ,0,9", *rows[1:], "", ",,,")
    assert digest(*rows) == digest("0,case_1,a", "0,case_2,a", "1,case_10,b", header="fold,case,patient")
    others = {
        digest("case_1,a,1,", "case_2,a,1,", "case_10,b,0,"),
        digest("case_1,c,0,", "case_2,c,0,", "case_10,b,1,"),
        digest("case_1,a,0,", "case_3,a,0,", "case_10,b,1,"),
    }
    assert len(others | {digest(*rows)}) == 4
    # Hand-computed with sha256sum, so that a digest in an old result can always be told.
    assert digest("case_1,a,0,", "case_2,b,1,") == "123bd0c353e45fb4add49aa7a8a5024106a80dfe0dcfdb893e8c4365668ac418"


def test_leaky_folds_are_read_only_on_demand_and_stay_marked(tmp_path):
    (tmp_path / "f.csv").write_text("case,patient,fold\ncase_18,14,0\ncase_19,14,1\n")
    with pytest.raises(InputError, match="--allow-leaky-folds"):
        read_fold_file(tmp_path / "f.csv")
    assert read_fold_file(tmp_path / "f.csv", allow_leaky=True).split_patients == {"14": ("case_18", "case_19")}


def test_folds_by_case_are_balanced_split_patients_and_say_so():
    cases = [FoldCase(f"case_{number}", f"p{number // 2}", 1.0 + number) for number in range(20)]
    folds = case_folds(cases, 2, seed=0)
    assert sorted(folds.fold_of.values()) == [0] * 10 + [1] * 10
    assert folds.patient_of == {case.case: case.patient for case in cases}
    together = [patient for patient in {case.patient for case in cases} if patient not in folds.split_patients]
    assert 0 < len(folds.split_patients) == 10 - len(together)
    assert not make_folds(cases, 2, seed=0).split_patients
    assert case_folds(cases[::2], 2, seed=0).split_patients == {}  # one case a patient: nothing leaks


def test_folds_must_be_those_of_the_cohort(isles_tree):
    cohort = read_cohort(isles_tree([1, 2, 3, 4]))  # patients P1, P1, P2, P2
    check_folds_against(make_folds(measure_cohort(cohort), 2, 0), cohort)
    fold_of = {"case_1": 0, "case_2": 0, "case_3": 1, "case_9": 1}
    patient_of = {"case_1": "P1", "case_2": "P1", "case_3": "P7", "case_9": "P2"}
    with pytest.raises(InputError) as error:
        check_folds_against(Folds(fold_of, patient_of, source="f.csv"), cohort)
    assert error.value.problems == [
        f"f.csv: {cohort.root} has no case_9: remove the rows",
        f"f.csv: gives no fold to case_4 of {cohort.root}: add the rows",
        f"f.csv: case_3 is of patient P7 here and of patient P2 in {cohort.root}: "
        "correct the row, or name the patient in patients.csv",
    ]


def test_a_cohort_without_patients_cannot_be_folded(isles_tree):
    cohort = read_cohort(isles_tree([1, 2], patients=None))
    folds = Folds({"case_1": 0, "case_2": 1}, {"case_1": "1", "case_2": "2"})
    for refuse in (measure_cohort, lambda cohort: check_folds_against(folds, cohort)):
        with pytest.raises(InputError, match="patient of case_2 is unknown") as error:
            refuse(cohort)
        assert len(error.value.problems) == 2


def test_a_cohort_without_references_cannot_be_measured(isles_tree):
    with pytest.raises(InputError, match="no reference in case_1"):
        measure_cohort(read_cohort(isles_tree([1], partition="TESTING")))


def test_measured_cases_carry_volume_and_slices(isles_tree):
    (item,) = measure_cohort(read_cohort(isles_tree([1], spacing=(0.5, 0.5, 5.0))))
    assert item == ("case_1", "P1", pytest.approx(6 * 0.5 * 0.5 * 5 / 1000), 2, None)


def test_committed_isles2018_folds_are_what_the_code_writes(tmp_path):
    write_fold_file(tmp_path / "isles2018.csv", isles2018_folds())
    assert (tmp_path / "isles2018.csv").read_bytes() == COMMITTED.read_bytes()


def test_isles2018_folds_fit_the_published_cohort():
    folds = read_fold_file(COMMITTED)
    table = case_table()
    table = table[table.partition == "train"]
    assert folds.cases == tuple(f"case_{number}" for number in range(1, 95))
    assert folds.patient_of == {f"case_{n}": str(p) for n, p in zip(table.case, table.patient, strict=True)}
    slices = {f"case_{n}": s for n, s in zip(table.case, table.slices, strict=True)}
    assert sorted(len(folds.validation(fold)) for fold in range(5)) == [18, 19, 19, 19, 19]
    patients = [{folds.patient_of[case] for case in folds.validation(fold)} for fold in range(5)]
    assert sorted(map(len, patients)) == [12, 12, 13, 13, 13]
    assert spread(slices, folds.fold_of) <= 6  # of about 100 slices a fold


@pytest.mark.parametrize(("name", "number"), [("isles2018", 5), ("isles2018-4fold", 4)])
def test_the_folds_of_a_shipped_suite_split_no_patient_of_isles2018(name, number):
    suite = read_suite(shipped_configs() / f"{name}.yaml")
    table = case_table().query("partition == 'train'")
    cases = [(f"case_{case}", str(patient), None) for case, patient in zip(table.case, table.patient, strict=True)]
    if suite.folds_file:
        folds = read_fold_file(shipped_configs() / suite.folds_file)
    else:
        folds = make_folds(cases, suite.folds_number, suite.seed)
    folds_of_patient = {}
    for case, patient, _ in cases:
        folds_of_patient.setdefault(patient, set()).add(folds.fold_of[case])
    assert len(folds_of_patient) == 63
    assert [len(found) for found in folds_of_patient.values()] == [1] * 63
    assert set.union(*folds_of_patient.values()) == set(range(number))


def test_folds_need_neither_torch_nor_training():
    code = (
        "import sys, benchmark.cohort.folds, benchmark.cohort.check;"
        "assert not {'torch', 'pytorch_lightning', 'torchio', 'SimpleITK', 'pandas'} & set(sys.modules)"
    )
    root = Path(folds_module.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_the_committed_folds_of_isles2022_are_those_that_are_made_without_the_data():
    committed = COMMITTED.with_name("isles2022.csv")
    assert committed.read_bytes() == folds_bytes(isles2022_folds())
    folds = read_fold_file(committed)
    assert folds.cases == tuple(f"sub-strokecase{number:04d}" for number in range(1, 251))
    assert [len(folds.validation(fold)) for fold in range(5)] == [50] * 5


def centred(sizes, seed=0):
    """Cases of single patients of centres of these sizes, with volumes."""
    rng = random.Random(seed)
    names = [(f"{centre}-{number}", centre) for centre, size in sizes.items() for number in range(size)]
    return [FoldCase(name, name, round(rng.lognormvariate(2, 1.5), 3), 1, centre) for name, centre in names]


@pytest.mark.parametrize("sizes", [{"A": 198, "B": 52}, {"A": 13, "B": 4, "C": 9}, {"A": 3, "B": 3, "C": 3}])
def test_each_centre_is_spread_evenly_over_folds_of_equal_size(sizes):
    cases = centred(sizes)
    folds = make_folds(cases, 5, 0)
    per_fold = Counter(folds.fold_of.values())
    assert max(per_fold.values()) - min(per_fold[fold] for fold in range(5)) <= 1
    for centre in sizes:
        own = Counter(folds.fold_of[case.case] for case in cases if case.centre == centre)
        assert max(own.values()) - min(own[fold] for fold in range(5)) <= 1


def test_volumes_are_balanced_beside_centres():
    cases = centred({"A": 198, "B": 52})
    volumes = {case.case: case.lesion_ml for case in cases}
    without = make_folds([case._replace(centre=None) for case in cases], 5, 0)
    whole = sum(volumes.values())
    assert spread(volumes, make_folds(cases, 5, 0).fold_of) < whole / 5 * 0.05
    assert spread(volumes, without.fold_of) < whole / 5 * 0.05


def test_each_centre_can_be_a_fold():
    cases = centred({"B": 2, "A": 3})
    folds = centre_folds(cases)
    assert folds.validation(0) == ("A-0", "A-1", "A-2")
    assert folds.validation(1) == ("B-0", "B-1")
    assert folds.lesion_ml_of["A-0"] == cases[2].lesion_ml


@pytest.mark.parametrize(
    ("cases", "fault"),
    [
        ([FoldCase("a", "a", centre="A"), FoldCase("b", "b")], "the centre of b is unknown"),
        ([FoldCase("a", "a", centre="A"), FoldCase("b", "b", centre="A")], "all cases are of A"),
        ([FoldCase("a", "p", centre="A"), FoldCase("b", "p", centre="B")], "patients p were scanned at several"),
    ],
)
def test_folds_by_centre_need_a_centre_of_each_patient_and_two_of_them(cases, fault):
    with pytest.raises(InputError, match=fault):
        centre_folds(cases)


def test_a_measured_cohort_tells_its_centres(tmp_path):
    assert [case.centre for case in measure_cohort(read_cohort(trees.manifest(tmp_path)))] == ["Bern", "Bern"]


@pytest.mark.parametrize(("case", "patient"), [("=1+1", "P1"), ("case_1", "@P"), ("a\nb", "P1")])
def test_a_fold_file_holds_no_name_that_a_spreadsheet_executes(case: str, patient: str) -> None:
    with pytest.raises(InputError, match=r"begins a spreadsheet's formula|holds a line break"):
        folds_bytes(Folds({case: 0}, {case: patient}, {case: 1.0}, "x"))
