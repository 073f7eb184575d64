"""Confidence sets against a plain loop over the definition, and the edge cases that would divide by zero."""

import math

import numpy as np
import pytest
from scipy import stats

from leaderboard.ranking.rank_sets import (
    Comparison,
    confidence_sets,
    expanded_level,
    group_labels,
    separated_pairs,
    tie_groups,
)
from leaderboard.ranking.resampling import cluster_errors, draw, resampled_means


def compare(matrices, resamples=400):
    values = matrices.values["dice"]
    drawn = draw(matrices, unit="patient", resamples=resamples, seed=0)
    errors = cluster_errors(values, drawn)
    return Comparison(
        values.mean(axis=1),
        resampled_means(values, drawn),
        lambda row: np.sqrt(((errors - errors[row]) ** 2).sum(axis=1)),
        lambda row: np.full(len(values), 0.5**drawn.units),
        1e-11,
        drawn.units,
    )


def critical(largest, units):
    quantile = sorted(largest)[math.ceil(0.95 * (len(largest) + 1)) - 1]
    expanded = stats.t.isf(stats.norm.sf(quantile * math.sqrt(units / (units - 1))), units - 1)
    return max(expanded, stats.t.isf(0.025, units - 1))


def step_down(comparison, pairs):
    """Directed pairs (a, b), "a is better than b", that are rejected step by step; one at a time, no shortcuts."""
    found = set()
    while True:
        t, deviations = {}, []
        for a, b in pairs:
            error = comparison.errors_of(b)[a]
            lead = comparison.estimates[a] - comparison.estimates[b]
            t[a, b] = lead / error
            if (a, b) not in found:
                deviations.append((comparison.resampled[a] - comparison.resampled[b] - lead) / error)
        limit = critical(np.max(deviations, axis=0).tolist(), comparison.units) if deviations else math.inf
        more = {pair for pair in pairs if pair not in found and t[pair] > limit}
        if not more:
            return found
        found |= more


@pytest.mark.parametrize("seed", range(4))
def test_sets_follow_the_definition(challenge, seed):
    matrices = challenge(np.random.default_rng(seed), methods=7, step=0.05, slabs=[1, 2] * 12)
    comparison = compare(matrices)
    low, high = confidence_sets(comparison)
    widths = set()
    for method in range(7):
        others = [other for other in range(7) if other != method]
        found = step_down(comparison, [(other, method) for other in others] + [(method, other) for other in others])
        assert low[method] == 1 + sum((other, method) in found for other in others)
        assert high[method] == 7 - sum((method, other) in found for other in others)
        widths.add(high[method] - low[method])
    assert len(widths) > 1


def test_stepping_down_narrows_the_sets(challenge):
    comparison = compare(challenge(np.random.default_rng(3), methods=7, step=0.05, slabs=[1, 2] * 12))
    low, high = confidence_sets(comparison)
    single = 0
    for method in range(7):
        others = [other for other in range(7) if other != method]
        error = comparison.errors_of(method)[others]
        lead = (comparison.estimates - comparison.estimates[method])[others]
        deviations = (comparison.resampled[others] - comparison.resampled[method] - lead[:, None]) / error[:, None]
        limit = critical(np.abs(deviations).max(axis=0).tolist(), comparison.units)
        single += 7 - (np.abs(lead / error) > limit).sum()
    assert (high - low + 1).sum() < single


@pytest.mark.parametrize("seed", [15, 18, 50])
def test_all_pairs_follow_the_definition(challenge, seed):
    comparison = compare(challenge(np.random.default_rng(seed), methods=6, step=0.06, slabs=[1, 2] * 12))
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    found = {(int(a), int(b)) for a, b in np.argwhere(separated_pairs(comparison))}
    assert found == step_down(comparison, pairs)
    assert 0 < len(found) < 15


def test_all_pairs_at_once_separate_no_more_than_the_sets(challenge):
    comparison = compare(challenge(np.random.default_rng(1), methods=9, step=0.03))
    separated = separated_pairs(comparison)
    low, high = confidence_sets(comparison)
    assert (separated.sum(axis=0) <= low - 1).all()
    assert (separated.sum(axis=1) <= 9 - high).all()


def test_equal_methods_are_never_separated(matrices_of):
    values = np.random.default_rng(0).random((1, 40))
    comparison = compare(matrices_of(np.concatenate([values, values, values - 0.5])))
    low, high = confidence_sets(comparison)
    assert (low.tolist(), high.tolist()) == ([1, 1, 3], [2, 2, 3])
    assert separated_pairs(comparison).tolist() == [[False, False, True], [False, False, True], [False] * 3]


def test_rounding_is_no_lead(matrices_of):
    comparison = compare(matrices_of(np.array([[0.3] * 40, [0.1 + 0.2] * 40])))
    assert comparison.estimates[0] != comparison.estimates[1]
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1, 1], [2, 2]]
    assert not separated_pairs(comparison).any()


@pytest.mark.parametrize(("patients", "separable"), [(2, False), (5, False), (6, True), (40, True)])
def test_a_constant_lead_is_judged_by_the_sign_test(matrices_of, patients, separable):
    values = np.random.default_rng(0).random((1, patients))
    comparison = compare(matrices_of(np.concatenate([values, values - 0.1])))
    low, high = confidence_sets(comparison)
    assert (low.tolist(), high.tolist()) == (([1, 2], [1, 2]) if separable else ([1, 1], [2, 2]))
    assert separated_pairs(comparison)[0, 1] == separable


