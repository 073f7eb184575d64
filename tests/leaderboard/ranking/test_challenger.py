"""Our schemes against the figures of challengeR's own tests (wiesenfa/challengeR, tests/testthat, and R/testBased.R).

Each table and what its ranking should be stand there; missing values are filled as its argument ``na.treat`` says.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.schemes import ALPHA, SCHEMES

CHALLENGER = "test-then-rank-challenger"
#: values of A1 and A2 by case, whether small ones are better, and what challengeR expects: scores (means, mean ranks or
#: shares of tests won) and ranks
AGGREGATE_THEN_RANK = {
    "two algorithms, one case": ([[0.6], [0.8]], True, [0.6, 0.8], [1, 2]),
    "large values are better": ([[0.6], [0.8]], False, [0.6, 0.8], [2, 1]),
    "ties get the smallest rank": ([[0.6], [0.6]], True, [0.6, 0.6], [1, 1]),
    "two cases": ([[0.6, 0.4], [0.8, 1.0]], True, [0.5, 0.9], [1, 2]),
    "one algorithm": ([[0.6]], True, [0.6], [1]),
    "a missing value is 0": ([[0.0], [0.8]], False, [0.0, 0.8], [2, 1]),
    "a missing value is -1": ([[-1.0], [0.8]], False, [-1.0, 0.8], [2, 1]),
    "the second task": ([[0.5], [0.4]], True, [0.5, 0.4], [2, 1]),
    "a missing value is 100": ([[100.0], [0.4]], True, [100.0, 0.4], [2, 1]),
    "three algorithms (test-subset.R)": ([[0.8, 0.2], [0.6, 0.1], [0.4, 0.0]], False, [0.5, 0.35, 0.2], [1, 2, 3]),
}
RANK_THEN_AGGREGATE = {
    "two algorithms, one case": ([[0.6], [0.8]], True, [1, 2], [1, 2]),
    "large values are better": ([[0.6], [0.8]], False, [2, 1], [2, 1]),
    "ties get the smallest rank": ([[0.6], [0.6]], True, [1, 1], [1, 1]),
    "two cases": ([[0.6, 0.4], [0.8, 1.0]], True, [1, 2], [1, 2]),
    "one algorithm": ([[0.6]], True, [1], [1]),
    "a missing value takes the worst rank": ([[None], [0.8]], False, [2, 1], [2, 1]),
    "the second task": ([[0.5], [0.4]], True, [2, 1], [2, 1]),
    "a missing value of the second task": ([[None], [0.4]], True, [2, 1], [2, 1]),
}
TEST_THEN_RANK = {
    "one case": ([[0.6], [0.8]], True, [0, 0], [1, 1]),
    "four cases": ([[0.2] * 4, [1.0] * 4], True, [1, 0], [1, 2]),
    "large values are better": ([[0.2] * 4, [1.0] * 4], False, [0, 1], [2, 1]),
    "two cases": ([[0.6] * 2, [0.8] * 2], True, [0, 0], [1, 1]),
    "a missing value is 100": ([[100, 0.2, 0.2, 0.2], [1.0] * 4], True, [0, 0], [1, 1]),
    "a missing value is 0": ([[0, 0.2, 0.2, 0.2], [1.0] * 4], True, [1, 0], [1, 2]),
    "three cases": ([[0.2] * 3, [1.0] * 3], True, [0, 0], [1, 1]),
}


def ranked(values, small_is_better, scheme):
    """Scores, means and ranks in the order of the rows."""
    rows = [
        {"method": f"A{number}", "case": f"C{case}", "metric": value}
        for number, row in enumerate(values, start=1)
        for case, value in enumerate(row, start=1)
    ]
    metric = f"metric:{'lower' if small_is_better else 'higher'}"
    table = rank_methods(pd.DataFrame(rows), RankingOptions(scheme=scheme, metrics=[metric], resamples=0))
    table = table.sort_values("method")
    return table["score"].tolist(), table["metric_mean"].tolist(), table["rank"].tolist()


@pytest.mark.parametrize("name", AGGREGATE_THEN_RANK)
def test_mean_then_rank_is_aggregate_then_rank_by_mean(name):
    values, small, means, ranks = AGGREGATE_THEN_RANK[name]
    assert ranked(values, small, "mean-then-rank") == (ranks, pytest.approx(means), ranks)


@pytest.mark.parametrize("name", RANK_THEN_AGGREGATE)
def test_rank_then_mean_is_rank_then_aggregate_by_mean(name):
    values, small, mean_ranks, ranks = RANK_THEN_AGGREGATE[name]
    scores, _, found = ranked(values, small, "rank-then-mean")
    assert (scores, found) == (mean_ranks, ranks)


@pytest.mark.parametrize("name", TEST_THEN_RANK)
def test_test_then_rank_is_offered_with_its_tests(name):
    values, small, shares, ranks = TEST_THEN_RANK[name]
    scores, _, found = ranked(values, small, CHALLENGER)
    assert (scores, found) == (shares, ranks)


def test_our_own_test_then_rank_is_exact_where_theirs_is_not():
    """Four equal leads: 1 of 16 signs is as good, 0.0625; the normal distribution says 0.036."""
    values, small, *_ = TEST_THEN_RANK["four cases"]
    assert ranked(values, small, "test-then-rank")[::2] == ([0, 0], [1, 1])


def p_value_of_r(lead):
    """wilcox.test(lead, alternative = "greater", exact = FALSE), after the source of R's stats package."""
    lead = lead[lead != 0]
    n = len(lead)
    if not n:
        return np.nan
    ranks = stats.rankdata(abs(lead))
    ties = np.unique(ranks, return_counts=True)[1]
    sd = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48)
    return stats.norm.sf((ranks[lead > 0].sum() - n * (n + 1) / 4 - 0.5) / sd)


@pytest.mark.parametrize("cases", [3, 6, 20])
def test_shares_are_those_of_tests_one_by_one(matrices_of, cases):
    values = np.random.default_rng(cases).integers(0, 9, (6, cases)) + np.linspace(5, 0, 6)[:, None].round()
    expected = [np.mean([p_value_of_r(row - other) <= ALPHA for other in np.delete(values, k, axis=0)])
                for k, row in enumerate(values)]  # fmt: skip
    assert SCHEMES[CHALLENGER].score(matrices_of(values)) == pytest.approx(expected)
    assert cases == 3 or 0 < sum(expected) < 6
