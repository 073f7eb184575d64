"""What an undefined or missing value counts, by name: one table, metric x situation, a policy.

A metric that is ranked has its row in `METRICS`, what it counts where it is undefined in the rules of each policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.cases import STATUSES
from leaderboard.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


#: A number, or what to compute from the row (columns of cases.csv).
Value = float | Callable[["pd.DataFrame"], "pd.Series"]


def measured(column: str, factor: float = 1.0) -> Callable[[pd.DataFrame], pd.Series]:
    """The value that the row has in a column, times a factor."""

    def read(cases: pd.DataFrame) -> pd.Series:
        if column not in cases.columns:
            raise InputError(f"the column {column} is missing: score the predictions again")
        return cases[column].astype(float) * factor

    return read


@dataclass(frozen=True)
class Metric:
    """A metric that can be ranked.

    Attributes:
        title: what tables call it.
        unit: ``mm``, ``mL`` or nothing.
        higher_is_better: its direction; None for one that is shown and not ranked.
    """

    title: str
    unit: str
    higher_is_better: bool | None


#: The metrics of cases.csv in the order of leaderboard.csv; the first five are in every cases.csv.
METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "", True),
    "hausdorff_mm": Metric("Hausdorff", "mm", False),
    "precision": Metric("Precision", "", True),
    "recall": Metric("Recall", "", True),
    "avd_ml": Metric("AVD", "mL", False),
    "hd95_mm": Metric("Hausdorff 95 %", "mm", False),
    "assd_mm": Metric("ASSD", "mm", False),
    "volume_difference_ml": Metric("Volume difference", "mL", None),
    "lesion_count_difference": Metric("Lesion count difference", "", False),
    "lesion_f1": Metric("Lesion F1", "", True),
    "core_agreement": Metric("Core agreement", "", True),
}
CORE_METRICS = tuple(METRICS)[:5]


@dataclass(frozen=True)
class Rule:
    """What a metric counts in each situation."""

    empty_prediction: Value
    empty_reference: Value
    both_empty: Value
    missing: Value


@dataclass(frozen=True)
class Policy:
    """What undefined and missing values count, and how a standard deviation is taken.

    Attributes:
        rules: by metric.
        ddof: 0 for the population's standard deviation, 1 for the sample's.
    """

    rules: Mapping[str, Rule]
    ddof: int = 0


def _rules(distance: Value) -> dict[str, Rule]:
    """The table of the 2018 challenge; `distance` is what an undefined surface distance counts.

    A missing prediction has the volume differences of an empty one, and agrees on no core.
    """
    return {
        #                               empty prediction  empty reference  both empty  missing
        "dice": Rule(0.0, 0.0, 1.0, 0.0),
        "hausdorff_mm": Rule(distance, distance, 0.0, distance),
        "precision": Rule(0.0, 0.0, 1.0, 0.0),
        "recall": Rule(0.0, 0.0, 1.0, 0.0),
        "avd_ml": Rule(measured("avd_ml"), measured("avd_ml"), 0.0, measured("reference_ml")),
        "hd95_mm": Rule(distance, distance, 0.0, distance),
        "assd_mm": Rule(distance, distance, 0.0, distance),
        "volume_difference_ml": Rule(
            measured("volume_difference_ml"), measured("volume_difference_ml"), 0.0, measured("reference_ml", -1.0)
        ),
        "lesion_count_difference": Rule(
            measured("lesion_count_difference"),
            measured("lesion_count_difference"),
            0.0,
            measured("reference_lesions"),
        ),
        "lesion_f1": Rule(0.0, 0.0, 1.0, 0.0),
        "core_agreement": Rule(measured("core_agreement"), measured("core_agreement"), 1.0, 0.0),
    }


#: ``isles2018`` is what the digits of the published table show: an undefined Hausdorff distance counts 1e8 mm and
#: standard deviations are the population's. ``diagonal`` counts the diagonal of the case's volume instead.
POLICIES: dict[str, Policy] = {
    "isles2018": Policy(_rules(1e8)),
    "diagonal": Policy(_rules(measured("diagonal_mm"))),
}


def apply_policy(cases: pd.DataFrame, policy: Policy, metrics: tuple[str, ...] = CORE_METRICS) -> pd.DataFrame:
    """The metrics of each case with every undefined or missing value counted as the policy says.

    Args:
        cases: a row a (method, case) with `status` and the metrics.
        policy: which rules hold.
        metrics: the columns wanted.

    Returns:
        One complete column a metric, same index.

    Raises:
        InputError: a metric or a column that a rule needs is not there, or a value is empty that should be measured.
    """
    absent = [metric for metric in metrics if metric not in cases.columns or metric not in policy.rules]
    if absent:
        raise InputError(f"the metric {metric} is not among the columns: leave it out" for metric in absent)
    result = count_values(cases, policy, metrics)
    holes = [(label, metric) for metric in metrics for label in result.index[result[metric].isna()]]
    if holes:
        raise InputError(
            f"{describe_row(cases, label)}: {metric} cannot be counted, a value it needs is empty: "
            "score the predictions again"
            for label, metric in holes
        )
    return result


def count_values(cases: pd.DataFrame, policy: Policy, metrics: tuple[str, ...]) -> pd.DataFrame:
    """As `apply_policy`, for metrics that are there, but empty where a value that is needed is.

    Raises:
        InputError: a column that a rule needs is not there.
    """
    result = cases[list(metrics)].astype(float)
    for status in STATUSES[1:]:
        rows = cases["status"] == status
        if not rows.any():
            continue
        for metric in metrics:
            value: Value = getattr(policy.rules[metric], status)
            result.loc[rows, metric] = value(cases.loc[rows]) if callable(value) else value
    return result


def describe_row(cases: pd.DataFrame, label: object) -> str:
    """Names a row for a message: by file and line where the index knows them (`leaderboard.cases`)."""
    return str(label) if cases.index.name == "source" else f"row {label}"
