"""Ranking against hand-computed tables, the published table's arithmetic, and every refusal."""

import math

import numpy as np
import pytest
from scipy import stats

from leaderboard.cases import cases_frame
from leaderboard.columns import METRICS
from leaderboard.errors import InputError
from leaderboard.ranking.exact import comparable, competition_ranks, means, standard_deviations
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.ranks import analyse, rank_methods
from leaderboard.ranking.reading import check_comparable, left_out
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report.published import read_published

NAN = float("nan")


def order(table):
    return dict(zip(table["method"], table["rank"].astype(int), strict=True))


# By row of the quoted table: undefined distances of 62; what to add to the printed mean within its last digit so that
# the SD rounds as printed; and the mean where the printed one is a misprint.
UNDEFINED = (12, 12, 12, 10, 12)
WITHIN_DIGIT = (0.0045, 0.0, 0.0, 0.0, 0.0)
MISPRINTS = {2: 19354856.55}


@pytest.mark.parametrize("number", range(5))
def test_published_hausdorff_mean_and_sd_come_out_to_the_printed_digits(build, number):
    quoted = read_published("isles2018").table.iloc[number]
    mean, undefined = MISPRINTS.get(number, float(quoted["hausdorff_mm_mean"])), UNDEFINED[number]
    finite = ((mean + WITHIN_DIGIT[number]) * 62 - undefined * 1e8) / (62 - undefined)
    empty = {"status": "empty_prediction", "dice": 0, "precision": NAN, "recall": 0, "hausdorff_mm": NAN}
    table = rank_methods(build({"me": [empty] * undefined + [{"hausdorff_mm": finite}] * (62 - undefined)}))
    row = table.iloc[0]
    assert f"{row['hausdorff_mm_mean']:.2f}" == f"{mean:.2f}"
    assert f"{row['hausdorff_mm_sd']:.2f}" == quoted["hausdorff_mm_sd"]
    assert row["hausdorff_mm_undefined"] == undefined
    assert row["hausdorff_mm_defined_mean"] == pytest.approx(finite, abs=1e-6)


def test_tied_methods_stand_in_natural_order(build):
    cases = build({name: [{}] for name in ("m_10", "m_2", "m_1")} | {"a": [{"dice": 0.1}]})
    assert list(rank_methods(cases, RankingOptions(resamples=0))["method"]) == ["m_1", "m_2", "m_10", "a"]


def test_dice_orders_by_the_mean_and_ties_share_the_smallest_rank(build):
    table = rank_methods(
        build(
            {
                "d": [{"dice": 0.1}, {"dice": 0.2}],
                "b": [{"dice": 0.1}, {"dice": 0.5}],  # 0.1 + 0.5 and 0.2 + 0.4 differ in floating point
                "c": [{"dice": 0.2}, {"dice": 0.4}],
                "a": [{"dice": 0.9}, {"dice": 0.7}],
            }
        )
    )
    assert order(table) == {"a": 1, "b": 2, "c": 2, "d": 4}
    assert list(table["method"]) == ["a", "b", "c", "d"]
    assert list(table["dice_mean"]) == [0.8, 0.3, 0.3, 0.15]
    assert list(table["dice_sd"]) == [0.1, 0.2, 0.1, 0.05]


def test_missing_cases_count_and_are_counted(build):
    table = rank_methods(build({"a": [{"dice": 0.9}, {"status": "missing"}], "b": [{"dice": 0.5}, {"dice": 0.5}]}))
    assert order(table) == {"b": 1, "a": 2}
    row = table.set_index("method").loc["a"]
    assert (row["cases"], row["missing"], row["dice_mean"], row["avd_ml_mean"]) == (2, 1, 0.45, 5.5)
    assert row["hausdorff_mm_mean"] == (1e8 + 10) / 2
    assert (row["hausdorff_mm_defined_mean"], row["hausdorff_mm_undefined"]) == (10, 1)


def test_diagonal_policy_counts_the_diagonal(build):
    table = rank_methods(build({"a": [{"hausdorff_mm": 10}, {"status": "missing"}]}), RankingOptions(policy="diagonal"))
    assert table["hausdorff_mm_mean"].iloc[0] == 105


def test_mean_then_rank_averages_the_ranks_of_the_means(build):
    cases = build(
        {
            "a": [{"dice": 0.9, "avd_ml": 9}, {"dice": 0.7, "avd_ml": 7}],  # 0.8 (1st), 8 (3rd): mean rank 2
            "b": [{"dice": 0.6, "avd_ml": 1}, {"dice": 0.6, "avd_ml": 3}],  # 0.6 (2nd), 2 (1st): mean rank 1.5
            "c": [{"dice": 0.1, "avd_ml": 4}, {"dice": 0.3, "avd_ml": 4}],  # 0.2 (3rd), 4 (2nd): mean rank 2.5
        }
    )
    table = rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=["dice", "avd_ml"]))
    assert order(table) == {"b": 1, "a": 2, "c": 3}
    assert list(table["score"]) == [1.5, 2.0, 2.5]


