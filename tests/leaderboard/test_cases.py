"""cases.csv: bytes, round trips and what is refused."""

import gzip

import numpy as np
import pandas as pd
import pytest

from leaderboard.cases import read_cases, seed_faults, sort_cases, synthetic_rows, write_cases
from leaderboard.columns import CASE_COLUMNS
from leaderboard.errors import InputError

HEADER = "method,case,patient,fold,status,dice,hausdorff_mm,precision,recall,avd_ml,reference_ml,predicted_ml"
SOUND = "a,case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0"


def write(path, *lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_the_first_columns_are_the_contract(tmp_path, build):
    write_cases(tmp_path / "cases.csv", build({"a": [{}]}))
    assert (tmp_path / "cases.csv").read_text().splitlines()[0].startswith(HEADER)
    assert ",".join(CASE_COLUMNS) == HEADER


def test_rows_are_sorted_by_method_then_natural_case_order(tmp_path, build):
    cases = build({"b": [{}] * 11, "a": [{}] * 2})
    write_cases(tmp_path / "cases.csv", cases.sample(frac=1, random_state=1))
    read = read_cases(tmp_path / "cases.csv")
    assert list(read["method"]) == ["a"] * 2 + ["b"] * 11
    assert list(read["case"][2:]) == [f"case_{number}" for number in range(1, 12)]


def test_same_rows_in_any_order_give_the_same_bytes(tmp_path, build):
    cases = build({"b": [{"dice": 1 / 3, "fold": 1}, {}], "a": [{"status": "missing"}, {}]})
    write_cases(tmp_path / "one.csv", cases)
    write_cases(tmp_path / "two.csv", cases.iloc[::-1].reset_index(drop=True))
    write_cases(tmp_path / "three.csv", read_cases(tmp_path / "one.csv"))
    contents = {(tmp_path / f"{name}.csv").read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1


def test_round_trip_keeps_every_bit(tmp_path, build):
    random = np.random.default_rng(3)
    values = [{"hausdorff_mm": float(v), "dice": float(d)} for v, d in random.random((500, 2)) * (1e3, 1)]
    cases = build({"a": values, 'b, "quoted"': [{}] * 500})
    write_cases(tmp_path / "cases.csv", cases)
    read = read_cases(tmp_path / "cases.csv")
    pd.testing.assert_frame_equal(read.reset_index(drop=True), cases.reset_index(drop=True), check_exact=True)


def test_undefined_values_are_empty_fields(tmp_path, build):
    write_cases(tmp_path / "cases.csv", build({"a": [{"status": "missing", "patient": None}]}))
    assert (tmp_path / "cases.csv").read_text().splitlines()[
        1
    ] == "a,case_1,,,missing,,,,,,10.0,,,,,1,,,,,200.0,,,,,,,,,,1,"


def test_folds_are_whole_numbers_or_empty(tmp_path, build):
    write_cases(tmp_path / "cases.csv", build({"a": [{"fold": 3}, {}]}))
    folds = read_cases(tmp_path / "cases.csv")["fold"]
    assert folds.iloc[0] == 3
    assert folds.isna().iloc[1]


def test_several_files_become_one_table_and_rows_know_where_they_are_from(tmp_path):
    one, two = write(tmp_path / "one.csv", SOUND), write(tmp_path / "two.csv", SOUND.replace("a,", "b,", 1))
    assert list(read_cases([one, two]).index) == [f"{one}:2", f"{two}:2"]


def test_the_contract_columns_alone_are_enough(tmp_path):
    assert len(read_cases(write(tmp_path / "cases.csv", SOUND, ""))) == 1


def test_sorting_leaves_a_table_of_one_row(build):
    assert len(sort_cases(build({"a": [{}]}))) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,case_1,P1,0,ok,high,10.0,0.5,0.5,1.0,10.0,11.0", r":3: dice is 'high'"),
        ("a,case_1,P1,0,ok,1.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: dice is '1.5': it must be a number between 0 and 1"),
        ("a,case_1,P1,0,ok,0.5,-1,0.5,0.5,1.0,10.0,11.0", r":3: hausdorff_mm is '-1'"),
        ("a,case_1,P1,0,ok,0.5,inf,0.5,0.5,1.0,10.0,11.0", r":3: hausdorff_mm is 'inf'"),
        ("a,case_1,P1,1.5,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: fold is '1.5'"),
        ("a,case_1,P1,0,fine,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: status is 'fine'"),
        ("a,case_1,P1,1e19,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: fold is '1e19': it must be a whole number"),
        ("a,case_1,P1,0,ok,0.5,1e308,0.5,0.5,1.0,10.0,11.0", r":3: hausdorff_mm is '1e308'"),
        (f"a,case_1,P1,{'9' * 5000},ok,0.5,1.0,0.5,0.5,1.0,10.0,11.0", r":3: fold is '9{60}…'"),
        (
            "=1+1,case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0",
            r":3: the method '=1\+1' begins a spreadsheet's formula",
        ),
        ("a,@case,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: the case '@case' begins a spreadsheet's formula"),
        ("a,case_1,-P,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: the patient '-P' begins a spreadsheet's formula"),
        ('"a\nb",case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0', r":3: the method 'a\\nb' holds a line break"),
        (",case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: method is empty"),
        ("a,,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0", r":3: case is empty"),
        ("a,case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,,11.0", r":3: reference_ml is empty"),
        ("a,case_1,P1", r":3: has 3 of 12 fields: the file was cut short"),
        ("a,case_1,P1,0,ok,0.5,10.0,0.5,0.5,1.0,10.0,11.0,7,8", r":3: has 14 fields where the table has 12"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_by_line(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_cases(write(tmp_path / "cases.csv", SOUND, line))


def test_every_problem_of_every_file_is_reported(tmp_path):
    one = write(tmp_path / "one.csv", SOUND.replace("0.5", "x"))
    with pytest.raises(InputError) as caught:
        read_cases([one, tmp_path / "two.csv"])
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{one}:2"] * 3 + [
        str(tmp_path / "two.csv")
    ]


def test_many_problems_are_cut_short(tmp_path):
    with pytest.raises(InputError) as caught:
        read_cases(write(tmp_path / "cases.csv", *[SOUND.replace("ok", "bad")] * 50))
    assert len(caught.value.problems) == 21
    assert "30 more problems" in caught.value.problems[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER.encode() + b"\n", "has no rows"),
        (b"dice,case\n1,case_1\n", r"lacks the column method \(it has dice, case\): add it"),
        (bytes(range(128, 256)), "is not a text file"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path, content, message):
    path = tmp_path / "cases.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_cases(path)


def test_a_table_that_is_cut_short_is_refused(tmp_path, build):
    path = tmp_path / "cases.csv"
    write_cases(path, build({"a": [{}] * 3}))
    whole = path.read_text()
    last = whole.splitlines()[-1]
    kept = ",".join(last.split(",")[:12])
    path.write_text(whole.replace(last, kept))
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert caught.value.problems == [
        f"{path}:4: has 12 of 32 fields: the file was cut short, or a field is missing: complete it"
    ]


def test_an_empty_last_field_is_a_field(tmp_path):
    assert len(read_cases(write(tmp_path / "cases.csv", SOUND.rpartition(",")[0] + ",", "", SOUND))) == 2


@pytest.mark.parametrize("name", ["x.zip", "x.csv.gz", "x.bz2"])
def test_the_name_of_a_table_says_nothing_about_compression(tmp_path, name):
    assert len(read_cases(write(tmp_path / name, SOUND))) == 1
    (tmp_path / name).write_bytes(gzip.compress(b"a"))
    with pytest.raises(InputError, match="is not a text file"):
        read_cases(tmp_path / name)


def test_a_file_that_is_given_twice_is_told_once(tmp_path):
    path = write(tmp_path / "cases.csv", SOUND)
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(InputError) as caught:
        read_cases([path, tmp_path / "link.csv"])
    assert caught.value.problems == [f"{tmp_path / 'link.csv'}: is given twice: name it once"]


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_cases(tmp_path)


def test_no_file_is_refused():
    with pytest.raises(InputError, match="name at least one"):
        read_cases([])


def test_whole_numbers_are_not_rounded(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEADER},reference_lesions\n{SOUND},1.5\n")
    with pytest.raises(InputError, match=r":2: reference_lesions is '1\.5': it must be a whole number"):
        read_cases(path)


def test_a_table_with_other_columns_in_another_order_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("seconds,dice,case,method\n3,0.5,c1,a\n")
    read = read_cases(path)
    assert (read["dice"].iloc[0], read["seconds"].iloc[0]) == (0.5, "3")
    assert (read["patient"].iloc[0], read["status"].iloc[0]) == ("", "ok")
    assert read["fold"].isna().all()


def test_the_mark_of_synthetic_rows_is_a_last_column_of_tables_that_have_any(tmp_path, build):
    cases = build({"a": [{"data": "synthetic"}, {}]})
    write_cases(tmp_path / "twin.csv", cases)
    header, first, second = (tmp_path / "twin.csv").read_text().splitlines()
    assert header.endswith(",lesion_count_difference_6,data")
    assert (first.rpartition(",")[2], second.rpartition(",")[2]) == ("synthetic", "")
    write_cases(tmp_path / "other.csv", build({"b": [{}, {}]}))
    assert "data" not in (tmp_path / "other.csv").read_text()
    both = read_cases([tmp_path / "twin.csv", tmp_path / "other.csv"])
    assert synthetic_rows(both).tolist() == [True, False, False, False]
    write_cases(tmp_path / "again.csv", read_cases(tmp_path / "twin.csv"))
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "twin.csv").read_bytes()


def test_rows_are_sorted_by_method_then_seed_then_case(tmp_path, build):
    cases = build({"b": [{}, {}], "a": [{"seed": seed, "case": f"c{case}"} for seed in (10, 2) for case in (10, 2)]})
    write_cases(tmp_path / "cases.csv", cases.sample(frac=1, random_state=1))
    read = read_cases(tmp_path / "cases.csv")
    assert list(zip(read["method"], read["seed"].fillna(-1), read["case"], strict=True)) == [
        ("a", 2, "c2"), ("a", 2, "c10"), ("a", 10, "c2"), ("a", 10, "c10"), ("b", -1, "case_1"), ("b", -1, "case_2")
    ]  # fmt: skip
    assert seed_faults(read) == []


def test_the_seed_is_a_column_of_tables_that_have_any_and_stands_before_the_mark(tmp_path, build):
    write_cases(tmp_path / "seeds.csv", build({"a": [{"seed": 0, "data": "synthetic"}], "b": [{"data": "synthetic"}]}))
    assert [line.split(",")[-2:] for line in (tmp_path / "seeds.csv").read_text().splitlines()] == [
        ["seed", "data"], ["0", "synthetic"], ["", "synthetic"]
    ]  # fmt: skip
    (tmp_path / "none.csv").write_text(f"{HEADER},seed\n{SOUND},\n")
    write_cases(tmp_path / "again.csv", read_cases(tmp_path / "none.csv"))
    assert (tmp_path / "again.csv").read_text() == f"{HEADER}\n{SOUND}\n"


@pytest.mark.parametrize("seed", ["-1", "0.5", "first"])
def test_a_seed_is_a_whole_number_from_0(tmp_path, seed):
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEADER},seed\n{SOUND},{seed}\n")
    with pytest.raises(InputError, match=rf":2: seed is '{seed}': it must be a whole number"):
        read_cases(path)


def test_a_method_has_seeds_in_all_rows_or_in_none_and_each_on_the_same_cases(build):
    mixed = {"a": [{"seed": 0}, {}], "b": [{}, {}]}
    assert seed_faults(build(mixed)) == [
        "a: 1 of its 2 rows have a seed: give each row its seed, or rename the method in the rows that have none"
    ]
    uneven = {"a": [{"seed": seed, "case": case} for seed, case in ((0, "c1"), (0, "c2"), (1, "c2"))]}
    assert seed_faults(build(uneven)) == [
        "a: has no row for c1 with the seed 1, which its other seeds have: score all its seeds on the same cases"
    ]


@pytest.mark.parametrize(("column", "value"), [("dice", 0.9), ("hd95_mm", 3.0), ("predicted_ml", 2.0)])
def test_a_missing_prediction_has_no_scores(tmp_path, build, column, value):
    path = tmp_path / "cases.csv"
    cases = build({"a": [{}, {"status": "missing"}]})
    cases.loc[cases["status"] == "missing", column] = value
    write_cases(path, cases)
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert caught.value.problems == [
        f"{path}:3: has the status missing, but {column} is '{value}': correct one of the two"
    ]
