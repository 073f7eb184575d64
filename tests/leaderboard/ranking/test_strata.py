"""Which case belongs to which stratum."""

import pytest

from leaderboard.errors import InputError
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.strata import rank_strata, split


def sizes(build, *volumes, method="a"):
    return build({method: [{"reference_ml": volume} for volume in volumes]})


def test_a_volume_on_a_limit_belongs_to_the_larger(build):
    found = split(sizes(build, 4.999, 5.0, 19.9, 20.0, 69.9, 70.0, 300.0, 0.0), "size")
    assert {name: rows["case"].tolist() for name, rows in found.items()} == {
        "below 5 mL": ["case_1", "case_8"],
        "5 to 20 mL": ["case_2", "case_3"],
        "20 to 70 mL": ["case_4", "case_5"],
        "70 mL and more": ["case_6", "case_7"],
    }


def test_strata_without_cases_are_left_out(build):
    assert list(split(sizes(build, 1.0, 100.0), "size")) == ["below 5 mL", "70 mL and more"]


def test_a_case_is_in_the_same_stratum_for_all_methods(build):
    cases = build({"a": [{"reference_ml": 5.0}], "b": [{"reference_ml": 5.0 - 1e-9}]})
    assert {name: len(rows) for name, rows in split(cases, "size").items()} == {"5 to 20 mL": 2}


def test_folds_are_strata_in_their_order(build):
    cases = build({name: [{"fold": 10}, {"fold": 2}, {"fold": 10}] for name in "ab"})
    found = split(cases, "fold")
    assert {name: sorted(set(rows["case"])) for name, rows in found.items()} == {
        "fold 2": ["case_2"],
        "fold 10": ["case_1", "case_3"],
    }


@pytest.mark.parametrize(
    ("folds", "where"),
    [
        ({"a": 0, "b": 1}, "fold 0 and in fold 1"),
        ({"a": 3, "b": None}, "fold 3 and in no fold"),
        ({"a": None, "b": None}, "no fold"),
    ],
)
def test_a_case_without_one_fold_is_refused(build, folds, where):
    cases = build({name: [{"fold": fold}, {"fold": 5}] for name, fold in folds.items()})
    with pytest.raises(InputError) as caught:
        split(cases, "fold")
    assert caught.value.problems == [f"case_1 is in {where}: give it one fold for all methods to rank by fold"]


def test_cases_with_the_same_fault_are_one_line(build):
    cases = build({"a": [{"fold": None}] * 8 + [{"fold": 1}], "b": [{"fold": None}] * 7 + [{"fold": 0}, {"fold": 1}]})
    with pytest.raises(InputError) as caught:
        split(cases, "fold")
    assert caught.value.problems == [
        "case_1, case_2, case_3, case_4, case_5 and 2 more are in no fold: give each one fold for all methods to rank "
        "by fold",
        "case_8 is in fold 0 and in no fold: give it one fold for all methods to rank by fold",
    ]


def test_without_any_fold_the_remedy_is_to_score_with_folds(build):
    with pytest.raises(InputError) as caught:
        split(build({"a": [{}] * 30}), "fold")
    assert caught.value.problems == ["no case has a fold: score with --folds CSV to rank by fold"]


def test_unknown_strata_are_refused(build):
    with pytest.raises(InputError, match="the strata age are unknown"):
        split(sizes(build, 1.0), "age")


def test_rows_that_cannot_be_compared_are_refused_as_a_whole(build):
    with pytest.raises(InputError, match="b: has no row for case_2"):
        split(build({"a": [{}, {}], "b": [{}]}), "size")


def test_each_stratum_is_ranked_by_its_own_cases(build):
    cases = build(
        {
            "a": [{"dice": 0.9, "reference_ml": 1}, {"dice": 0.1, "reference_ml": 90}],
            "b": [{"dice": 0.5, "reference_ml": 1}, {"dice": 0.6, "reference_ml": 90}],
        }
    )
    found = rank_strata(cases, "size", RankingOptions(resamples=20, scheme="rank-then-mean", metrics=["dice"]))
    assert [table["method"].tolist() for table in found.values()] == [["a", "b"], ["b", "a"]]
    alone = rank_methods(
        cases[cases["reference_ml"] < 5], RankingOptions(resamples=20, scheme="rank-then-mean", metrics=["dice"])
    )
    assert found["below 5 mL"].equals(alone)
