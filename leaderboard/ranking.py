"""Ranks from cases.csv: pure functions on a long table.

Sums are exactly rounded (`math.fsum`) and values are compared at 12 binary-rounded digits, so the order of the rows,
the machine and the number of threads leave no trace in a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.cases import sort_cases
from leaderboard.cohort import natural_key
from leaderboard.errors import InputError
from leaderboard.policy import CORE_METRICS, METRICS, POLICIES, Policy, apply_policy, describe_row

#: Level of the tests of ``test-then-rank``.
ALPHA = 0.05
#: Reference volumes that differ by more than this share are different references.
VOLUME_TOLERANCE = 1e-6
_COMPARED_DIGITS = 12
_WRITTEN_DECIMALS = 6
_LISTED = 5


@dataclass(frozen=True)
class Scores:
    """What is ranked, as matrices of (method, case).

    Attributes:
        methods: names, in the order of the rows.
        cases: names, in the order of the columns.
        values: of each metric, shape (methods, cases), complete, as the policy counts them.
        missing: shape (methods, cases), where there was no prediction.
    """

    methods: tuple[str, ...]
    cases: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    missing: np.ndarray


def rank_methods(
    cases: pd.DataFrame, *, scheme: str = "dice", policy: str = "isles2018", metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """The leaderboard.

    Args:
        cases: a row a (method, case), as `cases.read_cases` gives it.
        scheme: one of `SCHEMES`.
        policy: one of `policy.POLICIES`.
        metrics: what the scheme ranks by; None takes the contract's five. ``dice`` looks at Dice alone.

    Returns:
        A row a method, by rank, then name, in the layout of leaderboard.csv: means and standard deviations over all
        cases as the policy counts them, floats rounded to 6 decimals; ``hausdorff_mm_defined_mean`` over the cases
        that have a distance and ``hausdorff_mm_undefined`` the number of those that have none; ``score`` is what the
        scheme ordered by.

    Raises:
        InputError: the scheme, the policy or a metric is unknown, or the rows cannot be compared.
    """
    if scheme not in SCHEMES:
        raise InputError(f"the scheme {scheme} is unknown: choose {', '.join(SCHEMES)}")
    if policy not in POLICIES:
        raise InputError(f"the policy {policy} is unknown: choose {', '.join(POLICIES)}")
    ranked = tuple(metrics) if metrics else CORE_METRICS
    check_metrics(ranked)
    check_comparable(cases)
    cases = sort_cases(cases)
    shown = [
        name for name in METRICS if name in CORE_METRICS or name in ranked or _countable(cases, POLICIES[policy], name)
    ]
    counted = apply_policy(cases, POLICIES[policy], tuple(shown))
    scores = to_scores(cases, counted)
    chosen = SCHEMES[scheme](scores, ranked)
    table = _summary(cases, scores, POLICIES[policy].ddof)
    table.insert(0, "rank", competition_ranks(chosen, higher_is_better=scheme in _HIGHER_FIRST))
    table["score"] = [round(float(value), _WRITTEN_DECIMALS) for value in chosen]
    table["scheme"], table["policy"] = scheme, policy
    order = sorted(range(len(table)), key=lambda row: (table["rank"].iloc[row], natural_key(table["method"].iloc[row])))
    return table.iloc[order].reset_index(drop=True)


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse metrics that cannot be ranked by.

    Raises:
        InputError: one is unknown or has no direction.
    """
    usable = [name for name, metric in METRICS.items() if metric.higher_is_better is not None]
    problems = [name for name in metrics if name not in usable]
    if problems:
        raise InputError(f"{name} is no metric to rank by: choose from {', '.join(usable)}" for name in problems)


def check_comparable(cases: pd.DataFrame) -> None:
    """Refuse rows whose ranking would mislead.

    Raises:
        InputError: there are no rows; a (method, case) is there twice; methods were scored on different case lists; a
            case has different reference volumes.
    """
    if cases.empty:
        raise InputError("there are no cases to rank: score some predictions first")
    problems = [*_doubled(cases), *_different_lists(cases), *_different_references(cases)]
    if problems:
        raise InputError(problems)