def test_rank_then_mean_ranks_within_each_case(build):
    cases = build(
        {
            # ranks by case of dice, then of avd
            "a": [{"dice": 0.9, "avd_ml": 1}, {"dice": 0.2, "avd_ml": 2}, {"dice": 0.2, "avd_ml": 3}],  # 1 2 2; 1 2 2
            "b": [{"dice": 0.1, "avd_ml": 2}, {"dice": 0.3, "avd_ml": 1}, {"dice": 0.3, "avd_ml": 3}],  # 3 1 1; 2 1 2
            "c": [{"dice": 0.2, "avd_ml": 2}, {"dice": 0.1, "avd_ml": 3}, {"dice": 0.2, "avd_ml": 1}],  # 2 3 2; 2 3 1
        }
    )
    table = rank_methods(cases, RankingOptions(scheme="rank-then-mean", metrics=["dice", "avd_ml"]))
    assert order(table) == {"a": 1, "b": 1, "c": 3}
    assert list(table["score"]) == [round(10 / 6, 6), round(10 / 6, 6), round(13 / 6, 6)]


def test_rank_then_mean_gives_a_missing_prediction_the_last_rank_in_every_metric(build):
    cases = build(
        {
            "a": [{"status": "missing", "reference_ml": 1}],  # its AVD of 1 mL would be the best
            "b": [{"status": "missing", "reference_ml": 1}],
            "c": [{"dice": 0.0, "avd_ml": 5, "reference_ml": 1}],
        }
    )
    table = rank_methods(cases, RankingOptions(scheme="rank-then-mean", metrics=["dice", "avd_ml"]))
    assert order(table) == {"c": 1, "a": 2, "b": 2}
    assert list(table["score"]) == [1, 3, 3]


def test_rank_then_mean_puts_a_failed_prediction_above_none(build):
    empty = {"status": "empty_prediction", "dice": 0, "precision": NAN, "recall": 0, "hausdorff_mm": NAN, "avd_ml": 10}
    table = rank_methods(
        build({"a": [{"status": "missing"}], "b": [empty], "c": [{}]}), RankingOptions(scheme="rank-then-mean")
    )
    assert order(table) == {"c": 1, "b": 2, "a": 3}


def test_test_then_rank_counts_the_wilcoxon_tests_won(build):
    random = np.random.default_rng(0)
    base = random.uniform(0.3, 0.5, 20)
    dice = {"a": base + 0.2, "b": base + random.normal(0, 0.05, 20), "c": base + random.normal(0, 0.05, 20)}
    table = rank_methods(
        build({name: [{"dice": value} for value in values] for name, values in dice.items()}),
        RankingOptions(scheme="test-then-rank", metrics=["dice"]),
    )
    expected = {
        name: sum(
            stats.wilcoxon(dice[name], dice[other], alternative="greater").pvalue < 0.05
            for other in dice
            if other != name
        )
        / 2
        for name in dice
    }
    assert expected == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert dict(zip(table["method"], table["score"], strict=True)) == expected
    assert order(table) == {"a": 1, "b": 2, "c": 2}


def test_test_then_rank_knows_that_less_distance_is_better(build):
    values = {
        "near": [{"hausdorff_mm": 5 + i} for i in range(10)],
        "far": [{"hausdorff_mm": 9 + 2 * i} for i in range(10)],
    }
    table = rank_methods(build(values), RankingOptions(scheme="test-then-rank", metrics=["hausdorff_mm"]))
    assert order(table) == {"near": 1, "far": 2}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_method_is_first(build, scheme):
    assert order(rank_methods(build({"a": [{}, {"status": "missing"}]}), RankingOptions(scheme=scheme))) == {"a": 1}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_methods_are_all_first(build, scheme):
    assert set(rank_methods(build({name: [{}] * 4 for name in "abc"}), RankingOptions(scheme=scheme))["rank"]) == {1}


