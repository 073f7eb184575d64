"""The ranking schemes: from matrices of metrics to scores that order the methods.

A new scheme is one more `Scheme` in `SCHEMES`, and its functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from leaderboard.ranking.exact import competition_ranks, descending_ranks, means
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.resampling import Resamples, resampled_means
from leaderboard.ranking.trainings import groups, mean_columns, rank_sums, spread
from leaderboard.ranking.wilcoxon import rounded_differences, signed_rank_z, signed_rank_z_each, wilcoxon_matrix

#: Level of the tests of ``test-then-rank``.
ALPHA = 0.05
#: The continuity correction of R's ``wilcox.test``.
CONTINUITY = 0.5
# Chunks of the signed-rank tests are smaller by this factor, so that they stay in a processor's cache.
_IN_CACHE = 16

#: Called with (done, total).
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Scheme:
    """A way of ordering the methods; everything that a ranking, its uncertainty and the page must know about it."""

    name: str  #: as ``--scheme`` takes it
    words: str  #: what it does, in words that follow "the scheme NAME"
    score: Callable[[Matrices], np.ndarray]  #: what it orders the methods by, shape (methods,)
    higher_is_better: bool  #: the direction of the score
    #: a score of each case, more is better, shape (methods, cases), whose mean over the cases is the score or orders
    #: the methods alike; None if there is none; the standard errors then come from `resampled`
    by_case: Callable[[Matrices], np.ndarray | None]
    #: what each training adds to the error of that score (`trainings`), shape (methods, columns)
    columns: Callable[[Matrices], np.ndarray]
    #: the score in each resample, turned so that more is better, shape (methods, resamples); equal scores are equal
    #: floats. May be given a third argument, called with (done, total) by a scheme that takes long.
    resampled: Callable[..., np.ndarray]
    metric: str | None = None  #: the only metric that it uses, whatever was chosen; None: it uses those chosen
    is_compared: bool = True  #: whether the page shows its ranks also where another scheme was chosen

    def ranks(self, matrices: Matrices) -> tuple[np.ndarray, np.ndarray]:
        """Score and rank of each method, shape (methods,) each; equal scores share the smallest rank."""
        score = self.score(matrices)
        return score, competition_ranks(score, higher_is_better=self.higher_is_better)


def dice(matrices: Matrices) -> np.ndarray:
    """Dice, shape (methods, cases)."""
    return matrices.values["dice"]


def mean_ranks(matrices: Matrices) -> np.ndarray:
    """Rank the methods by their mean of each metric, then average over the metrics; less is better."""
    ranks = [
        competition_ranks(means(matrices.values[name]), higher_is_better=up)
        for name, up in matrices.higher_is_better.items()
    ]
    return means(np.array(ranks, dtype=float).T)


def only_metric(matrices: Matrices) -> np.ndarray | None:
    """The metric to rank by, more is better, if there is only one: its mean gives the same order as its rank."""
    return matrices.signed()[0] if len(matrices.higher_is_better) == 1 else None


def resampled_mean_ranks(matrices: Matrices, resamples: Resamples, _: Progress = None) -> np.ndarray:
    """The negated `mean_ranks` of each resample; the mean itself if there is only one metric."""
    metrics = dict(zip(matrices.higher_is_better, matrices.signed(), strict=True))
    drawn = (resampled_means(values, resamples, mean_columns(matrices, name)) for name, values in metrics.items())
    if len(metrics) == 1:
        return next(drawn)
    ranks = np.zeros((len(matrices.methods), len(resamples.counts)))
    for values in drawn:
        ranks += descending_ranks(values)
    return -ranks / len(metrics)


def only_columns(matrices: Matrices) -> np.ndarray:
    """The columns of `only_metric`."""
    return mean_columns(matrices, next(iter(matrices.higher_is_better)))


def case_rank_sums(matrices: Matrices) -> np.ndarray:
    """Sum over the metrics of each method's rank in each case: whole numbers, shape (methods, cases).

    A method without a prediction, or with an undefined value that no policy has a rule for, takes the last rank of
    that case, behind all that have one, whatever the policy counts for it. Where methods were trained several times it
    is the expected rank of one training (`trainings.rank_sums`).
    """
    if groups(matrices):
        return rank_sums(matrices)[0]
    sums = np.zeros(matrices.missing.shape)
    for name, up in matrices.higher_is_better.items():
        last = matrices.missing | matrices.undefined.get(name, False)
        worst = -np.inf if up else np.inf
        ranked = competition_ranks(np.where(last, worst, matrices.values[name]), higher_is_better=up)
        sums += np.where(last, len(matrices.methods), ranked)
    return sums


def rank_columns(matrices: Matrices) -> np.ndarray:
    """The columns of the negated `case_rank_sums`."""
    return -rank_sums(matrices)[1] if groups(matrices) else np.zeros((len(matrices.methods), 0))


def tests_won(matrices: Matrices) -> np.ndarray:
    """Share of its pairwise tests that each method wins over all opponents and metrics, in [0, 1]; more is better.

    A test is a one-sided Wilcoxon signed-rank test over the cases at level 0.05, without correction for their number
    (the share orders the methods and claims no significance). Without opponents the share is 0. Where methods were
    trained several times, the values tested are means over the trainings.
    """
    won = [(wilcoxon_matrix(values) < ALPHA).sum(axis=1) for values in matrices.signed()]
    return np.asarray(sum(won) / _tests(matrices))


def tests_won_as_challenger(matrices: Matrices) -> np.ndarray:
    """`tests_won` as the R package challengeR finds it: its tests always use the normal distribution.

    That is ``wilcox.test(x, y, alternative, exact = FALSE, paired = TRUE)`` in R: without the cases in which two
    methods are equal, corrected for ties and for continuity; no correction for the number of tests.
    """
    cases = len(matrices.cases)
    as_they_are = Resamples(np.ones((1, cases), dtype=int), np.arange(cases))
    return resampled_tests_won(matrices, as_they_are, continuity=CONTINUITY)[:, 0]


def resampled_tests_won(
    matrices: Matrices, resamples: Resamples, progress: Progress = None, continuity: float = 0.0
) -> np.ndarray:
    """`tests_won` in each resample.

    The tests use the normal approximation, corrected for ties and by `continuity`: drawing with replacement makes ties,
    for which the exact distribution does not hold. Where methods were trained several times, each resample draws
    trainings of each fold, too: every case's value moves by the deviations of those drawn.
    """
    from scipy.special import ndtri

    count, cases = matrices.missing.shape
    won = np.zeros((count, len(resamples.counts)))
    limit = float(-ndtri(ALPHA))
    of_each, total = count * len(matrices.higher_is_better), len(resamples.counts)
    for part, counts in resamples.chunks(_IN_CACHE * cases):
        weights = counts.T[resamples.unit_of_case]
        done = 0
        for name, values in zip(matrices.higher_is_better, matrices.signed(), strict=True):
            for first in range(count):
                differences = rounded_differences(values[first], values)
                own = _moved(matrices, name, first, resamples, part)
                for second in range(first + 1, count):
                    other = _moved(matrices, name, second, resamples, part)
                    if own is None and other is None:
                        z = signed_rank_z(differences[second], weights, continuity)
                    else:
                        moved = values[first][:, None] + (0.0 if own is None else own)
                        z = signed_rank_z_each(
                            rounded_differences(moved, values[second][:, None] + (0.0 if other is None else other)),
                            weights,
                            continuity,
                        )
                    won[first, part] += z > limit
                    won[second, part] += z < -limit
                done += 1
                if progress:
                    progress(part.start * of_each + len(counts) * done, total * of_each)
    return won / _tests(matrices)


def _moved(matrices: Matrices, name: str, method: int, resamples: Resamples, part: slice) -> np.ndarray | None:
    """What drawn trainings add to each case of a method, more is better, shape (cases, resamples); None: nothing."""
    parts = spread(matrices, name, method)
    if not parts or resamples.trainings is None:
        return None
    drawn = resamples.trainings[part].T.astype(float)
    moved = np.zeros((len(matrices.cases), drawn.shape[1]))
    for group, deviations in parts:
        moved[group.cases] = deviations.T @ drawn[group.columns]
    return moved if matrices.higher_is_better[name] else -moved


def _tests(matrices: Matrices) -> int:
    """Tests that each method takes part in; 1 where it has no opponents."""
    return max(len(matrices.higher_is_better) * (len(matrices.methods) - 1), 1)


# the third scheme of Wiesenfarth et al., Scientific Reports 11:2369, 2021
_TEST_THEN_RANK = Scheme(
    name="test-then-rank",
    words="orders the methods by the share of pairwise one-sided Wilcoxon tests that they win",
    score=tests_won,
    higher_is_better=True,
    by_case=lambda _: None,
    columns=lambda matrices: np.zeros((len(matrices.methods), 0)),
    resampled=resampled_tests_won,
)

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            name="dice",
            words="orders the methods by their mean Dice over all cases, as the published table of 2018 does",
            score=lambda matrices: means(dice(matrices)),
            higher_is_better=True,
            by_case=dice,
            columns=lambda matrices: mean_columns(matrices, "dice"),
            resampled=lambda matrices, resamples, _=None: resampled_means(
                dice(matrices), resamples, mean_columns(matrices, "dice")
            ),
            metric="dice",
        ),
        Scheme(
            name="mean-then-rank",
            words="ranks the methods by their mean of each metric and averages these ranks",
            score=mean_ranks,
            higher_is_better=False,
            by_case=only_metric,
            columns=only_columns,
            resampled=resampled_mean_ranks,
        ),
        # Maier et al., Medical Image Analysis 35, 2017
        Scheme(
            name="rank-then-mean",
            words="ranks the methods in every case and metric and averages these ranks, as ISLES 2015 to 2017 did",
            score=lambda matrices: means(case_rank_sums(matrices)) / len(matrices.higher_is_better),
            higher_is_better=False,
            by_case=lambda matrices: -case_rank_sums(matrices),
            columns=rank_columns,
            resampled=lambda matrices, resamples, _=None: resampled_means(
                -case_rank_sums(matrices), resamples, rank_columns(matrices)
            ),
        ),
        _TEST_THEN_RANK,
        # testThenRank of its package challengeR (wiesenfa/challengeR, R/testBased.R)
        replace(
            _TEST_THEN_RANK,
            name="test-then-rank-challenger",
            words=f"{_TEST_THEN_RANK.words}, with the tests of the R package challengeR (normal distribution, "
            "corrected for continuity)",
            score=tests_won_as_challenger,
            resampled=partial(resampled_tests_won, continuity=CONTINUITY),
            is_compared=False,
        ),
    )
}
