"""What resampling tells: hand-computed, against SciPy, and the same to the byte."""

import time

import numpy as np
import pytest
from scipy import stats

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.resampling import Resamples
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.uncertainty import kendall_taus, quantify, scheme_agreement, significance
from leaderboard.ranking.wilcoxon import holm


def same(first, second):
    """Equal in everything, NaN included."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in vars(first)]
    return all(a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_the_best_of_far_apart_methods_is_always_first(matrices_of):
    base = np.random.default_rng(0).random(30)
    found = quantify(matrices_of(np.stack([base, base - 2, base - 1])), RankingOptions(resamples=300))
    assert found.rank.tolist() == [1, 3, 2]
    for low, high in ((found.rank_low, found.rank_high), (found.boot_low, found.boot_high)):
        assert low.tolist() == high.tolist() == [1, 3, 2]
    assert found.first_share.tolist() == [1, 0, 0]
    assert found.rank_frequency.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert found.tie_groups == (("m0",), ("m2",), ("m1",))
    assert found.tie_labels == ("a", "c", "b")
    assert found.tau_summary() == {"mean": 1, "median": 1, "low": 1, "high": 1}


def test_frequencies_intervals_and_shares_agree(challenge):
    found = quantify(challenge(np.random.default_rng(1), methods=6, step=0.02), RankingOptions(resamples=1000))
    assert found.rank_frequency.sum(axis=1) == pytest.approx(np.ones(6))
    assert found.first_share.tolist() == found.rank_frequency[:, 0].tolist()
    cumulated = found.rank_frequency.cumsum(axis=1)
    assert found.boot_low.tolist() == (1 + (cumulated < 0.025 - 1e-9).sum(axis=1)).tolist()
    assert found.boot_high.tolist() == (1 + (cumulated < 0.975 - 1e-9).sum(axis=1)).tolist()
    assert (found.rank_low <= found.rank).all()
    assert (found.rank <= found.rank_high).all()


def test_equal_methods_share_everything(matrices_of):
    values = np.random.default_rng(0).random((1, 12)).repeat(3, axis=0)
    found = quantify(matrices_of(values), RankingOptions(resamples=50))
    assert found.rank.tolist() == [1, 1, 1]
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert found.first_share.tolist() == [1, 1, 1]
    assert found.tie_groups == (("m0", "m1", "m2"),)
    assert np.isnan(list(found.tau_summary().values())).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(1, 8), (3, 1), (1, 1)])
def test_one_method_or_one_case_has_the_whole_table_as_its_set(matrices_of, scheme, shape):
    values = np.random.default_rng(0).random(shape)
    found = quantify(matrices_of({"dice": values, "recall": values}), RankingOptions(scheme=scheme, resamples=30))
    assert set(found.rank_low) == {1}
    assert set(found.rank_high) == {shape[0]}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("resamples", [1, 5, 18])
def test_too_few_resamples_separate_nothing_under_any_scheme(matrices_of, scheme, resamples):
    base = {name: np.random.default_rng(0).random((1, 20)) for name in ("dice", "recall", "precision")}
    apart = matrices_of({name: np.concatenate([values, values - 2, values - 3]) for name, values in base.items()})
    found = quantify(apart, RankingOptions(scheme=scheme, resamples=resamples))
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert not found.separated.any()
    assert found.tie_labels == ("a", "a", "a")


@pytest.mark.parametrize(("against", "separable"), [(0, True), (1, False), (2, False)])
def test_a_lead_that_no_resample_changes_is_judged_by_the_patients(matrices_of, against, separable):
    # eight patients; the differences against are so small that no resampled mean is against
    lead = np.array([-1e-6 * (1 + case) if case < against else 1.0 + case for case in range(8)])
    values = np.random.default_rng(0).random(8)
    matrices = matrices_of({name: np.stack([values + lead, values]) for name in ("dice", "recall")})
    found = quantify(matrices, RankingOptions(scheme="mean-then-rank", resamples=200))
    assert found.rank_frequency.tolist() == [[1, 0], [0, 1]]
    assert found.rank_high.tolist() == ([1, 2] if separable else [2, 2])
    assert found.separated[0, 1] == separable


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_two_equal_methods_are_seldom_separated_by_metrics_that_say_the_same(challenge, matrices_of, noise):
    wrong = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        dice = challenge(random, methods=2, step=0, slabs=(1,) * 20).values["dice"]
        metrics = {name: dice + noise * random.standard_normal(dice.shape) for name in ("dice", "recall", "precision")}
        wrong += quantify(
            matrices_of(metrics), RankingOptions(scheme="mean-then-rank", resamples=200, seed=seed)
        ).separated.any()
    assert wrong <= 0.06 * 300


def test_tie_groups_follow_the_ranking_and_not_the_rows(matrices_of):
    random = np.random.default_rng(5)
    base = random.random(40)
    # from the top m3, m1, m0, m2; neighbours overlap
    means = [0.55, 0.75, 0.3, 1.0]
    found = quantify(
        matrices_of(np.stack([base + mean + random.normal(0, 0.6, 40) for mean in means])),
        RankingOptions(resamples=500),
    )
    order = np.argsort(found.rank).tolist()
    assert order != [0, 1, 2, 3]
    apart = found.separated | found.separated.T
    assert 0 < apart.sum() < 12
    runs = [order[start:stop] for start in range(4) for stop in range(start + 1, 5)]
    whole = [run for run in runs if not apart[np.ix_(run, run)].any()]
    longest = [run for run in whole if not any(set(run) < set(other) for other in whole)]
    assert found.tie_groups == tuple(tuple(f"m{row}" for row in run) for run in longest)
    for row in range(4):
        own = ["abcd"[number] for number, run in enumerate(longest) if row in run]
        assert found.tie_labels[row] == (own[0] if len(own) == 1 else f"{own[0]}-{own[-1]}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_methods_far_apart_are_separated_by_every_scheme(matrices_of, scheme):
    random = np.random.default_rng(2)
    values = {name: random.normal(0, 0.1, (3, 25)) - np.arange(3)[:, None] for name in ("dice", "recall")}
    found = quantify(matrices_of(values), RankingOptions(scheme=scheme, resamples=100))
    assert found.rank_low.tolist() == found.rank_high.tolist() == [1, 2, 3]
    assert found.separated.tolist() == np.triu(np.ones((3, 3), dtype=bool), 1).tolist()


def test_one_metric_ranked_by_its_mean_has_the_sets_of_that_mean(challenge):
    matrices = challenge(np.random.default_rng(3), methods=8, step=0.04)
    by_dice, by_rank = (
        quantify(matrices, RankingOptions(scheme=scheme, resamples=400)) for scheme in ("dice", "mean-then-rank")
    )
    assert by_dice.rank_low.tolist() == by_rank.rank_low.tolist()
    assert by_dice.rank_high.tolist() == by_rank.rank_high.tolist()
    assert set(by_dice.rank_high - by_dice.rank_low) != {7}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_seed_gives_the_same_bytes_in_any_order_of_methods(challenge, scheme):
    matrices = challenge(np.random.default_rng(4), methods=6, slabs=[1, 2] * 8, metrics=("dice", "recall"), step=0.03)
    first = quantify(matrices, RankingOptions(scheme=scheme, resamples=150, seed=5))
    assert same(first, quantify(matrices, RankingOptions(scheme=scheme, resamples=150, seed=5)))
    turned = quantify(matrices.in_order([3, 1, 5, 0, 2, 4]), RankingOptions(scheme=scheme, resamples=150, seed=5))
    for name in ("rank", "rank_low", "rank_high", "boot_low", "boot_high", "first_share"):
        assert getattr(turned, name).tolist() == getattr(first, name)[[3, 1, 5, 0, 2, 4]].tolist()
    assert not same(first, quantify(matrices, RankingOptions(scheme=scheme, resamples=150, seed=6)))


def test_slabs_of_a_patient_widen_the_sets(challenge):
    matrices = challenge(np.random.default_rng(6), step=0.02, slabs=[4] * 40, slab_correlation=0.95)
    by_patient, by_case = (quantify(matrices, RankingOptions(unit=unit, resamples=500)) for unit in ("patient", "case"))
    assert (by_patient.units, by_case.units) == (40, 160)
    widths = [(found.rank_high - found.rank_low).sum() for found in (by_patient, by_case)]
    assert widths[0] > 1.2 * widths[1]


@pytest.mark.parametrize("ties", [False, True])
def test_kendall_equals_scipy(ties):
    random = np.random.default_rng(7)
    values = random.integers(0, 4, (9, 50)) if ties else random.random((9, 50))
    ranks = stats.rankdata(values, method="min", axis=0)
    reference = stats.rankdata(random.integers(0, 6, 9), method="min")
    expected = [stats.kendalltau(column, reference).statistic for column in ranks.T]
    assert kendall_taus(ranks, reference) == pytest.approx(expected)


def test_kendall_of_nothing_but_ties_is_undefined():
    assert np.isnan(kendall_taus(np.ones((3, 2)), np.arange(3))).all()
    assert np.isnan(kendall_taus(np.ones((1, 2)), np.ones(1))).all()


def test_holm_is_hand_computed():
    assert holm(np.array([0.01, 0.04, 0.03, 0.5])).tolist() == [0.04, 0.09, 0.09, 0.5]
    assert holm(np.array([0.3, 0.6])).tolist() == [0.6, 0.6]
    assert holm(np.array([])).tolist() == []


def test_significance_takes_a_patient_as_one_observation(matrices_of):
    random = np.random.default_rng(8)
    values = random.random((2, 40)) + np.array([[0.25], [0.0]])
    patients = np.arange(40) // 4
    averaged = values.reshape(2, 10, 4).mean(axis=2)
    raw = [stats.wilcoxon(averaged[a] - averaged[b], alternative="greater").pvalue for a, b in ((0, 1), (1, 0))]
    found = significance(matrices_of(values, patients))
    assert np.isnan(np.diag(found)).all()
    assert [found[0, 1], found[1, 0]] == pytest.approx([2 * min(raw), max(raw)])
    by_case = significance(matrices_of(values, patients), RankingOptions(unit="case"))
    assert by_case[0, 1] == pytest.approx(2 * stats.wilcoxon(values[0] - values[1], alternative="greater").pvalue)


def test_significance_of_several_metrics_looks_at_the_ranks_in_each_case(matrices_of):
    random = np.random.default_rng(9)
    values = {"dice": random.random((3, 30)), "avd_ml": random.random((3, 30)) + np.array([[0], [5], [9]])}
    matrices = matrices_of(values, dice=True, avd_ml=False)
    for scheme in ("rank-then-mean", "mean-then-rank", "test-then-rank"):
        found = significance(matrices, RankingOptions(scheme=scheme))
        assert found[0, 2] < 0.01 < found[2, 0]


def test_schemes_agree_with_themselves_and_kendall(matrices_of):
    random = np.random.default_rng(10)
    values = {name: random.random((6, 30)) + np.linspace(0.5, 0, 6)[:, None] for name in ("dice", "recall")}
    found = scheme_agreement(matrices_of(values), "dice")
    assert found.schemes == ("dice", "mean-then-rank", "rank-then-mean", "test-then-rank")
    assert found.ranks.shape == (4, 6)
    assert np.diag(found.tau) == pytest.approx(np.ones(4))
    assert found.tau[1, 2] == stats.kendalltau(found.ranks[1], found.ranks[2]).statistic
    tied = scheme_agreement(matrices_of(np.ones((3, 5))), "dice")
    assert tied.ranks.tolist() == [[1, 1, 1]] * 4
    assert np.isnan(tied.tau).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_resamples_that_are_the_same_are_ranked_once_with_the_same_result(monkeypatch, matrices_of, scheme):
    """Three patients have ten different resamples."""
    matrices = matrices_of(np.random.default_rng(8).integers(0, 5, (5, 6)) / 4, [0, 0, 1, 1, 2, 2])
    options = RankingOptions(scheme=scheme, resamples=400)
    once = quantify(matrices, options)
    monkeypatch.setattr(Resamples, "distinct", lambda drawn: (drawn, np.arange(400)))
    assert same(once, quantify(matrices, options))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_progress_grows_and_ends_at_its_total(matrices_of, scheme):
    told = []
    matrices = matrices_of(np.random.default_rng(9).random((4, 12)))
    quantify(matrices, RankingOptions(scheme=scheme, resamples=2000), lambda *progress: told.append(progress))
    assert len({total for _, total in told}) == 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len(told) > len(matrices.methods)


def test_three_thousand_methods_with_one_case_are_ranked_in_seconds(matrices_of):
    matrices = matrices_of(np.arange(3000)[:, None] / 3000)
    began = time.process_time()
    found = quantify(matrices)
    assert time.process_time() - began < 20
    assert found.tells_nothing
    assert found.kendall_tau == pytest.approx(1)
