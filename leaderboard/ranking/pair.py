"""Two methods against each other: metric by metric, over all cases and within strata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.columns import METRICS
from leaderboard.errors import InputError, check_types, listed, nearest
from leaderboard.ranking.exact import comparable, means
from leaderboard.ranking.intervals import Chances, margins
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.reading import check_given, measured_distances, read_matrices
from leaderboard.ranking.resampling import draw
from leaderboard.ranking.strata import split

#: The first stratum: everything.
ALL = "all"


@dataclass(frozen=True)
class Difference:
    """Two methods under one metric, over all cases or a stratum's; undefined values as the policy counts them.

    Where some distance is undefined, means and difference show what the policy counts for it (1e8 mm) and little else:
    `first_defined_mean` and `first_undefined` are for readers.
    """

    stratum: str  #: `ALL` or its name
    metric: str  #: its column
    higher_is_better: bool  #: its direction
    cases: int  #: how many
    units: int  #: patients (or cases)
    first: float  #: mean of the first method
    second: float  #: mean of the second
    difference: float  #: first minus second
    low: float  #: lower end of the difference's 95 % interval; NaN where one unit tells nothing
    high: float  #: upper end
    chance: float  #: that the first's next training beats the second's on the next unit (`intervals.Chances`)
    wins: int  #: units in which the first method's mean over cases and trainings is better
    ties: int  #: in which they are equal
    losses: int  #: in which the second's is better
    #: mean of the first method over the cases that have a distance; NaN where none has, and for what is no distance
    first_defined_mean: float = np.nan
    second_defined_mean: float = np.nan  #: of the second
    first_undefined: int | None = None  #: cases without a distance of the first; None for what is no distance
    second_undefined: int | None = None  #: of the second

    @property
    def undefined(self) -> int:
        """How many distances the two lack."""
        return (self.first_undefined or 0) + (self.second_undefined or 0)


@dataclass(frozen=True)
class Pair:
    """Two methods against each other."""

    matrices: Matrices  #: of the two, in the order asked for
    metrics: Mapping[str, bool]  #: compared, and whether more of each is better; the first is the main one
    distances: Mapping[str, np.ndarray]  #: each distance as measured, NaN where it is undefined, shape (2, cases)
    differences: tuple[Difference, ...]  #: over all cases by metric, then of each stratum

    @property
    def trainings(self) -> dict[str, int]:
        """How many trainings of each method are known, at least 1."""
        known = self.matrices.trainings
        seeds = known.seeds if known else [()] * len(self.matrices.methods)
        return {method: max(len(own), 1) for method, own in zip(self.matrices.methods, seeds, strict=True)}


#: How pairs are compared unless said otherwise: the scheme is none that needs a metric of its own.
PAIR_DEFAULTS = RankingOptions(scheme="mean-then-rank")


def compare_pair(
    cases: pd.DataFrame, first: str, second: str, options: RankingOptions = PAIR_DEFAULTS, by: str = ""
) -> Pair:
    """Compare two methods of a table.

    Args:
        cases: as `cases.read_cases` gives them, with these and perhaps other methods.
        first: a method's name.
        second: another's.
        options: its policy, unit and metrics count; without metrics, all that have a direction.
        by: strata to look at as well, one of `options.STRATA`; empty: none.

    Raises:
        InputError: there is no such method, the rows cannot be compared, or an argument is of a wrong type.
    """
    check_given(cases, options)
    check_types(*((name, value, str, "a method's name") for name, value in (("first", first), ("second", second))))
    if faults := name_faults(cases, first, second):
        raise InputError(faults)
    own = cases[cases["method"].isin([first, second])]
    matrices, distances, metrics = _read(own, first, options)
    strata = split(own, by) if by else {}
    parts = [(ALL, matrices, distances), *((name, *_read(rows, first, options)[:2]) for name, rows in strata.items())]
    differences = [
        _difference(stratum, part, measured.get(name), name, up, options.unit)
        for stratum, part, measured in parts
        for name, up in metrics.items()
        if name in part.values
    ]
    return Pair(matrices, metrics, distances, tuple(differences))


def name_faults(cases: pd.DataFrame, first: str, second: str) -> list[str]:
    """What is wrong with two names as those of two methods of a table, a line each, which begins with the name."""
    known = sorted(cases["method"].unique()) if "method" in cases.columns else []
    faults = [
        f"{name}: no table has this method: {nearest(name, known)}choose from {listed(known, 20)}"
        for name in dict.fromkeys((first, second))
        if name not in known
    ]
    return [*faults, f"{first}: is one method twice: name two"] if first == second else faults


def _read(
    cases: pd.DataFrame, first: str, options: RankingOptions
) -> tuple[Matrices, dict[str, np.ndarray], dict[str, bool]]:
    """The matrices with the first method on top, the distances as measured, and the metrics to compare."""
    rows, matrices = read_matrices(cases, options)
    order = [0, 1] if matrices.methods[0] == first else [1, 0]
    distances = {name: values[order] for name, values in measured_distances(rows, matrices).items()}
    matrices = matrices.in_order(order)
    if options.metrics:
        return matrices, distances, dict(matrices.higher_is_better)
    directions = {name: METRICS[name].higher_is_better for name in matrices.values if name in METRICS}
    return matrices, distances, {name: up for name, up in directions.items() if up is not None}


def _difference(
    stratum: str, matrices: Matrices, measured: np.ndarray | None, name: str, up: bool, unit: str
) -> Difference:
    """Of one metric; `measured` is None for what is no distance."""
    values = matrices.values[name]
    of_unit = draw(matrices, unit=unit, resamples=0, seed=0).unit_of_case
    units = np.unique(of_unit)
    lead = np.array([means(values[:, of_unit == number]) for number in units]).T
    better = np.sign(comparable(lead[0]) - comparable(lead[1])) * (1 if up else -1)
    first, second = means(values).tolist()
    defined = [] if measured is None else [row[~np.isnan(row)] for row in measured]
    first_mean, second_mean = [float(means(row)) if row.size else np.nan for row in defined] or (np.nan, np.nan)
    first_lacks, second_lacks = [values.shape[1] - row.size for row in defined] or (None, None)
    margin = float(margins(matrices, name, unit, against=1)[0])
    return Difference(
        stratum=stratum,
        metric=name,
        higher_is_better=up,
        cases=values.shape[1],
        units=len(units),
        first=first,
        second=second,
        difference=first - second,
        low=first - second - margin,
        high=first - second + margin,
        chance=Chances(matrices, {name: up}, unit).of(0, 1),
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        first_defined_mean=first_mean,
        second_defined_mean=second_mean,
        first_undefined=first_lacks,
        second_undefined=second_lacks,
    )
