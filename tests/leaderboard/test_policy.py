"""What undefined and missing values count."""

import pytest

from leaderboard.errors import InputError
from leaderboard.policy import CORE_METRICS, METRICS, POLICIES, apply_policy

NAN = float("nan")
UNDEFINED = {"hausdorff_mm": NAN, "hd95_mm": NAN, "assd_mm": NAN}
SITUATIONS = {
    "empty_prediction": {"dice": 0, "precision": NAN, "recall": 0, "avd_ml": 10, "lesion_f1": 0, **UNDEFINED},
    "empty_reference": {"dice": 0, "precision": 0, "recall": NAN, "avd_ml": 3, "lesion_f1": 0, **UNDEFINED},
    "both_empty": {"dice": NAN, "precision": NAN, "recall": NAN, "avd_ml": 0, "lesion_f1": NAN, **UNDEFINED},
    "missing": {},
}
EXPECTED = {  # dice, hausdorff_mm, precision, recall, avd_ml
    "isles2018": {
        "empty_prediction": (0, 1e8, 0, 0, 10),
        "empty_reference": (0, 1e8, 0, 0, 3),
        "both_empty": (1, 0, 1, 1, 0),
        "missing": (0, 1e8, 0, 0, 10),
    },
    "diagonal": {
        "empty_prediction": (0, 200, 0, 0, 10),
        "empty_reference": (0, 200, 0, 0, 3),
        "both_empty": (1, 0, 1, 1, 0),
        "missing": (0, 200, 0, 0, 10),
    },
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("status", SITUATIONS)
def test_each_situation_counts_what_the_design_says(build, policy, status):
    cases = build({"a": [{"status": status, **SITUATIONS[status]}]})
    counted = apply_policy(cases, POLICIES[policy])
    assert tuple(counted.iloc[0]) == EXPECTED[policy][status]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sound_case_counts_as_measured(build, policy):
    cases = build({"a": [{"dice": 0.25, "hausdorff_mm": 7.5}]})
    assert tuple(apply_policy(cases, POLICIES[policy]).iloc[0]) == (0.25, 7.5, 0.5, 0.5, 1.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_metric_has_a_value_in_every_situation(build, policy):
    cases = build({"a": [{"status": status, **values} for status, values in SITUATIONS.items()]})
    counted = apply_policy(cases, POLICIES[policy], tuple(METRICS))
    assert counted.notna().all(axis=None)
    missing = counted.iloc[-1]
    assert (missing["volume_difference_ml"], missing["lesion_count_difference"], missing["core_agreement"]) == (
        -10,
        1,
        0,
    )


def test_both_policies_have_a_rule_for_every_metric():
    assert all(set(policy.rules) == set(METRICS) and policy.ddof == 0 for policy in POLICIES.values())


def test_the_raw_table_is_left_alone(build):
    cases = build({"a": [{"status": "missing"}]})
    apply_policy(cases, POLICIES["isles2018"])
    assert cases[list(CORE_METRICS)].isna().all(axis=None)


def test_an_empty_value_of_a_sound_case_is_refused(build):
    with pytest.raises(InputError, match="row 0: dice cannot be counted"):
        apply_policy(build({"a": [{"dice": NAN}]}), POLICIES["isles2018"])


def test_a_policy_whose_column_is_absent_is_refused(build):
    cases = build({"a": [{"status": "missing"}]}).drop(columns="diagonal_mm")
    with pytest.raises(InputError, match="diagonal_mm is missing"):
        apply_policy(cases, POLICIES["diagonal"])
    assert apply_policy(cases, POLICIES["isles2018"])["hausdorff_mm"].iloc[0] == 1e8
