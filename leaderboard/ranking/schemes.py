"""The four ranking schemes: from matrices of scores to what the methods are ordered by.

Sums are exactly rounded (`math.fsum`) and values are compared at 12 binary-rounded digits, so the order of the rows,
the machine and the number of threads leave no trace in a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from leaderboard.ranking.matrices import Scores

#: Level of the tests of ``test-then-rank``.
ALPHA = 0.05
_COMPARED_DIGITS = 12
_COMPARED_BITS = 40
#: Up to so many observations with ties SciPy tries every sign of every difference.
_PERMUTED = 13


def by_dice(scores: Scores) -> np.ndarray:
    """Mean Dice of each method, shape (methods,); more is better."""
    return means(scores.values["dice"])


def mean_then_rank(scores: Scores) -> np.ndarray:
    """Rank the methods by their mean of each metric, then average over the metrics; less is better."""
    ranks = [
        competition_ranks(means(scores.values[name]), higher_is_better=up)
        for name, up in scores.higher_is_better.items()
    ]
    return means(np.array(ranks, dtype=float).T)


def rank_then_mean(scores: Scores) -> np.ndarray:
    """Rank the methods in each case and metric, then average over metrics and cases; less is better.

    The way of ISLES 2015 to 2017 (Maier et al., Medical Image Analysis 35, 2017).
    """
    return means(case_rank_sums(scores)) / len(scores.higher_is_better)


def case_rank_sums(scores: Scores) -> np.ndarray:
    """Sum over the metrics of each method's rank in each case: whole numbers, shape (methods, cases).

    A method without a prediction, or with an undefined value that no policy has a rule for, takes the last rank of
    that case, behind all that have one, whatever the policy counts for it.
    """
    sums = np.zeros(scores.missing.shape)
    for name, up in scores.higher_is_better.items():
        last = scores.missing | scores.undefined.get(name, False)
        ranked = competition_ranks(np.where(last, -np.inf if up else np.inf, scores.values[name]), higher_is_better=up)
        sums += np.where(last, len(scores.methods), ranked)
    return sums


def tests_won(scores: Scores) -> np.ndarray:
    """Share of its pairwise tests that each method wins over all opponents and metrics, in [0, 1]; more is better.

    A test is a one-sided Wilcoxon signed-rank test over the cases at level 0.05, without correction for their number
    (the share orders the methods, it claims no significance). Without opponents the share is 0. The third scheme of
    Wiesenfarth et al., Scientific Reports 11:2369 (2021).
    """
    count = len(scores.methods)
    won = np.zeros(count)
    for name, up in scores.higher_is_better.items():
        won += (wilcoxon_matrix(scores.values[name] * (1 if up else -1)) < ALPHA).sum(axis=1)
    return won / max(len(scores.higher_is_better) * (count - 1), 1)


#: What each scheme orders the methods by.
SCHEMES: dict[str, Callable[[Scores], np.ndarray]] = {
    "dice": by_dice,
    "mean-then-rank": mean_then_rank,
    "rank-then-mean": rank_then_mean,
    "test-then-rank": tests_won,
}
#: Schemes whose score is better the higher; the others are mean ranks.
HIGHER_FIRST = frozenset({"dice", "test-then-rank"})


def scheme_ranks(scores: Scores, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Score and rank of each method under a scheme, shape (methods,) each; equal scores share the smallest rank."""
    chosen = SCHEMES[scheme](scores)
    return chosen, competition_ranks(chosen, higher_is_better=scheme in HIGHER_FIRST)


def per_case(scores: Scores, scheme: str) -> np.ndarray | None:
    """The score of each case whose mean over the cases a scheme orders by; more is better.

    Returns:
        Shape (methods, cases): Dice, the metric (``mean-then-rank`` over one metric orders by its mean), or the negated
        sum of ranks. None where there is no such score: ``mean-then-rank`` over several metrics, ``test-then-rank``.
    """
    if scheme == "dice":
        return scores.values["dice"]
    if scheme == "rank-then-mean":
        return -case_rank_sums(scores)
    if scheme == "mean-then-rank" and len(scores.higher_is_better) == 1:
        return signed_values(scores)[0]
    return None


def signed_values(scores: Scores) -> list[np.ndarray]:
    """The metrics to rank by, shape (methods, cases) each, turned so that more is better."""
    return [scores.values[name] * (1 if up else -1) for name, up in scores.higher_is_better.items()]


def wilcoxon_matrix(values: np.ndarray) -> np.ndarray:
    """One-sided Wilcoxon signed-rank tests of all pairs.

    Args:
        values: shape (methods, observations), more is better.

    Returns:
        Shape (methods, methods): entry [a, b] is SciPy's p value of "a is better than b" under its default method
        (since 1.15: exact for up to 50 observations without ties and zeros, by permutation for up to 13, else normal);
        1 where the two are equal in every observation, and on the diagonal.
    """
    from scipy.stats import wilcoxon

    count, observations = values.shape
    p_values = np.ones((count, count))
    for first in range(count):
        differences = rounded_differences(values[first], values)
        others = np.flatnonzero(differences.any(axis=1))
        differences = differences[others]
        # SciPy picks the method by the ties in all that it is given: give it one kind at a time
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
    # Zeros have the smallest ranks, and count for nothing (Wilcoxon's own treatment).
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