def test_more_comparisons_ask_more_of_a_constant_lead(matrices_of):
    values = np.random.default_rng(0).random((1, 6))
    comparison = compare(matrices_of(np.concatenate([values, values - 0.1, values - 0.2])))
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1, 1, 1], [3, 3, 3]]
    assert not separated_pairs(comparison).any()


def test_seven_patients_are_enough_for_three_constant_leads_but_not_for_six(matrices_of):
    values = np.random.default_rng(0).random((1, 7))
    comparison = compare(matrices_of(np.concatenate([values - 0.1 * step for step in range(3)])))
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1, 2, 3], [1, 2, 3]]
    more = compare(matrices_of(np.concatenate([values - 0.1 * step for step in range(4)])))
    assert [bound.tolist() for bound in confidence_sets(more)] == [[1, 2, 3, 4], [1, 2, 3, 4]]
    assert not separated_pairs(more).any()


def test_two_patients_need_more_than_their_few_resamples_show(matrices_of):
    # t is 5.7; two patients make four resamples, whose expanded quantile is 3.97, but Student's value is 12.7
    comparison = compare(matrices_of(np.array([[1.0, 0.7], [0.0, 0.0]])))
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1, 1], [2, 2]]


@pytest.mark.parametrize("cases", [1, 3])
def test_one_patient_tells_nothing(matrices_of, cases):
    comparison = compare(matrices_of(np.arange(3 * cases).reshape(3, cases), [0] * cases))
    low, high = confidence_sets(comparison)
    assert (low.tolist(), high.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert not separated_pairs(comparison).any()


def test_one_method_is_first(matrices_of):
    comparison = compare(matrices_of(np.random.default_rng(0).random((1, 9))))
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1], [1]]


def test_too_few_resamples_separate_nothing(challenge):
    comparison = compare(challenge(np.random.default_rng(0), methods=3, step=1.0), resamples=18)
    assert [bound.tolist() for bound in confidence_sets(comparison)] == [[1, 1, 1], [3, 3, 3]]
    enough = compare(challenge(np.random.default_rng(0), methods=3, step=1.0), resamples=19)
    assert [bound.tolist() for bound in confidence_sets(enough)] == [[1, 2, 3], [1, 2, 3]]


def test_too_few_resamples_separate_not_even_a_lead_that_is_the_same_for_all(matrices_of):
    values = np.random.default_rng(0).random((1, 40))
    for resamples, low in ((1, [1, 1]), (18, [1, 1]), (19, [1, 2])):
        comparison = compare(matrices_of(np.concatenate([values, values - 0.1])), resamples)
        assert confidence_sets(comparison)[0].tolist() == low
        assert separated_pairs(comparison).any() == (low == [1, 2])


@pytest.mark.parametrize("units", [2, 6, 20, 63, 10_000])
def test_the_expanded_level_is_that_of_students_quantile(units):
    quantile = stats.t.isf(0.025, units - 1) * math.sqrt(units / (units - 1))
    assert stats.norm.sf(quantile) == pytest.approx(1 - expanded_level(units), rel=1e-6, abs=1e-15)
    assert expanded_level(units) > 0.975


def test_a_difference_that_rests_on_one_patient_spares_the_others(matrices_of):
    random = np.random.default_rng(3)
    first = random.random(50)
    second = first.copy()
    second[7] -= 0.3
    low, high = confidence_sets(
        compare(matrices_of(np.stack([first, second, first - 0.5 + random.normal(0, 0.1, 50)])))
    )
    assert (low.tolist(), high.tolist()) == ([1, 1, 3], [2, 2, 3])


def pairs(count, *separated):
    matrix = np.zeros((count, count), dtype=bool)
    for better, worse in separated:
        matrix[better, worse] = True
    return matrix


@pytest.mark.parametrize(
    ("matrix", "groups", "labels"),
    [
        (pairs(3), [range(3)], ["a", "a", "a"]),
        (pairs(3, (0, 2)), [range(2), range(1, 3)], ["a", "a-b", "b"]),
        (pairs(3, (0, 1), (0, 2), (1, 2)), [range(1), range(1, 2), range(2, 3)], ["a", "b", "c"]),
        # the last two are in one group although the first of them is separated from the one before
        (pairs(4, (0, 2), (0, 3), (1, 3)), [range(2), range(1, 3), range(2, 4)], ["a", "a-b", "b-c", "c"]),
        (pairs(4, (1, 2)), [range(2), range(2, 4)], ["a", "a", "b", "b"]),
        # schemes over several metrics may separate against the order
        (pairs(3, (2, 0)), [range(2), range(1, 3)], ["a", "a-b", "b"]),
        (pairs(1), [range(1)], ["a"]),
    ],
)
def test_tie_groups_are_the_longest_runs(matrix, groups, labels):
    assert tie_groups(matrix) == groups
    assert group_labels(groups, len(matrix)) == labels


def test_letters_go_on_after_z():
    labels = group_labels([range(row, row + 1) for row in range(55)], 55)
    assert [labels[0], labels[25], labels[26], labels[51], labels[52]] == ["a", "z", "aa", "az", "ba"]
