"""Ranks from cases.csv: pure functions on a long table.

`rank_methods` gives the leaderboard; `analyse` gives with it everything that a report shows. The parts: `scores`
(refusals, policy, matrices), `schemes` (what the methods are ordered by), `resampling`, `rank_sets`, `uncertainty`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.cohort.trees import natural_key
from leaderboard.columns import CORE_METRICS, METRICS
from leaderboard.errors import InputError
from leaderboard.ranking.matrices import VOLUME_TOLERANCE, Scores, check_comparable, left_out, read_scores
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.schemes import SCHEMES, comparable, competition_ranks, means, scheme_ranks, standard_deviations
from leaderboard.ranking.uncertainty import RESAMPLES, Agreement, Uncertainty, quantify, scheme_agreement, significance

__all__ = [
    "SCHEMES", "VOLUME_TOLERANCE", "Analysis", "Scores", "analyse", "check_comparable", "comparable",
    "competition_ranks", "left_out", "means", "rank_methods", "standard_deviations",
]  # fmt: skip

_WRITTEN_DECIMALS = 6


@dataclass(frozen=True)
class Analysis:
    """A ranking and all that is known about its stability; every array follows the rows of `table`.

    Attributes:
        table: the leaderboard, as `rank_methods` gives it.
        scores: the matrices behind it.
        uncertainty: from resampling; None where there were no resamples.
        significance: p values of one-sided Wilcoxon tests after Holm, [a, b] of "a is better than b", shape (J, J).
        agreement: of the schemes.
    """

    table: pd.DataFrame
    scores: Scores
    uncertainty: Uncertainty | None
    significance: np.ndarray
    agreement: Agreement


def rank_methods(
    cases: pd.DataFrame,
    *,
    scheme: str = "dice",
    policy: str = "isles2018",
    metrics: Sequence[str] | None = None,
    unit: str = "patient",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """The leaderboard.

    Args:
        cases: a row a (method, case), as `cases.read_cases` gives it.
        scheme: one of `SCHEMES`.
        policy: one of `policy.POLICIES`.
        metrics: what the scheme ranks by; None takes the contract's five. ``dice`` looks at Dice alone. A metric may
            carry a direction, and any column of numbers is one: ``seconds:lower``.
        unit: what is resampled, ``patient`` or ``case``.
        resamples: how many; 0 leaves all that comes from resampling empty.
        seed: of the resamples.

    Returns:
        A row a method, by rank, then name, in the layout of leaderboard.csv: means and standard deviations over all
        cases as the policy counts them, floats rounded to 6 decimals; ``hausdorff_mm_defined_mean`` over the cases
        that have a distance and ``hausdorff_mm_undefined`` the number of those that have none; ``score`` is what the
        scheme ordered by. At the end what `uncertainty.Uncertainty` explains: ``rank_boot_low``, ``rank_boot_high``,
        ``first_share``, ``tie_group``; and how it came about: ``patients`` (their number; empty where not one is known,
        and every case counts as a patient), ``unit``, ``resamples``, ``seed``. Last, for schemes other than ``dice``,
        the ``metrics`` ranked by, joined by semicolons. The frame's ``attrs`` say whether the resampling
        ``tells_nothing``.

    Raises:
        InputError: the scheme, the policy or a metric is unknown, or the rows cannot be compared.
    """
    table, _, _ = _rank(cases, scheme, policy, metrics, unit, resamples, seed)
    return table


def analyse(
    cases: pd.DataFrame,
    *,
    scheme: str = "dice",
    policy: str = "isles2018",
    metrics: Sequence[str] | None = None,
    unit: str = "patient",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Analysis:
    """The leaderboard and everything that is known about its stability; arguments as for `rank_methods`.

    Raises:
        InputError: as `rank_methods`.
    """
    table, scores, uncertainty = _rank(cases, scheme, policy, metrics, unit, resamples, seed)
    return Analysis(
        table, scores, uncertainty, significance(scores, scheme=scheme, unit=unit), scheme_agreement(scores)
    )


def _rank(
    cases: pd.DataFrame,
    scheme: str,
    policy: str,
    metrics: Sequence[str] | None,
    unit: str,
    resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, Scores, Uncertainty | None]:
    """The leaderboard, and the scores and their uncertainty in its order."""
    if scheme not in SCHEMES:
        raise InputError(f"the scheme {scheme} is unknown: choose {', '.join(SCHEMES)}")
    cases, scores = read_scores(cases, policy=policy, metrics=metrics)
    distances = np.where(
        scores.missing, np.nan, cases["hausdorff_mm"].to_numpy(dtype=float).reshape(scores.missing.shape)
    )
    chosen, ranks = scheme_ranks(scores, scheme)
    order = sorted(range(len(ranks)), key=lambda row: (ranks[row], natural_key(scores.methods[row])))
    scores = scores.in_order(order)
    uncertainty = None
    if resamples:
        uncertainty = quantify(scores, scheme=scheme, unit=unit, resamples=resamples, seed=seed)
    table = _summary(scores, distances[order], POLICIES[policy].ddof, uncertainty)
    table.insert(0, "rank", ranks[order])
    table["score"] = _written(chosen[order])
    table["scheme"], table["policy"] = scheme, policy
    if uncertainty:
        table["rank_boot_low"], table["rank_boot_high"] = uncertainty.boot_low, uncertainty.boot_high
        table["first_share"] = _written(uncertainty.first_share)
        table["tie_group"] = uncertainty.tie_labels
        known = bool((cases["patient"] != "").any())
        table["patients"] = pd.array([len(set(scores.patients)) if known else None] * len(table), dtype="Int64")
        table["unit"], table["resamples"], table["seed"] = unit, resamples, seed
        table.attrs["tells_nothing"] = uncertainty.tells_nothing
    if scheme != "dice":
        table["metrics"] = ";".join(map(_with_direction, scores.higher_is_better.items()))
    return table, scores, uncertainty


def _summary(scores: Scores, distances: np.ndarray, ddof: int, uncertainty: Uncertainty | None) -> pd.DataFrame:
    """A row a method: counts, means and standard deviations, and the confidence set of its rank.

    Args:
        scores: what is ranked.
        distances: Hausdorff distances as measured, NaN where undefined, shape (methods, cases).
        ddof: of the standard deviations.
        uncertainty: of the ranks; None leaves them empty.
    """
    count = len(scores.methods)
    empty = [None] * count
    columns: dict[str, object] = {
        "method": scores.methods, "cases": len(scores.cases), "missing": scores.missing.sum(axis=1)
    }  # fmt: skip
    for name in [*METRICS, *(name for name in scores.values if name not in METRICS)]:
        if name in scores.values:
            columns[f"{name}_mean"] = _written(means(scores.values[name]))
            columns[f"{name}_sd"] = _written(standard_deviations(scores.values[name], ddof))
        if name == CORE_METRICS[-1]:
            columns["rank_low"] = pd.array(uncertainty.rank_low if uncertainty else empty, dtype="Int64")
            columns["rank_high"] = pd.array(uncertainty.rank_high if uncertainty else empty, dtype="Int64")
            defined = [row[~np.isnan(row)] for row in distances]
            columns["hausdorff_mm_defined_mean"] = _written(
                np.array([means(row) if row.size else np.nan for row in defined], dtype=float)
            )
            columns["hausdorff_mm_undefined"] = [len(scores.cases) - row.size for row in defined]
    return pd.DataFrame(columns)


def _with_direction(metric: tuple[str, bool]) -> str:
    """A metric as `scores.chosen_metrics` takes it, with its direction where that is not its own."""
    name, higher = metric
    own = name in METRICS and METRICS[name].higher_is_better is higher
    return name if own else f"{name}:{'higher' if higher else 'lower'}"


def _written(values: np.ndarray) -> list[float]:
    return [round(value, _WRITTEN_DECIMALS) for value in values.tolist()]
