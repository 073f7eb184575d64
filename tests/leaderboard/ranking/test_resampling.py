"""Resamples against loops over patients, exact fractions and SciPy."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from leaderboard.errors import InputError
from leaderboard.ranking.exact import descending_ranks
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.resampling import cluster_errors, draw, resampled_means, unit_totals
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.wilcoxon import signed_rank_z

PATIENTS = [0, 0, 1, 2, 2, 3, 4, 5, 5, 5]


def cases_of(resamples, row):
    """The cases of one resample, each repeated as often as its patient was drawn."""
    return np.repeat(np.arange(len(resamples.unit_of_case)), resamples.counts[row][resamples.unit_of_case])


def test_as_many_patients_are_drawn_as_there_are(matrices_of):
    drawn = draw(matrices_of(np.zeros((2, 10)), PATIENTS), unit="patient", resamples=500, seed=0)
    assert drawn.counts.shape == (500, 6)
    assert set(drawn.counts.sum(axis=1)) == {6}
    assert drawn.counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.2)
    assert drawn.counts.var(axis=0) == pytest.approx(np.full(6, 5 / 6), abs=0.3)
    assert drawn.sizes.tolist() == [2, 1, 2, 1, 1, 3]


def test_cases_are_drawn_where_they_are_the_unit(matrices_of):
    drawn = draw(matrices_of(np.zeros((2, 10)), PATIENTS), unit="case", resamples=5, seed=0)
    assert drawn.units == 10
    assert drawn.unit_of_case.tolist() == list(range(10))


#: From the raw stream of PCG64, scaled by hand: floor(6 * high 32 bits / 2^32).
FROZEN = [[2, 1, 0, 1, 1, 1], [1, 0, 0, 2, 2, 1], [1, 1, 0, 1, 1, 2]]


def test_a_seed_draws_the_same_for_ever(matrices_of):
    matrices = matrices_of(np.zeros((1, 6)))
    assert draw(matrices, unit="patient", resamples=3, seed=0).counts.tolist() == FROZEN
    assert draw(matrices, unit="patient", resamples=3, seed=1).counts.tolist() != FROZEN


@pytest.mark.parametrize("wrong", [{"unit": "slice"}, {"resamples": -1}, {"seed": -1}])
def test_wrong_choices_are_refused(wrong):
    with pytest.raises(InputError):
        RankingOptions(**wrong)


def test_means_are_those_of_the_drawn_cases_exactly(matrices_of):
    values = np.random.default_rng(0).random((4, 10)).round(4)
    drawn = draw(matrices_of(values, PATIENTS), unit="patient", resamples=60, seed=1)
    found = resampled_means(values, drawn)
    for row in range(60):
        chosen = cases_of(drawn, row)
        for method in range(4):
            exact = sum(Fraction(str(values[method, case])) for case in chosen) / len(chosen)
            assert found[method, row] == pytest.approx(float(exact), abs=1e-11)


def test_equal_means_are_equal_floats_in_whatever_order_they_were_summed(matrices_of):
    random = np.random.default_rng(3)
    values = random.random((1, 300)).round(3)
    values = np.concatenate([values, values[:, ::-1], values + 1e8])
    # cases that mirror each other belong to one patient: both orders sum to the same
    patients = [min(case, 299 - case) for case in range(300)]
    found = resampled_means(values, draw(matrices_of(values, patients), unit="patient", resamples=400, seed=0))
    assert (found[0] == found[1]).all()


def test_bytes_do_not_depend_on_order_or_chunks(matrices_of, monkeypatch):
    values = np.random.default_rng(4).random((5, 10)) * 1e8
    drawn = draw(matrices_of(values, PATIENTS), unit="patient", resamples=300, seed=2)
    found = resampled_means(values, drawn)
    assert resampled_means(values[::-1], drawn)[::-1].tobytes() == found.tobytes()
    monkeypatch.setattr("leaderboard.ranking.resampling._CHUNK", 17)
    assert (
        draw(matrices_of(values, PATIENTS), unit="patient", resamples=300, seed=2).counts.tobytes()
        == drawn.counts.tobytes()
    )
    assert resampled_means(values, drawn).tobytes() == found.tobytes()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e8])
def test_sums_of_any_resample_are_exact(matrices_of, scale):
    values = scale * np.random.default_rng(12).random((3, 94))
    drawn = draw(matrices_of(values, np.arange(94) // 2), unit="patient", resamples=50, seed=0)
    totals, unit = unit_totals(values, drawn)
    whole = totals / unit
    assert (whole == np.round(whole)).all()
    assert np.abs(whole).max() * drawn.counts.sum(axis=1).max() < 2**53
    assert totals.sum(axis=1) == pytest.approx(values.sum(axis=1), rel=1e-12)


def test_ranks_down_each_column():
    values = np.array([[0.5, 1.0], [0.5, 3.0], [0.9, 2.0]])
    assert descending_ranks(values).tolist() == [[2, 3], [2, 1], [1, 2]]


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"test-then-rank", "rank-then-mean"}))
def test_a_resample_is_ranked_as_its_cases_would_be(matrices_of, scheme):
    random = np.random.default_rng(5)
    values = {"dice": random.random((5, 10)).round(1), "avd_ml": random.random((5, 10)).round(1)}
    directions = {"dice": True, "avd_ml": False}
    matrices = matrices_of(values, PATIENTS, **directions)
    drawn = draw(matrices, unit="patient", resamples=80, seed=0)
    found = descending_ranks(SCHEMES[scheme].resampled(matrices, drawn))
    for row in range(80):
        chosen = cases_of(drawn, row)
        part = matrices_of({name: matrix[:, chosen] for name, matrix in values.items()}, **directions)
        assert found[:, row].tolist() == SCHEMES[scheme].ranks(part)[1].tolist()


def test_ranks_within_a_case_stay_when_others_are_drawn(matrices_of):
    random = np.random.default_rng(6)
    values = {"dice": random.random((5, 10)).round(1), "avd_ml": random.random((5, 10)).round(1)}
    matrices = matrices_of(values, PATIENTS, dice=True, avd_ml=False)
    drawn = draw(matrices, unit="patient", resamples=80, seed=0)
    found = SCHEMES["rank-then-mean"].resampled(matrices, drawn)
    for row in range(80):
        chosen = cases_of(drawn, row)
        part = matrices_of({name: matrix[:, chosen] for name, matrix in values.items()}, dice=True, avd_ml=False)
        assert -found[:, row] / 2 == pytest.approx(SCHEMES["rank-then-mean"].ranks(part)[0])


@pytest.mark.parametrize("ties", [False, True])
def test_signed_rank_z_equals_scipy_on_the_drawn_cases(matrices_of, ties):
    random = np.random.default_rng(7)
    differences = random.normal(0.2, 1, 10)
    if ties:
        differences[[3, 4]] = 0, -differences[5]
    drawn = draw(matrices_of(np.zeros((1, 10)), PATIENTS), unit="patient", resamples=60, seed=0)
    weights = drawn.counts.T[drawn.unit_of_case].astype(float)
    found = signed_rank_z(differences, weights)
    for row in range(60):
        expected = stats.wilcoxon(differences[cases_of(drawn, row)], method="asymptotic", alternative="greater")
        assert found[row] == pytest.approx(expected.zstatistic)
    assert not signed_rank_z(np.zeros(10), weights).any()


def test_tests_won_in_resamples(matrices_of):
    random = np.random.default_rng(8)
    base = random.random(40)
    matrices = matrices_of({"dice": np.stack([base + 0.5, base, base + random.normal(0, 0.1, 40)])})
    found = SCHEMES["test-then-rank"].resampled(matrices, draw(matrices, unit="patient", resamples=50, seed=0))
    assert (found[0] == 1).all()
    assert set(np.unique(found[1:])) <= {0.0, 0.5}


def test_errors_are_the_usual_ones_for_a_case_a_patient(matrices_of):
    values = np.random.default_rng(9).random((2, 30))
    drawn = draw(matrices_of(values), unit="patient", resamples=1, seed=0)
    errors = cluster_errors(values, drawn)
    expected = stats.sem(values[0] - values[1])
    assert np.sqrt(((errors[0] - errors[1]) ** 2).sum()) == pytest.approx(expected)


def test_errors_of_patients_with_equal_slabs_are_those_of_one_slab_each(matrices_of):
    single = np.random.default_rng(10).random((2, 30))
    doubled = np.repeat(single, 2, axis=1)
    drawn = draw(matrices_of(doubled, np.repeat(np.arange(30), 2)), unit="patient", resamples=1, seed=0)
    errors = cluster_errors(doubled, drawn)
    assert np.sqrt(((errors[0] - errors[1]) ** 2).sum()) == pytest.approx(stats.sem(single[0] - single[1]))


def test_errors_agree_with_the_bootstrap(matrices_of):
    random = np.random.default_rng(11)
    patients = np.repeat(np.arange(60), [1, 2] * 30)
    values = random.normal(0, 1, (2, 60))[:, patients] + random.normal(0, 0.3, (2, 90)) + [[20], [0]]
    drawn = draw(matrices_of(values, patients), unit="patient", resamples=4000, seed=0)
    means = resampled_means(values, drawn)
    errors = cluster_errors(values, drawn)
    assert np.sqrt(((errors[0] - errors[1]) ** 2).sum()) == pytest.approx((means[0] - means[1]).std(), rel=0.05)
