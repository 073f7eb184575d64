"""Drawing patients with replacement, and what a scheme makes of each draw.

All of a patient's cases move together: slabs of one brain say less than slabs of two. A resample is a row of counts,
how often each patient was drawn, so a resampled mean is a product of matrices. Values are put on a binary grid so
coarse that every sum of a product is exact; whatever the order of summation, the bits are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leaderboard.errors import InputError
from leaderboard.ranking.matrices import Scores
from leaderboard.ranking.schemes import ALPHA, per_case, rounded_differences, signed_values

#: What may be resampled.
UNITS = ("patient", "case")
#: Numbers that a chunk of resamples may hold at once in each of a few arrays.
_CHUNK = 4_000_000
_FLOAT_BITS = 53
# Chunks of the signed-rank tests are smaller by this, so that they stay in a processor's cache.
_IN_CACHE = 16


@dataclass(frozen=True)
class Resamples:
    """How often each unit was drawn.

    Attributes:
        counts: shape (resamples, units).
        unit_of_case: the unit of each case, shape (cases,).
    """

    counts: np.ndarray
    unit_of_case: np.ndarray

    @property
    def units(self) -> int:
        """Number of patients (or cases)."""
        return int(self.counts.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """Cases of each unit, shape (units,)."""
        return np.bincount(self.unit_of_case, minlength=self.units)

    @property
    def most_cases(self) -> int:
        """No resample has more cases than this."""
        return int(self.sizes.max()) * self.units

    def chunks(self, width: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of the resamples with their counts as floats, small enough for arrays of `width` columns."""
        step = max(_CHUNK // max(width, self.units), 1)
        for start in range(0, len(self.counts), step):
            part = slice(start, start + step)
            yield part, self.counts[part].astype(float)


def draw(scores: Scores, *, unit: str, resamples: int, seed: int) -> Resamples:
    """Draw as many units as there are, with replacement, `resamples` times.

    The raw stream of PCG64 is scaled here: NumPy promises that stream for ever, and not what its samplers make of it.

    Raises:
        InputError: the unit is unknown, or a number makes no sense.
    """
    if unit not in UNITS:
        raise InputError(f"the unit {unit} is unknown: choose {' or '.join(UNITS)}")
    if resamples < 1 or seed < 0:
        raise InputError("resamples must be at least 1 and the seed at least 0: correct them")
    names = scores.patients if unit == "patient" else scores.cases
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    units = len(place)
    stream = np.random.PCG64(seed)
    counts = np.empty((resamples, units), dtype=np.uint16 if units < 2**16 else np.uint32)
    step = max(_CHUNK // units, 1)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        high_bits = stream.random_raw(rows * units) >> np.uint64(32)
        drawn = (high_bits * np.uint64(units) >> np.uint64(32)).astype(np.int64).reshape(rows, units)
        flat = (drawn + units * np.arange(rows)[:, None]).ravel()
        counts[start : start + rows] = np.bincount(flat, minlength=rows * units).reshape(rows, units)
    return Resamples(counts, np.array([place[name] for name in names]))


def resampled_scores(scores: Scores, scheme: str, resamples: Resamples) -> np.ndarray:
    """What a scheme orders the methods by in each resample, as `schemes.SCHEMES` but more is always better.

    For ``test-then-rank`` the tests of a resample use the normal approximation with its correction for ties: drawing
    with replacement makes ties, for which the exact distribution does not hold.

    Returns:
        Shape (methods, resamples). Equal scores are equal floats.
    """
    mean_over_cases = per_case(scores, scheme)
    if mean_over_cases is not None:
        return resampled_means(mean_over_cases, resamples)
    if scheme == "mean-then-rank":
        result = np.zeros((len(scores.methods), len(resamples.counts)))
        for values in signed_values(scores):
            result -= descending_ranks(resampled_means(values, resamples))
        return result / len(scores.higher_is_better)
    return _resampled_tests_won(scores, resamples)


def resampled_means(values: np.ndarray, resamples: Resamples) -> np.ndarray:
    """Mean over the cases of each resample, the same to the bit on any machine.

    Args:
        values: shape (methods, cases).
        resamples: of these cases.

    Returns:
        Shape (methods, resamples); equal means are equal floats.
    """
    totals, unit = unit_totals(values, resamples)
    coarse = unit * 2.0 ** math.ceil(math.log2(4 * values.shape[1]))  # the cases' rounding to the grid adds up
    result = np.empty((len(values), len(resamples.counts)))
    for part, counts in resamples.chunks(len(values)):
        sums = np.round(counts @ totals.T / coarse) * coarse
        result[:, part] = (sums / (counts @ resamples.sizes)[:, None]).T
    return result


def unit_totals(values: np.ndarray, resamples: Resamples) -> tuple[np.ndarray, float]:
    """Sum of each unit's cases, on the grid, and the grid's unit.

    Returns:
        Shape (methods, units), so that sums weighted by counts are exact in double precision; and the unit.
    """
    largest = float(np.abs(values).max()) * resamples.most_cases
    unit = math.ldexp(1.0, math.frexp(largest)[1] - _FLOAT_BITS + 1)
    totals = np.zeros((len(values), resamples.units))
    for case, place in enumerate(resamples.unit_of_case):
        totals[:, place] += np.round(values[:, case] / unit) * unit
    return totals, unit


def descending_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 down each column; equal values share the smallest rank.

    Args:
        values: shape (methods, resamples), more is better.

    Returns:
        Same shape, whole numbers.
    """
    from scipy.stats import rankdata

    ranks = np.empty(values.shape, dtype=np.int32)
    step = max(_CHUNK // max(len(values), 1), 1)
    for start in range(0, values.shape[1], step):
        part = slice(start, start + step)
        ranks[:, part] = rankdata(-values[:, part].T, method="min", axis=1).T
    return ranks


def _resampled_tests_won(scores: Scores, resamples: Resamples) -> np.ndarray:
    count, cases = scores.missing.shape
    won = np.zeros((count, len(resamples.counts)))
    limit = _normal_quantile()
    for part, counts in resamples.chunks(_IN_CACHE * cases):
        weights = counts.T[resamples.unit_of_case]
        for values in signed_values(scores):
            for first in range(count):
                differences = rounded_differences(values[first], values)
                for second in range(first + 1, count):
                    z = signed_rank_z(differences[second], weights)
                    won[first, part] += z > limit
                    won[second, part] += z < -limit
    return won / max(len(scores.higher_is_better) * (count - 1), 1)


def signed_rank_z(differences: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The z value of the signed-rank test in each resample, zeros left out, ties corrected for, as SciPy's.

    Args:
        differences: of each case, shape (cases,).
        weights: how often each case was drawn, shape (cases, resamples).

    Returns:
        Shape (resamples,); 0 where no difference is left.
    """
    sizes = np.abs(differences)
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    if not order.size:
        return np.zeros(weights.shape[1])
    starts = np.flatnonzero(np.diff(sizes[order], prepend=0.0))
    tied = above = weights[order]
    positive = (differences[order] > 0).astype(float)
    if starts.size < order.size:
        tied = np.add.reduceat(tied, starts)
        above = np.add.reduceat(above * positive[:, None], starts)
        positive = np.ones(starts.size)
    rank = np.cumsum(tied, axis=0)
    n = rank[-1].copy()
    rank -= (tied - 1) / 2
    excess = np.einsum("i,ij,ij->j", positive, above, rank) - n * (n + 1) / 4
    variance = (n * (n + 1) * (2 * n + 1) - (np.einsum("ij,ij,ij->j", tied, tied, tied) - n) / 2) / 24
    return np.divide(excess, np.sqrt(variance), out=np.zeros(len(n)), where=variance > 0)


def _normal_quantile() -> float:
    from scipy.special import ndtri

    return float(-ndtri(ALPHA))


def cluster_errors(values: np.ndarray, resamples: Resamples) -> np.ndarray:
    """What each unit adds to the error of each method's mean.

    The mean is a ratio, (sum of the units' totals) / (sum of their cases); its linearised error is a sum over units,
    and the standard error of a difference of methods the root of the summed squared differences (cluster-robust, with
    the factor G / (G - 1) for G units: Cochran, Sampling Techniques, 3rd ed., section 6.4).

    Returns:
        Shape (methods, units): sqrt(G / (G - 1)) * (total - mean * size) / cases; NaN for a single unit.
    """
    totals, _ = unit_totals(values, resamples)
    cases = len(resamples.unit_of_case)
    mean = totals.sum(axis=1, keepdims=True) / cases
    units = resamples.units
    factor = math.sqrt(units / (units - 1)) if units > 1 else math.nan
    return np.asarray(factor * (totals - mean * resamples.sizes) / cases)
