"""What undefined and missing values count: metrics define it for each situation, the named policies for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.columns import CORE_METRICS, METRICS, OF_PROBABILITIES, STATUSES, Measured, Metric
from leaderboard.errors import InputError
from leaderboard.io.tables import MOST_PROBLEMS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Policy:
    """What undefined and missing values count, and how a standard deviation is taken."""

    distance: float | Measured  #: what a surface distance to or from an empty mask counts
    ddof: int = 0  #: 0 for the population's standard deviation, 1 for the sample's

    def value(self, metric: Metric, status: str) -> float | Measured:
        """What a metric counts in a situation."""
        value = metric.counts[STATUSES.index(status) - 1]
        return self.distance if value is None else value


#: ``isles2018`` is what the digits of the published table show: an undefined Hausdorff distance counts 1e8 mm and
#: standard deviations are the population's. ``diagonal`` counts the diagonal of the case's volume instead.
POLICIES: dict[str, Policy] = {"isles2018": Policy(1e8), "diagonal": Policy(Measured("diagonal_mm"))}


def apply_policy(cases: pd.DataFrame, policy: Policy, metrics: tuple[str, ...] = CORE_METRICS) -> pd.DataFrame:
    """The metrics of each case with every undefined or missing value counted as the policy says.

    Args:
        cases: one row for each (method, case), with `status` and the metrics.
        policy: the rules.
        metrics: the columns wanted.

    Returns:
        One complete column for each metric, same index.

    Raises:
        InputError: a metric or a column that a rule needs is missing, or a value that should be measured is empty.
    """
    absent = [metric for metric in metrics if metric not in cases.columns or metric not in METRICS]
    if absent:
        raise InputError(
            f"the metric {metric} is not among the columns: "
            f"{'score with --probabilities' if metric in OF_PROBABILITIES else 'score the predictions again'}, or "
            "leave it out"
            for metric in absent
        )
    result = count_values(cases, policy, metrics)
    empty = {metric: rows for metric in metrics if (rows := result[metric].isna().to_numpy()).any()}
    holes = [(label, metric) for metric, rows in empty.items() for label in result.index[rows]]
    if lacking := _lacking(result.isna(), cases["method"].to_numpy()) if holes else []:
        raise InputError(
            f"{method}: has no value of {metric} in any case: score its predictions "
            f"{'with --probabilities' if metric in OF_PROBABILITIES else 'again'}, or choose metrics that every method "
            "has, as in --metrics dice"
            for method, metric in lacking[:MOST_PROBLEMS]
        )
    if holes:
        raise InputError(
            f"{describe_row(cases, label)}: {metric} cannot be counted, a value it needs is empty: fill it in, or say "
            "why it is empty in the column status (missing, empty_prediction, ...)"
            for label, metric in holes[:MOST_PROBLEMS]
        )
    return result


def _lacking(empty: pd.DataFrame, methods: np.ndarray) -> list[tuple[str, str]]:
    """The (method, metric) pairs with several rows and no value; `empty` has a row a case, a column a metric."""
    groups = empty.groupby(methods, sort=False)
    whole = groups.all()[groups.size() > 1]
    return [(str(method), metric) for metric in whole.columns for method in whole.index[whole[metric]]]


def count_values(cases: pd.DataFrame, policy: Policy, metrics: tuple[str, ...]) -> pd.DataFrame:
    """As `apply_policy`, for metrics that are there; but values stay empty if one that a rule needs is empty.

    Raises:
        InputError: a column that a rule needs is missing.
    """
    result = cases[list(metrics)].astype(float)
    of_each = cases["status"].to_numpy(dtype=object)  # pandas compares its own strings far more slowly
    for status in STATUSES[1:]:
        rows = of_each == status
        if not rows.any():
            continue
        for metric in metrics:
            value = policy.value(METRICS[metric], status)
            result.loc[rows, metric] = _measured(cases.loc[rows], value) if isinstance(value, Measured) else value
    return result


def _measured(cases: pd.DataFrame, value: Measured) -> pd.Series:
    if value.column not in cases.columns:
        raise InputError(f"the column {value.column} is missing: score the predictions again")
    return cases[value.column].astype(float) * value.factor


def describe_row(cases: pd.DataFrame, label: object) -> str:
    """A row's name in messages: its file and line where the index holds them (`leaderboard.cases`)."""
    return str(label) if cases.index.name == "source" else f"row {label}"