@pytest.mark.parametrize("scheme", ["dice", "mean-then-rank", "rank-then-mean"])
def test_one_case_is_enough(build, scheme):
    better = {"dice": 0.9, "hausdorff_mm": 1, "precision": 0.9, "recall": 0.9, "avd_ml": 0}
    assert order(rank_methods(build({"a": [{}], "b": [better]}), RankingOptions(scheme=scheme))) == {"b": 1, "a": 2}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_the_rows_leaves_no_trace(build, scheme):
    random = np.random.default_rng(1)
    cases = build({name: [{"dice": float(v), "avd_ml": float(9 * v)} for v in random.random(15)] for name in "abcd"})
    expected = rank_methods(cases, RankingOptions(scheme=scheme))
    for seed in range(3):
        shuffled = cases.sample(frac=1, random_state=seed)
        assert rank_methods(shuffled, RankingOptions(scheme=scheme)).equals(expected)
        assert rank_methods(shuffled.reset_index(drop=True), RankingOptions(scheme=scheme)).equals(expected)


def test_further_metrics_follow_where_the_rows_have_them(build):
    cases = build({"a": [{}, {"status": "missing"}]})
    table = rank_methods(cases)
    assert (table["lesion_f1_mean"].iloc[0], table["volume_difference_ml_mean"].iloc[0]) == (0.25, -4.5)
    bare = rank_methods(cases[cases.columns[:12]])
    assert not any(column.startswith(("lesion", "hd95")) for column in bare.columns)


@pytest.mark.parametrize("policy", POLICIES)
def test_metrics_that_one_of_several_methods_lacks_are_told(build, policy):
    cases = build({"a": [{}, {}], "b": [{}, {"hd95_mm": NAN, "lesion_f1": NAN}], "c": [{"core_agreement": NAN}, {}]})
    assert left_out(cases, RankingOptions(policy=policy)) == [
        "left out for all methods: hd95_mm, lesion_f1, which b has no value of in some case: "
        "score these predictions again",
        "left out for all methods: core_agreement, which c has no value of in some case: score these predictions again",
    ]
    shown = {
        column.removesuffix("_mean")
        for column in rank_methods(cases, RankingOptions(policy=policy, resamples=0)).columns
    }
    measured = set(METRICS) & set(cases.columns)
    assert shown & set(METRICS) == measured - {"hd95_mm", "lesion_f1", "core_agreement"}


def test_a_method_without_probability_maps_is_told_how_it_gets_what_is_measured_from_them(build):
    (line,) = left_out(build({"a": [{"brier": 0.1}], "rule": [{}]}))
    assert line == (
        "left out for all methods: brier, which rule has no value of in some case: score these predictions again, with "
        "--probabilities if they have maps"
    )


def test_a_column_that_a_rule_needs_is_told_of_too(build):
    cases = build({"a": [{}, {"status": "missing"}], "b": [{}, {}]}).drop(columns="reference_lesions")
    assert [line.split(": ")[1] for line in left_out(cases)] == [
        "lesion_count_difference, which a, b have no value of in some case"
    ]


def test_metrics_that_all_have_or_none_has_are_not_told(build):
    empty = {"status": "empty_prediction", "precision": NAN, "hausdorff_mm": NAN, "hd95_mm": NAN, "assd_mm": NAN}
    cases = build({"a": [{}, empty], "b": [{"status": "missing"}, {}]})
    assert left_out(cases) == left_out(cases[cases.columns[:12]]) == []
    cases["lesion_f1"] = NAN
    assert left_out(cases) == []


def test_a_metric_without_its_column_is_refused(build):
    cases = build({"a": [{}]})
    with pytest.raises(InputError, match="lesion_f1 is not among the columns"):
        rank_methods(cases[cases.columns[:12]], RankingOptions(scheme="mean-then-rank", metrics=["lesion_f1"]))


def rank_by(cases, *metrics):
    return rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=metrics, resamples=0))


@pytest.mark.parametrize("metric", ["volume_difference_ml", "seconds", "seconds:up", "seconds:"])
def test_a_column_without_direction_is_told_how_to_give_it_one(build, metric):
    cases = build({"a": [{}]}).assign(seconds=1.0)
    name = metric.partition(":")[0]
    with pytest.raises(InputError, match=f"^{metric} lacks a direction: give {name} one, as in {name}:lower"):
        rank_by(cases, metric)


def test_an_unknown_metric_is_refused(build):
    with pytest.raises(InputError, match="nothing is not a metric to rank by"):
        rank_by(build({"a": [{}]}), "nothing")


@pytest.mark.parametrize("column", ["method", "case", "patient", "fold", "status", "data"])
@pytest.mark.parametrize("direction", ["", ":lower", ":higher"])
def test_what_says_which_row_one_is_is_no_metric(build, column, direction):
    cases = build({"a": [{"fold": 1, "patient": "3"}], "b": [{"fold": 1, "patient": "3"}]}).assign(data="1")
    with pytest.raises(InputError, match=f"^{column}{direction} is not a metric to rank by, but describes its row"):
        rank_by(cases, column + direction)


