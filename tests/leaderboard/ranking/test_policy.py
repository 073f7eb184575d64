"""What undefined and missing values count."""

import pytest

from leaderboard.columns import CORE_METRICS, METRICS
from leaderboard.errors import InputError
from leaderboard.ranking.policies import POLICIES, apply_policy

NAN = float("nan")
UNDEFINED = dict.fromkeys(
    ("hausdorff_mm", "hd95_mm", "assd_mm", "inplane_nsd", "inplane_hd95_mm", "inplane_assd_mm"), NAN
)
MAP = {"pr_auc": 0.25, "brier": 0.125, "calibration_error": 0.5}
# measured: a reference of 10 mL and 3 lesions, a prediction of 75 mL and 2 lesions, unless they are empty
SITUATIONS = {
    "empty_prediction": {
        "dice": 0, "precision": NAN, "recall": 0, "avd_ml": 10, "lesion_f1": 0, **UNDEFINED,
        "volume_difference_ml": -10, "lesion_count_difference": 3, "core_agreement": 1, "relative_volume_error": 1,
        "lesion_f1_iou20": 0, "lesion_f1_iou25": 0, "lesion_count_difference_6": 4, **MAP,
    },
    "empty_reference": {
        "dice": 0, "precision": 0, "recall": NAN, "avd_ml": 75, "lesion_f1": 0, **UNDEFINED,
        "volume_difference_ml": 75, "lesion_count_difference": 2, "core_agreement": 0, "relative_volume_error": NAN,
        "lesion_f1_iou20": 0, "lesion_f1_iou25": 0, "lesion_count_difference_6": 3, **MAP,
    },
    "both_empty": {
        "dice": NAN, "precision": NAN, "recall": NAN, "avd_ml": 0, "lesion_f1": NAN, **UNDEFINED,
        "volume_difference_ml": 0, "lesion_count_difference": 0, "core_agreement": 1, "relative_volume_error": NAN,
        "lesion_f1_iou20": NAN, "lesion_f1_iou25": NAN, "lesion_count_difference_6": 0, **MAP,
    },
    "missing": {"reference_lesions": 3, "reference_lesions_6": 4},
}  # fmt: skip
FAR = {"isles2018": 1e8, "diagonal": 200}
EXPECTED = {  # by metric: empty prediction, empty reference, both empty, missing; None: the policy's distance
    "dice": (0, 0, 1, 0),
    "hausdorff_mm": (None, None, 0, None),
    "precision": (0, 0, 1, 0),
    "recall": (0, 0, 1, 0),
    "avd_ml": (10, 75, 0, 10),
    "hd95_mm": (None, None, 0, None),
    "assd_mm": (None, None, 0, None),
    "volume_difference_ml": (-10, 75, 0, -10),
    "lesion_count_difference": (3, 2, 0, 3),
    "lesion_f1": (0, 0, 1, 0),
    "core_agreement": (1, 0, 1, 0),
    "inplane_nsd": (0, 0, 1, 0),
    "inplane_hd95_mm": (None, None, 0, None),
    "inplane_assd_mm": (None, None, 0, None),
    "relative_volume_error": (1, 1, 0, 1),
    "lesion_f1_iou20": (0, 0, 1, 0),
    "lesion_f1_iou25": (0, 0, 1, 0),
    "lesion_count_difference_6": (4, 3, 0, 4),
    "pr_auc": (0.25, 0.25, 0.25, 0),
    "brier": (0.125, 0.125, 0.125, 1),
    "calibration_error": (0.5, 0.5, 0.5, 1),
}


def test_the_expected_values_are_those_of_every_metric():
    assert set(EXPECTED) == set(METRICS)
    assert set(FAR) == set(POLICIES)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("policy", POLICIES)
def test_each_situation_counts_what_the_design_says(build, policy, metric):
    cases = build({"a": [{"status": status, **values} for status, values in SITUATIONS.items()]})
    counted = apply_policy(cases, POLICIES[policy], (metric,))
    assert counted[metric].tolist() == [FAR[policy] if value is None else value for value in EXPECTED[metric]]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sound_case_counts_as_measured(build, policy):
    cases = build({"a": [{"dice": 0.25, "hausdorff_mm": 7.5}]})
    assert tuple(apply_policy(cases, POLICIES[policy]).iloc[0]) == (0.25, 7.5, 0.5, 0.5, 1.0)


def test_both_policies_take_the_standard_deviation_of_the_population():
    assert all(policy.ddof == 0 for policy in POLICIES.values())


def test_the_raw_table_is_left_alone(build):
    cases = build({"a": [{"status": "missing"}]})
    apply_policy(cases, POLICIES["isles2018"])
    assert cases[list(CORE_METRICS)].isna().all(axis=None)


def test_an_empty_value_of_a_sound_case_is_refused(build):
    with pytest.raises(InputError, match="row 0: dice cannot be counted"):
        apply_policy(build({"a": [{"dice": NAN}]}), POLICIES["isles2018"])


@pytest.mark.parametrize(("metric", "remedy"), [("dice", "again"), ("pr_auc", "with --probabilities")])
def test_a_method_without_any_value_of_a_metric_is_one_line_with_its_remedy(build, metric, remedy):
    cases = build({"full": [{metric: 0.5}] * 3, "outside": [{metric: NAN}] * 3})
    with pytest.raises(InputError) as caught:
        apply_policy(cases, POLICIES["isles2018"], (metric,))
    assert caught.value.problems == [
        f"outside: has no value of {metric} in any case: score its predictions {remedy}, or choose metrics that "
        "every method has, as in --metrics dice"
    ]


def test_a_policy_whose_column_is_absent_is_refused(build):
    cases = build({"a": [{"status": "missing"}]}).drop(columns="diagonal_mm")
    with pytest.raises(InputError, match="diagonal_mm is missing"):
        apply_policy(cases, POLICIES["diagonal"])
    assert apply_policy(cases, POLICIES["isles2018"])["hausdorff_mm"].iloc[0] == 1e8
