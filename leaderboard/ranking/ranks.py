"""Ranks from cases.csv: pure functions on a long table.

`rank_methods` gives the leaderboard; `analyse` adds everything else that a report shows. The parts: `reading`
(refusals, policy, matrices), `schemes` (what the methods are ordered by), `resampling`, `rank_sets`, `uncertainty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from leaderboard.cases import complete, sort_cases, synthetic_rows
from leaderboard.cohort.names import natural_key
from leaderboard.columns import CORE_METRICS, DATA, METRICS, SYNTHETIC_DATA
from leaderboard.errors import A_FUNCTION, check_types
from leaderboard.ranking.exact import means, standard_deviations
from leaderboard.ranking.intervals import Chances, intervals, judged_by
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.options import DEFAULTS, RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.reading import check_given, first_trainings, measured_distances, read_matrices
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.trainings import seed_deviations
from leaderboard.ranking.uncertainty import SchemeAgreement, Uncertainty, quantify, scheme_agreement, significance

#: Columns of `rank_methods` for tables that people read; leaderboard.csv does not have them.
SHOWN_ONLY = tuple(
    f"{name}_{part}"
    for name, metric in METRICS.items()
    if metric.is_distance
    for part in ("defined_mean", "defined_sd", "undefined")
    if name != "hausdorff_mm" or part == "defined_sd"
)
_WRITTEN_DECIMALS = 6


@dataclass(frozen=True)
class Analysis:
    """A ranking and everything about its stability; every array follows the rows of `table`."""

    options: RankingOptions  #: how it was ranked
    rows: pd.DataFrame  #: what was given, sorted: one row for each (method, seed, case)
    #: the rows behind it, by method, then case in natural order; means over the trainings where there are several
    cases: pd.DataFrame
    first_trainings: pd.DataFrame  #: the same rows, of the training with the lowest seed
    table: pd.DataFrame  #: the leaderboard, as `rank_methods` gives it
    matrices: Matrices  #: what was ranked
    uncertainty: Uncertainty | None  #: from resampling; None if there were no resamples
    #: p values of one-sided Wilcoxon tests after Holm, [a, b] of "a is better than b", shape (J, J)
    significance: np.ndarray
    agreement: SchemeAgreement  #: between the schemes


def rank_methods(
    cases: pd.DataFrame,
    options: RankingOptions = DEFAULTS,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """The leaderboard.

    Args:
        cases: one row for each (method, case), as `cases.read_cases` gives them.
        options: how to rank.
        progress: called with (done, total) while all pairs of methods are compared, which takes most of the time.

    Returns:
        One row for each method, by rank, then name, in the layout of leaderboard.csv: means and standard deviations
        over all cases as the policy counts them, floats rounded to 6 decimals; ``hausdorff_mm_defined_mean`` over the
        cases that have a distance and ``hausdorff_mm_undefined``, the number of the others (and the same, with
        ``_defined_sd``, of every distance: `SHOWN_ONLY`); ``score``, which the scheme ordered by. Then come, of each
        core metric and each ranked by, the ends of the 95 % interval of its mean, as ``dice_ci_low`` and
        ``dice_ci_high`` (`intervals`), and ``p_better_than_next``, the probability that the method's next training
        beats that of the row below on the next patient (`intervals.Chances`). Where methods were trained several times,
        ``trainings`` has their number, and ``dice_seed_sd`` (and so on) the standard deviation of the mean over them.
        Then, see `uncertainty.Uncertainty`, ``rank_boot_low``, ``rank_boot_high``, ``first_share`` and ``tie_group``,
        and the settings ``patients`` (their number; empty where none is known and every case counts as a patient),
        ``unit``, ``resamples``, ``seed`` and, if they are simultaneous, ``sets``. Last, for schemes other than
        ``dice``, the ``metrics`` ranked by, joined by semicolons, the ``preset``, if there is one, and, where rows are
        marked as synthetic, ``data``, which says so. Required columns that the rows lack are absent. The frame's
        ``attrs`` say whether the resampling ``tells_nothing``.

    Raises:
        InputError: a metric is unknown, or the rows cannot be compared; or an argument is of a wrong type.
    """
    check_given(cases, options)
    check_types(("progress", progress, A_FUNCTION, "a function or None"))
    return _rank(*read_matrices(cases, options), options, progress)[0]


def analyse(cases: pd.DataFrame, options: RankingOptions = DEFAULTS) -> Analysis:
    """The leaderboard and everything about its stability; arguments as for `rank_methods`.

    Raises:
        InputError: as `rank_methods`.
    """
    check_given(cases, options)
    rows = sort_cases(complete(cases)).reset_index(drop=True)
    cases, matrices = read_matrices(cases, options)
    table, matrices, uncertainty = _rank(cases, matrices, options)
    p_values, agreement = significance(matrices, options), scheme_agreement(matrices, options.scheme)
    cases, first = cases.reset_index(drop=True), first_trainings(rows).reset_index(drop=True)
    return Analysis(options, rows, cases, first, table, matrices, uncertainty, p_values, agreement)


def _rank(
    cases: pd.DataFrame,
    matrices: Matrices,
    options: RankingOptions,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, Matrices, Uncertainty | None]:
    """The leaderboard, and the matrices and the uncertainty in its order."""
    scheme = SCHEMES[options.scheme]
    score, ranks = scheme.ranks(matrices)
    order = sorted(range(len(ranks)), key=lambda row: (ranks[row], natural_key(matrices.methods[row])))
    distances = {name: values[order] for name, values in measured_distances(cases, matrices).items()}
    matrices = matrices.in_order(order)
    uncertainty = quantify(matrices, options, progress) if options.resamples else None
    table = _summary(matrices, distances, POLICIES[options.policy].ddof, uncertainty)
    table.insert(0, "rank", ranks[order])
    table["score"] = _written(score[order])
    for name, values in _precision(matrices, options, sets=bool(uncertainty)).items():
        table[name] = values
    table["scheme"], table["policy"] = options.scheme, options.policy
    if uncertainty:
        table["rank_boot_low"], table["rank_boot_high"] = uncertainty.boot_low, uncertainty.boot_high
        table["first_share"] = _written(uncertainty.first_share)
        table["tie_group"] = uncertainty.tie_labels
        known = bool((cases["patient"] != "").any())
        table["patients"] = pd.array([len(set(matrices.patients)) if known else None] * len(table), dtype="Int64")
        table["unit"], table["resamples"], table["seed"] = options.unit, options.resamples, options.seed
        if options.simultaneous:
            table["sets"] = "simultaneous"
        table.attrs["tells_nothing"] = uncertainty.tells_nothing
    if scheme.metric is None:
        table["metrics"] = ";".join(map(_with_direction, matrices.higher_is_better.items()))
    if options.preset:
        table["preset"] = options.preset
    invented = synthetic_rows(cases)
    if invented.any():
        table[DATA] = np.where(table["method"].isin(cases.loc[invented.to_numpy(), "method"]), SYNTHETIC_DATA, "")
    return table, matrices, uncertainty


def _precision(matrices: Matrices, options: RankingOptions, *, sets: bool) -> dict[str, Any]:
    """The columns about how precisely means are known; those that need units only where there are `sets`."""
    columns: dict[str, Any] = {}
    names = [name for name in matrices.values if name in CORE_METRICS or name in matrices.higher_is_better]
    if sets:
        for name in names:
            low, high = intervals(matrices, name, options.unit)
            columns |= {f"{name}_ci_low": _written(low), f"{name}_ci_high": _written(high)}
        chances = Chances(matrices, judged_by(matrices, options.scheme), options.unit)
        better = [chances.of(row, row + 1) for row in range(len(matrices.methods) - 1)]
        columns["p_better_than_next"] = _written(np.array([*better, np.nan]))
    if matrices.trainings:
        counts = [len(seeds) or None for seeds in matrices.trainings.seeds]
        columns["trainings"] = pd.array(counts, dtype="Int64")
        for name in names:
            columns[f"{name}_seed_sd"] = _written(np.array(seed_deviations(matrices, name)))
    return columns


def _summary(
    matrices: Matrices, distances: Mapping[str, np.ndarray], ddof: int, uncertainty: Uncertainty | None
) -> pd.DataFrame:
    """One row for each method: counts, means and standard deviations, and the confidence set of its rank.

    Args:
        matrices: what is ranked.
        distances: as `measured_distances` gives them.
        ddof: of the standard deviations.
        uncertainty: of the ranks; None leaves them empty.
    """
    count = len(matrices.methods)
    empty = [None] * count
    columns: dict[str, object] = {
        "method": matrices.methods, "cases": len(matrices.cases), "missing": matrices.missing.sum(axis=1)
    }  # fmt: skip
    for name in [*METRICS, *(name for name in matrices.values if name not in METRICS)]:
        if name in matrices.values:
            columns[f"{name}_mean"] = _written(means(matrices.values[name]))
            columns[f"{name}_sd"] = _written(standard_deviations(matrices.values[name], ddof))
        if name == CORE_METRICS[-1]:
            columns["rank_low"] = pd.array(uncertainty.rank_low if uncertainty else empty, dtype="Int64")
            columns["rank_high"] = pd.array(uncertainty.rank_high if uncertainty else empty, dtype="Int64")
            for distance, values in distances.items():
                columns |= _over_defined(distance, values, ddof)
    return pd.DataFrame(columns)


def _over_defined(name: str, distances: np.ndarray, ddof: int) -> dict[str, list[float] | list[int]]:
    """Mean and standard deviation of a distance over the cases that have one, and the number of those without."""
    defined = [row[~np.isnan(row)] for row in distances]
    mean = [float(means(row)) if row.size else np.nan for row in defined]
    sd = [float(standard_deviations(row, ddof)) if row.size > ddof else np.nan for row in defined]
    return {
        f"{name}_defined_mean": _written(np.array(mean, dtype=float)),
        f"{name}_undefined": [distances.shape[1] - row.size for row in defined],
        f"{name}_defined_sd": _written(np.array(sd, dtype=float)),
    }


def _with_direction(metric: tuple[str, bool]) -> str:
    """A metric as `reading.chosen_metrics` takes it, with its direction where that is not its own."""
    name, higher = metric
    own = name in METRICS and METRICS[name].higher_is_better is higher
    return name if own else f"{name}:{'higher' if higher else 'lower'}"


def _written(values: np.ndarray) -> list[float]:
    return [round(value, _WRITTEN_DECIMALS) for value in values.tolist()]