def test_names_in_messages_are_cut(build):
    with pytest.raises(InputError) as caught:
        rank_by(build({"a": [{}]}), "x" * 5000)
    assert "x" * 60 + "…" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_far_too_many_metrics_are_one_line():
    with pytest.raises(InputError) as caught:
        RankingOptions(metrics=[f"m{number}" for number in range(100_000)])
    assert caught.value.problems == ["100000 metrics are more than the 100 that are allowed: take fewer"]


def test_a_case_that_is_there_twice_is_refused(build):
    cases = build({"a": [{}, {"case": "case_1"}, {}]})
    with pytest.raises(InputError, match="row 0, row 1: a has case_1 2 times"):
        rank_methods(cases)


def test_a_case_may_be_there_once_for_each_seed(build):
    row = {"case": "c", "patient": "P"}
    once = [{"seed": seed, **row} for seed in (0, 1)]
    check_comparable(build({"a": once, "b": [row]}))
    with pytest.raises(InputError, match="row 1, row 2: a has c 2 times"):
        check_comparable(build({"a": [*once, {"seed": 1, **row}], "b": [row]}))


def test_methods_scored_on_different_cases_are_refused(build):
    with pytest.raises(InputError) as caught:
        rank_methods(build({"a": [{}] * 9, "b": [{}], "c": [{}] * 9}))
    assert caught.value.problems == [
        "b: has no row for case_2, case_3, case_4, case_5, case_6 and 3 more, which other methods have: "
        "score all methods on the same cases"
    ]


def test_different_references_are_refused(build):
    with pytest.raises(InputError, match=r"row 1, row 3: case_2 has reference volumes of 10 and 10\.1 mL"):
        rank_methods(build({"a": [{}, {}], "b": [{}, {"reference_ml": 10.1}]}))


def test_rounding_noise_is_no_different_reference(build):
    rank_methods(build({"a": [{}], "b": [{"reference_ml": math.nextafter(10.0, 11)}]}))


def test_no_rows_are_refused():
    with pytest.raises(InputError, match="no cases to rank"):
        rank_methods(cases_frame([]))


def test_a_case_of_two_patients_is_refused(build):
    with pytest.raises(InputError) as caught:
        rank_methods(build({"a": [{}, {}], "b": [{}, {"patient": "P1"}], "c": [{}, {"patient": ""}]}))
    assert caught.value.problems == ["case_2 belongs to the patients P1, P2: give it one in every cases.csv"]


@pytest.mark.parametrize("name", ["scheme", "policy", "unit"])
def test_unknown_names_are_refused(build, name):
    with pytest.raises(InputError, match=f"the {name} best is unknown"):
        rank_methods(build({"a": [{}]}), RankingOptions(**{name: "best"}))


def test_all_problems_are_reported_at_once(build):
    with pytest.raises(InputError) as caught:
        rank_methods(build({"a": [{}, {"case": "case_1"}], "b": [{"reference_ml": 4}, {}]}))
    assert len(caught.value.problems) == 4  # doubled, not there, different references, different patients


def test_means_and_deviations_equal_numpy():
    values = np.random.default_rng(0).normal(5, 2, (3, 40))
    assert means(values) == pytest.approx(values.mean(axis=1))
    assert standard_deviations(values) == pytest.approx(values.std(axis=1))
    assert standard_deviations(values, ddof=1) == pytest.approx(values.std(axis=1, ddof=1))


def test_competition_ranks_run_along_the_first_axis():
    values = np.array([[0.3, 1e8], [0.1 + 0.2, 2.0], [0.9, 1.0]])
    assert competition_ranks(values, higher_is_better=True).tolist() == [[2, 1], [2, 2], [1, 3]]


def test_comparable_keeps_what_differs():
    assert comparable(np.array([0.3, 0.1 + 0.2, 0.3 + 1e-9])).tolist()[0] == comparable(np.array([0.1 + 0.2]))[0]
    assert len(set(comparable(np.array([19354856.39, 19354856.40])).tolist())) == 2


def test_any_column_with_a_direction_is_a_metric(build):
    cases = build({"a": [{}, {}], "b": [{}, {}], "c": [{}, {}]})
    cases["seconds"] = ["4", "4", "1", "2", "9", "9"]
    table = rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=["seconds:lower"]))
    assert order(table) == {"b": 1, "a": 2, "c": 3}
    assert list(table["seconds_mean"]) == [1.5, 4.0, 9.0]
    assert order(rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=["seconds:higher"]))) == {
        "c": 1,
        "a": 2,
        "b": 3,
    }


