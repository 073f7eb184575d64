"""The Wilcoxon signed-rank test of all pairs of methods, and of resamples, in which every case has a weight."""

from __future__ import annotations

import math

import numpy as np

_COMPARED_BITS = 40
#: Up to this many observations with ties SciPy tries every sign of every difference.
_PERMUTED = 13


def wilcoxon_matrix(values: np.ndarray) -> np.ndarray:
    """One-sided Wilcoxon signed-rank tests of all pairs.

    Args:
        values: shape (methods, observations), more is better.

    Returns:
        Shape (methods, methods): entry [a, b] is SciPy's p value of "a is better than b" under its default method
        (since 1.15: exact for up to 50 observations without ties and zeros, by permutation for up to 13, else normal);
        1 if the two are equal in every observation, and on the diagonal.
    """
    from scipy.stats import wilcoxon

    count, observations = values.shape
    p_values = np.ones((count, count))
    for first in range(count):
        differences = rounded_differences(values[first], values)
        others = np.flatnonzero(differences.any(axis=1))
        differences = differences[others]
        # SciPy picks the method by the ties in all its input, so tests with and without ties are given separately
        tied = _has_ties(differences)
        for chosen in map(np.flatnonzero, (tied, ~tied)):
            if not len(chosen):
                continue
            if observations <= _PERMUTED and tied[chosen[0]]:
                p_values[first, others[chosen]] = permuted_p_values(differences[chosen])
            else:
                tests = wilcoxon(differences[chosen], axis=1, alternative="greater")
                p_values[first, others[chosen]] = tests.pvalue
    return p_values


def permuted_p_values(differences: np.ndarray) -> np.ndarray:
    """One-sided signed-rank tests by trying all signs: what SciPy's permutation test gives, hundreds of times faster.

    Args:
        differences: shape (tests, observations), few observations.

    Returns:
        Shape (tests,): the share of all signs under which the ranks of the positive differences sum to as much or more.
    """
    from scipy.stats import rankdata

    observations = differences.shape[1]
    zeros = differences == 0
    # Zeros have the smallest ranks and do not count (Wilcoxon's own treatment).
    ranks = np.where(zeros, 0.0, rankdata(np.abs(differences), axis=1) - zeros.sum(axis=1, keepdims=True))
    signs = np.arange(2**observations)[:, None] >> np.arange(observations) & 1
    found = (ranks * (differences > 0)).sum(axis=1)
    return np.array([(signs @ row >= sum_of_ranks).mean() for row, sum_of_ranks in zip(ranks, found, strict=True)])


def rounded_differences(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``first - others`` without the noise of floating point, so that equal differences tie."""
    largest = max(float(np.abs(first).max()), float(np.abs(others).max()))
    unit = math.ldexp(1.0, math.frexp(largest)[1] - _COMPARED_BITS)
    return np.asarray(np.round((first - others) / unit) * unit)


def _has_ties(differences: np.ndarray) -> np.ndarray:
    """Whether a row has a zero or two of one size, shape (rows,)."""
    sizes = np.sort(np.abs(differences), axis=1)
    return np.asarray((sizes[:, 0] == 0) | (sizes[:, 1:] == sizes[:, :-1]).any(axis=1))


def signed_rank_z(differences: np.ndarray, weights: np.ndarray, continuity: float = 0.0) -> np.ndarray:
    """The z value of the signed-rank test in each resample, without zeros and corrected for ties, as in SciPy.

    Args:
        differences: of each case, shape (cases,).
        weights: how often each case was drawn, shape (cases, resamples).
        continuity: by this the sum of ranks is brought nearer to its expectation; R's ``wilcox.test`` takes 0.5.

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
    return _z(excess, variance, continuity)


def _z(excess: np.ndarray, variance: np.ndarray, continuity: float) -> np.ndarray:
    """What exceeds the expected sum of ranks, corrected and in standard deviations; 0 where nothing varies."""
    excess = np.sign(excess) * np.maximum(np.abs(excess) - continuity, 0)
    return np.asarray(np.divide(excess, np.sqrt(variance), out=np.zeros(len(excess)), where=variance > 0))


def signed_rank_z_each(differences: np.ndarray, weights: np.ndarray, continuity: float = 0.0) -> np.ndarray:
    """`signed_rank_z` where every resample has differences of its own, shape (cases, resamples)."""
    sizes = np.abs(differences)
    order = np.argsort(sizes, axis=0, kind="stable")
    sizes = np.take_along_axis(sizes, order, axis=0)
    positive = np.take_along_axis(differences, order, axis=0) > 0
    drawn = np.take_along_axis(weights, order, axis=0) * (sizes > 0)
    new = np.diff(sizes, axis=0, prepend=-1.0) > 0
    last = np.roll(new, -1, axis=0)
    last[-1] = True
    rank = np.cumsum(drawn, axis=0)
    n = rank[-1].copy()
    below = np.maximum.accumulate(np.where(new, rank - drawn, 0.0), axis=0)
    upto = np.minimum.accumulate(np.where(last, rank, np.inf)[::-1], axis=0)[::-1]
    excess = ((below + upto + 1) / 2 * drawn * positive).sum(axis=0) - n * (n + 1) / 4
    ties = (drawn * (upto - below) ** 2).sum(axis=0)
    variance = (n * (n + 1) * (2 * n + 1) - (ties - n) / 2) / 24
    return _z(excess, variance, continuity)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979), shape (tests,)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(count, 0, -1))
    corrected = np.empty(count)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
