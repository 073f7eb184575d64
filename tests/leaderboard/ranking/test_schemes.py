"""Pairwise tests against SciPy one by one, and how undefined values rank within cases."""

import numpy as np
import pytest
from scipy import stats

from leaderboard.ranking.resampling import draw, resampled_means
from leaderboard.ranking.schemes import SCHEMES, case_rank_sums
from leaderboard.ranking.wilcoxon import rounded_differences, wilcoxon_matrix


@pytest.mark.parametrize("count", [5, 9, 30, 60])
@pytest.mark.parametrize("digits", [1, 8])
def test_the_matrix_equals_scipy_pair_by_pair(count, digits):
    values = np.random.default_rng(count).random((6, count)).round(digits)
    values[4] = values[3]
    values[5, 1:] = values[3, 1:]
    found = wilcoxon_matrix(values)
    for first in range(6):
        for second in range(6):
            difference = (values[first] - values[second]).round(10)
            if difference.any():
                expected = stats.wilcoxon(difference, alternative="greater").pvalue
                assert found[first, second] == pytest.approx(expected, rel=1e-12)
            else:
                assert found[first, second] == 1


@pytest.mark.parametrize("count", [13, 14])  # with ties SciPy tries all signs of up to 13 differences
def test_where_scipy_goes_over_to_the_normal_distribution_so_does_the_matrix(count):
    values = np.random.default_rng(count).random((2, count)).round(1)
    values[1, 0] = values[0, 0]
    difference = (values[0] - values[1]).round(10)
    expected = stats.wilcoxon(difference, alternative="greater").pvalue
    assert wilcoxon_matrix(values)[0, 1] == pytest.approx(expected, rel=1e-12)


def test_equal_differences_tie_whatever_their_rounding():
    found = rounded_differences(np.array([0.8, 0.4, 0.9]), np.array([0.7, 0.3, 0.6])).tolist()
    assert found[0] == found[1] == pytest.approx(0.1, abs=1e-11)
    assert found[2] == pytest.approx(0.3, abs=1e-11)
    assert 0.8 - 0.7 != 0.4 - 0.3  # the trap


def test_per_case_means_give_the_order_of_the_scheme(matrices_of):
    random = np.random.default_rng(2)
    matrices = matrices_of({"dice": random.random((7, 30)), "avd_ml": random.random((7, 30))}, dice=True, avd_ml=False)
    for scheme in ("dice", "rank-then-mean"):
        assert (
            np.argsort(-SCHEMES[scheme].by_case(matrices).mean(axis=1)).tolist()
            == np.argsort(SCHEMES[scheme].ranks(matrices)[1]).tolist()
        )
    assert SCHEMES["mean-then-rank"].by_case(matrices) is None
    assert SCHEMES["test-then-rank"].by_case(matrices) is None
    one = matrices_of({"avd_ml": matrices.values["avd_ml"]}, avd_ml=False)
    assert SCHEMES["mean-then-rank"].by_case(one).tolist() == (-matrices.values["avd_ml"]).tolist()


def test_rank_sums_are_hand_computed(matrices_of):
    matrices = matrices_of(
        {"dice": [[0.9, 0.1], [0.9, 0.2], [0.5, 0.3]], "avd_ml": [[1, 5], [2, 5], [3, 5]]}, dice=True, avd_ml=False
    )
    assert case_rank_sums(matrices).tolist() == [[1 + 1, 3 + 1], [1 + 2, 2 + 1], [3 + 3, 1 + 1]]


def test_schemes_with_a_score_by_case_are_resampled_as_its_mean(matrices_of):
    one = matrices_of({"dice": np.random.default_rng(4).random((5, 12))})
    drawn = draw(one, unit="case", resamples=30, seed=0)
    by_case = {name: found for name, scheme in SCHEMES.items() if (found := scheme.by_case(one)) is not None}
    assert {"dice", "mean-then-rank", "rank-then-mean"} <= set(by_case)
    for name, found in by_case.items():
        assert (SCHEMES[name].resampled(one, drawn) == resampled_means(found, drawn)).all()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_a_resampled_score_of_every_scheme_is_better_the_higher(matrices_of, scheme):
    base = np.random.default_rng(5).random(20)
    apart = matrices_of({name: np.stack([base, base + 1, base + 2]) for name in ("dice", "recall")})
    drawn = draw(apart, unit="case", resamples=10, seed=0)
    assert (np.diff(scheme.resampled(apart, drawn), axis=0) > 0).all()
    assert scheme.ranks(apart)[1].tolist() == [3, 2, 1]
