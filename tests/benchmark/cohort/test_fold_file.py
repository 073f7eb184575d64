"""What is wrong with a fold file."""

import re

import pytest

from benchmark.cohort.folds import read_fold_file
from leaderboard.errors import InputError

FAULTY = {
    "a column is missing": ("case,fold\ncase_1,0\n", ["lacks the column patient"]),
    "a case is there twice": ("case,patient,fold\ncase_1,a,0\ncase_2,b,1\ncase_1,a,0\n", ["line 4: 'case_1' is there"]),
    "a fold is a fraction": (
        "case,patient,fold\ncase_1,a,0\ncase_2,b,1.0\n",
        ["line 3: fold '1.0' is not a whole number"],
    ),
    "a fold is negative": ("case,patient,fold\ncase_1,a,0\ncase_2,b,-1\n", ["line 3: fold '-1' is not a whole number"]),
    "a fold is skipped": ("case,patient,fold\ncase_1,a,0\ncase_2,b,2\n", ["has the folds 0, 2"]),
    "folds start at 1": ("case,patient,fold\ncase_1,a,1\ncase_2,b,2\n", ["has the folds 1, 2"]),
    "there is one fold": ("case,patient,fold\ncase_1,a,0\n", ["has the folds 0:"]),
    "there are no rows": ("case,patient,fold\n", ["has the folds none"]),
    "a field is empty": ("case,patient,fold\ncase_1,,\ncase_2,b,1\n", ["line 2: patient and fold is empty"]),
    "a volume is no number": ("case,patient,fold,lesion_ml\ncase_1,a,0,big\ncase_2,b,1,-1\n", ["big", "-1"]),
    "two patients are split": (
        "case,patient,fold\ncase_1,a,0\ncase_2,a,1\ncase_3,b,1\ncase_4,b,0\n",
        [r"splits patient a \(case_1 in fold 0, case_2 in fold 1\)", r"splits patient b \(case_3 in fold 1, case_4"],
    ),
}


@pytest.mark.parametrize(("content", "faults"), FAULTY.values(), ids=FAULTY.keys())
def test_a_faulty_file_is_refused_with_every_problem(tmp_path, content, faults):
    path = tmp_path / "folds.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_fold_file(path)
    assert len(error.value.problems) == len(faults)
    for problem, fault in zip(error.value.problems, faults, strict=True):
        assert problem.startswith(f"{path}: ")
        assert re.search(fault, problem)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00case"])
def test_what_is_no_csv_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "f.csv").write_bytes(content)
    with pytest.raises(InputError):
        read_fold_file(tmp_path / "f.csv")