def _doubled(cases: pd.DataFrame) -> list[str]:
    doubled = cases[cases.duplicated(["method", "case"], keep=False)]
    return [
        f"{_where(rows)}: {method} has {case} {len(rows)} times: keep one row"
        for (method, case), rows in doubled.groupby(["method", "case"], sort=True)
    ]


def _different_lists(cases: pd.DataFrame) -> list[str]:
    every = set(cases["case"])
    problems = []
    for method, own in cases.groupby("method", sort=True)["case"]:
        lacking = sorted(every - set(own), key=natural_key)
        if lacking:
            listed = ", ".join(lacking[:_LISTED]) + (f" and {len(lacking) - _LISTED} more" if lacking[_LISTED:] else "")
            problems.append(
                f"{method}: has no row for {listed}, which other methods have: score all methods on the same cases"
            )
    return problems


def _different_references(cases: pd.DataFrame) -> list[str]:
    spread = cases.groupby("case")["reference_ml"].agg(["min", "max"])
    apart = spread[spread["max"] - spread["min"] > VOLUME_TOLERANCE * spread["max"]]
    problems = []
    for case in sorted(apart.index, key=natural_key):
        rows = cases[cases["case"] == case]
        pair = (
            rows.loc[[rows["reference_ml"].idxmin(), rows["reference_ml"].idxmax()]] if rows.index.is_unique else rows
        )
        low, high = apart.loc[case, ["min", "max"]]
        problems.append(
            f"{_where(pair)}: {case} has reference volumes of {low:g} and {high:g} mL: "
            "score all methods against the same references"
        )
    return problems


def _where(rows: pd.DataFrame) -> str:
    return ", ".join(describe_row(rows, label) for label in rows.index[:_LISTED])


def _countable(cases: pd.DataFrame, policy: Policy, metric: str) -> bool:
    """Whether the rows have what this metric needs (other programs write the contract's columns alone)."""
    try:
        apply_policy(cases, policy, (metric,))
    except InputError:
        return False
    return True


