"""Two methods against each other: metric by metric, over all cases and within strata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.columns import METRICS
from leaderboard.errors import InputError, listed, nearest
from leaderboard.ranking.exact import comparable, means
from leaderboard.ranking.intervals import Chances, margins
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.reading import read_matrices
from leaderboard.ranking.resampling import draw
from leaderboard.ranking.strata import split

#: The first stratum: everything.
ALL = "all"


@dataclass(frozen=True)
class Difference:
    """Two methods under one metric, over all cases or a stratum's; undefined values as the policy counts them."""

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


@dataclass(frozen=True)
class Pair:
    """Two methods against each other."""

    matrices: Matrices  #: of the two, in the order asked for
    metrics: Mapping[str, bool]  #: compared, and whether more of each is better; the first is the main one
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
        InputError: there is no such method, or the rows cannot be compared.
    """
    if faults := name_faults(cases, first, second):
        raise InputError(faults)
    own = cases[cases["method"].isin([first, second])]
    matrices, metrics = _read(own, first, options)
    strata = split(own, by) if by else {}
    parts = [(ALL, matrices), *((name, _read(rows, first, options)[0]) for name, rows in strata.items())]
    differences = [
        _difference(stratum, part, name, up, options.unit)
        for stratum, part in parts
        for name, up in metrics.items()
        if name in part.values
    ]
    return Pair(matrices, metrics, tuple(differences))


def name_faults(cases: pd.DataFrame, first: str, second: str) -> list[str]:
    """What is wrong with two names as those of two methods of a table, a line each, which begins with the name."""
    known = sorted(cases["method"].unique()) if "method" in cases.columns else []
    faults = [
        f"{name}: no table has this method: {nearest(name, known)}choose from {listed(known, 20)}"
        for name in dict.fromkeys((first, second))
        if name not in known
    ]
    return [*faults, f"{first}: is one method twice: name two"] if first == second else faults


def _read(cases: pd.DataFrame, first: str, options: RankingOptions) -> tuple[Matrices, dict[str, bool]]:
    """The matrices with the first method on top, and the metrics to compare."""
    _, matrices = read_matrices(cases, options)
    matrices = matrices.in_order([0, 1] if matrices.methods[0] == first else [1, 0])
    if options.metrics:
        return matrices, dict(matrices.higher_is_better)
    directions = {name: METRICS[name].higher_is_better for name in matrices.values if name in METRICS}
    return matrices, {name: up for name, up in directions.items() if up is not None}


def _difference(stratum: str, matrices: Matrices, name: str, up: bool, unit: str) -> Difference:
    values = matrices.values[name]
    of_unit = draw(matrices, unit=unit, resamples=0, seed=0).unit_of_case
    units = np.unique(of_unit)
    lead = np.array([means(values[:, of_unit == number]) for number in units]).T
    better = np.sign(comparable(lead[0]) - comparable(lead[1])) * (1 if up else -1)
    first, second = means(values).tolist()
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
    )
