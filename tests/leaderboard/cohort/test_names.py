"""A case's name, made and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.cohort.names import (
    case_name,
    is_mask_file,
    mask_stem,
    name_in_table,
    natural_key,
    number_of_folder,
    prediction_file,
    submitted_file,
    submitted_id,
)


def test_a_prediction_is_found_under_the_name_that_it_was_given():
    assert mask_stem(prediction_file(case_name(7))) == case_name(7)
    assert submitted_id(mask_stem(submitted_file("a.b", 345))) == "345"


@pytest.mark.parametrize("text", ["7", "007", "case_7", "CASE_007", "training_7", "test_07"])
def test_a_table_may_name_a_case_as_the_tree_does_or_by_its_number(text):
    assert name_in_table(text) == "case_7"


@pytest.mark.parametrize("text", ["sub-07", "case_7b", "case7", "", "7.5", "9" * 5000])
def test_other_names_in_a_table_are_taken_as_they_are(text):
    assert name_in_table(text) == text


@pytest.mark.parametrize(
    ("folder", "number"), [("case_7", 7), ("training_07", 7), ("TEST_0", 0), ("7", None), ("case_7 (copy)", None)]
)
def test_a_folder_of_a_case_says_its_number(folder, number):
    assert number_of_folder(folder) == number


@pytest.mark.parametrize(
    ("name", "stem"), [("case_007.nii.gz", "case_7"), ("Case_0.NRRD", "case_0"), ("7.nii", "7"), ("a.b.mha", "a.b")]
)
def test_a_mask_is_known_by_its_name_without_the_ending(name, stem):
    assert is_mask_file(name)
    assert mask_stem(name) == stem


@pytest.mark.parametrize("name", ["case_7.img", ".nii", "case_7.nii.bz2", "nii"])
def test_other_files_are_no_masks(name):
    assert not is_mask_file(name)


def test_natural_key_puts_2_before_10():
    names = ["case_10", "case_2", "case_1", "a10b2", "a10b10", "a9"]
    assert sorted(names, key=natural_key) == ["a9", "a10b2", "a10b10", "case_1", "case_2", "case_10"]


@given(st.permutations(["", "a", "case_2", "case_10", "²", "٣", "2", "10", "a²", "Case_2", "2a"]))
def test_natural_key_orders_any_names_in_one_way(names):
    assert sorted(names, key=natural_key) == ["", "2", "2a", "٣", "10", "Case_2", "a", "a²", "case_2", "case_10", "²"]


@given(st.lists(st.integers(0, 200), unique=True))
def test_natural_key_orders_numbers_as_numbers(numbers):
    names = sorted((f"case_{number}" for number in numbers), key=natural_key)
    assert names == [f"case_{number}" for number in sorted(numbers)]