def to_scores(cases: pd.DataFrame, counted: pd.DataFrame) -> Scores:
    """Matrices from sorted, comparable rows and what the policy counts for them."""
    methods = tuple(cases["method"].unique())
    names = tuple(cases["case"].iloc[: len(cases) // len(methods)])
    shape = (len(methods), len(names))
    values = {metric: counted[metric].to_numpy(dtype=float).reshape(shape) for metric in counted.columns}
    return Scores(methods, names, values, (cases["status"] == "missing").to_numpy().reshape(shape))


def by_dice(scores: Scores, metrics: Sequence[str]) -> np.ndarray:
    """Mean Dice of each method, shape (methods,); more is better."""
    return means(scores.values["dice"])


def mean_then_rank(scores: Scores, metrics: Sequence[str]) -> np.ndarray:
    """Rank the methods by their mean of each metric, then average over the metrics; less is better."""
    ranks = [competition_ranks(means(scores.values[name]), higher_is_better=_up(name)) for name in metrics]
    return means(np.array(ranks, dtype=float).T)


def rank_then_mean(scores: Scores, metrics: Sequence[str]) -> np.ndarray:
    """Rank the methods in each case and metric, then average over metrics and cases; less is better.

    The way of ISLES 2015 to 2017: a method without a prediction takes the last rank in every metric of that case,
    behind all that have one, whatever the policy counts for it.
    """
    ranks = []
    for name in metrics:
        values = np.where(scores.missing, -np.inf if _up(name) else np.inf, scores.values[name])
        ranked = competition_ranks(values, higher_is_better=_up(name)).astype(float)
        ranked[scores.missing] = len(scores.methods)
        ranks.append(ranked)
    return means(means(np.moveaxis(np.array(ranks), 0, -1)))


def tests_won(scores: Scores, metrics: Sequence[str]) -> np.ndarray:
    """Share of its pairwise tests that each method wins over all opponents and metrics, in [0, 1]; more is better.

    A test is a one-sided Wilcoxon signed-rank test over the cases at level 0.05, without correction for their number
    (the share orders the methods, it claims no significance). Without opponents the share is 0.
    """
    from scipy.stats import wilcoxon

    count = len(scores.methods)
    won = np.zeros(count)
    for name in metrics:
        values = comparable(scores.values[name]) * (1 if _up(name) else -1)
        for first in range(count):
            for second in range(count):
                difference = values[first] - values[second]
                if difference.any() and wilcoxon(difference, alternative="greater").pvalue < ALPHA:
                    won[first] += 1
    return won / max(len(metrics) * (count - 1), 1)


#: What each scheme orders the methods by.
SCHEMES: dict[str, Callable[[Scores, Sequence[str]], np.ndarray]] = {
    "dice": by_dice,
    "mean-then-rank": mean_then_rank,
    "rank-then-mean": rank_then_mean,
    "test-then-rank": tests_won,
}
#: Schemes whose score is better the higher; the others are mean ranks.
_HIGHER_FIRST = frozenset({"dice", "test-then-rank"})


def _up(metric: str) -> bool:
    return bool(METRICS[metric].higher_is_better)


def competition_ranks(values: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """Ranks from 1 along the first axis; equal values share the smallest rank (1, 2, 2, 4)."""
    from scipy.stats import rankdata

    keys = comparable(values)
    return np.asarray(rankdata(-keys if higher_is_better else keys, method="min", axis=0)).astype(int)


def comparable(values: np.ndarray) -> np.ndarray:
    """Values with the noise of floating point rounded away, so that what is equal ties."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=float))
    return np.asarray(np.ldexp(np.round(mantissa, _COMPARED_DIGITS), exponent))


def means(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, exactly rounded."""
    flat = values.reshape(-1, values.shape[-1])
    return np.array([math.fsum(row) / len(row) for row in flat.tolist()]).reshape(values.shape[:-1])


def standard_deviations(values: np.ndarray, ddof: int = 0) -> np.ndarray:
    """Standard deviation over the last axis, from exactly rounded sums; 0 where there are no degrees of freedom."""
    deviations = values - means(values)[..., None]
    count = values.shape[-1]
    return np.sqrt(means(deviations**2) * count / max(count - ddof, 1))


def _summary(cases: pd.DataFrame, scores: Scores, ddof: int) -> pd.DataFrame:
    """A row a method in the order of `scores`: counts, means and standard deviations."""
    table = pd.DataFrame({"method": scores.methods, "cases": len(scores.cases), "missing": scores.missing.sum(axis=1)})
    distances = cases["hausdorff_mm"].to_numpy(dtype=float).reshape(scores.missing.shape)
    distances = np.where(scores.missing, np.nan, distances)
    for name in METRICS:
        if name in scores.values:
            table[f"{name}_mean"] = _written(means(scores.values[name]))
            table[f"{name}_sd"] = _written(standard_deviations(scores.values[name], ddof))
        if name == CORE_METRICS[-1]:
            # a confidence set for the rank, once ranks are resampled
            table["rank_low"] = pd.array([None] * len(table), dtype="Int64")
            table["rank_high"] = pd.array([None] * len(table), dtype="Int64")
            defined = [row[~np.isnan(row)] for row in distances]
            table["hausdorff_mm_defined_mean"] = _written(
                np.array([means(row) if row.size else np.nan for row in defined], dtype=float)
            )
            table["hausdorff_mm_undefined"] = [len(scores.cases) - row.size for row in defined]
    return table


def _written(values: np.ndarray) -> list[float]:
    return [round(value, _WRITTEN_DECIMALS) for value in values.tolist()]