def test_a_direction_overrides_the_usual_one(build):
    cases = build({"a": [{"volume_difference_ml": -5}], "b": [{"volume_difference_ml": 3}]})
    for direction, first in (("higher", "b"), ("lower", "a")):
        table = rank_methods(
            cases, RankingOptions(scheme="rank-then-mean", metrics=[f"volume_difference_ml:{direction}"])
        )
        assert table["method"].iloc[0] == first


def test_an_undefined_value_without_a_policy_takes_the_last_rank_and_counts_as_the_worst(build):
    cases = build({"a": [{}, {}], "b": [{}, {}], "c": [{}, {}]})
    cases["seconds"] = [1.0, NAN, 8.0, 8.0, 2.0, 3.0]
    table = rank_methods(cases, RankingOptions(scheme="rank-then-mean", metrics=["seconds:lower"]))
    assert dict(zip(table["method"], table["score"], strict=True)) == {"c": 1.5, "a": 2.0, "b": 2.5}
    means_of = rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=["seconds:lower"])).set_index(
        "method"
    )
    assert list(means_of.loc[["a", "b", "c"], "seconds_mean"]) == [4.5, 8.0, 2.5]
    upwards = rank_methods(cases, RankingOptions(scheme="mean-then-rank", metrics=["seconds:higher"])).set_index(
        "method"
    )
    assert list(upwards.loc[["a", "b", "c"], "seconds_mean"]) == [1.0, 8.0, 2.5]


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        (["dice", "dice"], "dice is there twice"),
        (["dice:up"], r"dice:up has a direction that is none: write dice \(higher is better\)"),
        (["fold"], "fold is not a metric"),
        (["words:lower"], "row 0: words is not a number"),
        (["seconds:lower"], "seconds is empty in every row"),
    ],
)
def test_metrics_that_cannot_be_ranked_by_are_refused(build, metrics, problem):
    cases = build({"a": [{}, {}]})
    cases["words"], cases["seconds"] = ["many", "1"], None
    with pytest.raises(InputError, match=problem):
        rank_methods(cases, RankingOptions(scheme="rank-then-mean", metrics=metrics))


def test_what_resampling_tells_stands_at_the_end(build):
    cases = build({"a": [{"dice": 0.9}] * 12, "b": [{"dice": 0.1 + 0.01 * case} for case in range(12)]})
    table = rank_methods(cases, RankingOptions(resamples=200, seed=3))
    assert list(table.columns[-8:]) == [
        "rank_boot_low", "rank_boot_high", "first_share", "tie_group", "patients", "unit", "resamples", "seed"
    ]  # fmt: skip
    assert table.iloc[0][["rank_low", "rank_high", *table.columns[-8:]]].tolist() == [
        1, 1, 1, 1, 1.0, "a", 12, "patient", 200, 3
    ]  # fmt: skip
    bare = rank_methods(cases, RankingOptions(resamples=0))
    assert bare["rank_low"].isna().all()
    assert "tie_group" not in bare.columns
    shared = [column for column in bare.columns if column not in ("rank_low", "rank_high")]
    assert bare[shared].equals(table[shared])


def test_a_case_without_a_patient_is_a_patient_of_its_own(build):
    cases = build({name: [{"patient": patient} for patient in ("P1", "P1", "", "")] for name in "ab"})
    assert rank_methods(cases, RankingOptions(resamples=5))["patients"].tolist() == [3, 3]
    cases.loc[(cases["method"] == "a") & (cases["case"] == "case_4"), "patient"] = "P1"
    assert rank_methods(cases, RankingOptions(resamples=5))["patients"].tolist() == [2, 2]


def test_an_analysis_follows_the_order_of_the_table(build):
    random = np.random.default_rng(5)
    cases = build(
        {
            name: [{"dice": float(v)} for v in random.uniform(low, low + 0.3, 20)]
            for name, low in {"a": 0, "b": 0.6, "c": 0.3}.items()
        }
    )
    found = analyse(cases, RankingOptions(resamples=300))
    assert list(found.table["method"]) == ["b", "c", "a"] == list(found.matrices.methods)
    assert found.uncertainty.rank.tolist() == [1, 2, 3]
    assert found.uncertainty.separated.tolist() == np.triu(np.ones((3, 3), bool), 1).tolist()
    assert found.table["rank_low"].tolist() == found.uncertainty.rank_low.tolist() == [1, 2, 3]
    assert (found.significance[np.triu_indices(3, 1)] < 0.001).all()
    assert (found.significance[np.tril_indices(3, -1)] == 1).all()
    assert found.agreement.ranks[0].tolist() == [1, 2, 3]
