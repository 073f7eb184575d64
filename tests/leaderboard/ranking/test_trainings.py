"""Several trainings of a method: their part of errors and resamples against loops over the definition."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from leaderboard.cases import cases_frame
from leaderboard.ranking.components import variance_components
from leaderboard.ranking.intervals import Chances, intervals, margins, training_shares
from leaderboard.ranking.matrices import Trainings
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse, rank_methods
from leaderboard.ranking.reading import read_matrices
from leaderboard.ranking.resampling import cluster_errors, draw, resampled_means
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.trainings import freedoms, groups, mean_columns, pair_freedoms, rank_sums
from leaderboard.ranking.uncertainty import quantify
from leaderboard.ranking.wilcoxon import signed_rank_z, signed_rank_z_each

FOLDS = [0, 0, 1, 1, 1, 0, 1]


@pytest.fixture
def trained(trained_of):
    """A method with three trainings, one with two, and one of which one is known; seven cases in two folds."""
    random = np.random.default_rng(0)
    return trained_of(
        {name: [random.random((count, 7)).round(1) for count in (3, 2, 1)] for name in ("dice", "recall")}, FOLDS
    )


def test_squared_columns_sum_to_the_variance_of_a_mean_over_trainings(trained):
    columns = mean_columns(trained, "dice")
    for method, values in enumerate(trained.trainings.values["dice"]):
        variance = 0.0
        for fold in (0, 1):
            inside = [case for case in range(7) if FOLDS[case] == fold]
            if len(values) > 1:
                deviation = np.std([np.mean(row[inside]) for row in values], ddof=1)
                variance += (len(inside) / 7) ** 2 * deviation**2 / len(values)
        assert (columns[method] ** 2).sum() == pytest.approx(variance)
    assert columns.shape == (3, 2 * 3 + 2 * 2)
    assert not columns[2].any()


def test_drawn_trainings_have_that_variance_and_leave_the_patients_alone(trained):
    drawn = draw(trained, unit="patient", resamples=20_000, seed=0)
    once = draw(replace(trained, trainings=None), unit="patient", resamples=20_000, seed=0)
    assert (drawn.counts == once.counts).all()
    columns = mean_columns(trained, "dice")
    means = resampled_means(trained.values["dice"], drawn, columns)
    added = means - resampled_means(trained.values["dice"], once)
    assert added.mean(axis=1) == pytest.approx(np.zeros(3), abs=1e-3)
    assert added.var(axis=1) == pytest.approx((columns**2).sum(axis=1), rel=0.05)
    for group in groups(trained):
        assert set(drawn.trainings[:, group.columns].sum(axis=1)) == {group.trainings}


def test_a_lead_within_the_noise_of_trainings_separates_nothing(trained_of):
    base = np.random.default_rng(1).random(60)
    noise = np.array([[-0.02], [0.02]])
    apart = trained_of({"dice": [base + noise, base + noise - 0.01]}, [0, 1] * 30)
    assert quantify(replace(apart, trainings=None), RankingOptions(resamples=100)).rank_high.tolist() == [1, 2]
    found = quantify(apart, RankingOptions(resamples=2000))
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_clear_winner_is_alone_in_first_place_with_two_trainings_each(trained_of, scheme):
    random = np.random.default_rng(0)
    matrices = trained_of(
        {
            name: [
                mean + cases + random.normal(0, 0.05, 40) + random.normal(0, 0.02, (2, 1))
                for cases in [random.normal(0, 0.15, 40)]
                for mean in (0.7, 0.45, 0.45)
            ]
            for name in ("dice", "recall", "precision")
        },
        [0] * 40,
    )
    found = quantify(matrices, RankingOptions(scheme=scheme, resamples=500))
    assert not found.tells_nothing
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 2, 2], [1, 3, 3])


@pytest.mark.parametrize("scheme", ["mean-then-rank", "test-then-rank"])
def test_what_two_trainings_may_explain_separates_nothing(trained_of, scheme):
    """No resample turns a lead of 0.08, where each mean has a standard error of 0.02: t is 2.8; two degrees say 4.3."""
    base = np.random.default_rng(1).random(60)
    noise = np.array([[-0.02], [0.02]])
    apart = {name: [base + noise, base + noise - 0.08] for name in ("dice", "recall")}
    found = quantify(trained_of(apart, [0] * 60), RankingOptions(scheme=scheme, resamples=500))
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([1, 1], [2, 2])
    assert not found.separated.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_training_each_gives_what_no_known_training_gives(challenge, scheme):
    matrices = challenge(np.random.default_rng(2), methods=4, metrics=("dice", "recall"), step=0.05)
    once = Trainings(
        seeds=((0,),) * 4,
        folds=np.zeros((4, 63), dtype=int),
        values={name: tuple(values[:, None]) for name, values in matrices.values.items()},
        missing=tuple(matrices.missing[:, None]),
    )
    options = RankingOptions(scheme=scheme, resamples=200)
    first, second = quantify(matrices, options), quantify(replace(matrices, trainings=once), options)
    for name in ("rank", "rank_low", "rank_high", "rank_frequency", "kendall_tau"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def expected_ranks(trained, chosen):
    """Ranks in each case, summed over metrics, on average over all choices of a training of each method."""
    sums, choices = 0, 0
    for choice in itertools.product(*(chosen.get(m, range(len(v))) for m, v in enumerate(trained.trainings.missing))):
        for values in trained.trainings.values.values():
            picked = np.stack([values[method][training] for method, training in enumerate(choice)])
            sums = sums + stats.rankdata(-picked, method="min", axis=0)
        choices += 1
    return sums / choices


def test_ranks_within_a_case_are_those_of_one_training_among_one_of_each(trained):
    sums, columns = rank_sums(trained)
    assert sums == pytest.approx(expected_ranks(trained, {}))
    for group in groups(trained):
        alone = [
            expected_ranks(trained, {group.method: [training]})[:, group.cases].sum(axis=1) / 7
            for training in range(group.trainings)
        ]
        deviations = np.transpose(alone - np.mean(alone, axis=0))
        scale = math.sqrt(group.trainings * (group.trainings - 1))
        assert columns[:, group.columns] == pytest.approx(deviations / scale)


def test_a_training_without_a_prediction_has_the_last_rank(trained_of):
    matrices = trained_of({"dice": [np.full((2, 3), 0.9), np.full((2, 3), 0.5), np.full((1, 3), 0.1)]}, [0, 0, 0])
    missing = tuple(np.array(rows, dtype=bool) for rows in ([[0, 0, 1], [0, 0, 0]], [[0] * 3] * 2, [[0] * 3]))
    sums, _ = rank_sums(replace(matrices, trainings=replace(matrices.trainings, missing=missing)))
    assert sums.tolist() == [[1, 1, 2], [2, 2, 1.5], [3, 3, 2.5]]


def test_a_training_without_a_prediction_is_moved_by_no_other(trained_of):
    """Two cases; in the second, each of two methods lacks a prediction of one of its two trainings."""
    matrices = trained_of({"dice": [np.array([[0.9, 0.0], [0.9, 0.6]]), np.array([[0.5, 0.5], [0.5, 0.0]])]}, [0, 0])
    missing = (np.array([[0, 1], [0, 0]], dtype=bool), np.array([[0, 0], [0, 1]], dtype=bool))
    _, columns = rank_sums(replace(matrices, trainings=replace(matrices.trainings, missing=missing)))
    # the first method's trainings have the mean ranks (1 + 2) / 2 and (1 + 1) / 2
    assert columns[0, :2] == pytest.approx(np.array([0.25, -0.25]) / math.sqrt(2))
    # in the second case they push down none of the other's trainings, and one of two: its mean rank gains 0 and 0.25
    assert columns[1, :2] == pytest.approx(np.array([-0.125, 0.125]) / math.sqrt(2))


@pytest.mark.parametrize("scheme", ["mean-then-rank", "test-then-rank", "rank-then-mean"])
def test_trainings_that_vary_widen_what_is_resampled(challenge, scheme):
    settings = {"methods": 3, "step": 0.1, "metrics": ("dice", "recall"), "seeds": 3, "folds": 2}
    widths = []
    for deviation in (1e-9, 0.4):
        matrices = challenge(np.random.default_rng(3), training_sd=deviation, **settings)
        drawn = draw(matrices, unit="patient", resamples=400, seed=0)
        widths.append(SCHEMES[scheme].resampled(matrices, drawn).std(axis=1).mean())
    assert widths[1] > 1.5 * widths[0]


def test_signed_ranks_with_differences_of_each_resample_are_those_of_one_at_a_time():
    random = np.random.default_rng(4)
    differences = random.integers(-4, 5, (12, 30)) / 4
    weights = random.integers(0, 3, (12, 30)).astype(float)
    found = signed_rank_z_each(differences, weights)
    for column in range(30):
        one = signed_rank_z(differences[:, column], weights[:, [column]])
        assert found[column] == pytest.approx(one[0])


def test_degrees_of_freedom_are_satterthwaites(trained):
    found, patients = groups(trained), np.array([[0.1] * 7])
    sizes = np.array([1, 1, 1, 1, 1, 1, 2])
    worth = (6 + 4) ** 2 / (6 + 16)
    columns = np.zeros((1, 10))
    assert freedoms(patients, columns, found, sizes) == pytest.approx([worth - 1])
    columns[0, 8:] = 0.3, -0.3
    expected = (0.07 + 0.18) ** 2 / (0.07**2 / (worth - 1) + 0.18**2 / 1)
    assert freedoms(patients, columns, found, sizes) == pytest.approx([expected])
    both = pair_freedoms(np.repeat(patients, 2, 0) * [[1], [2]], np.concatenate([0 * columns, columns]), found, sizes)
    assert both == pytest.approx(np.array([[np.inf, expected], [expected, np.inf]]))


def test_an_interval_without_trainings_is_students(matrices_of):
    values = np.random.default_rng(5).random((2, 20))
    low, high = intervals(matrices_of(values), "dice", "patient")
    for row in range(2):
        assert (low[row], high[row]) == pytest.approx(
            stats.t.interval(0.95, 19, loc=values[row].mean(), scale=stats.sem(values[row]))
        )
    apart = margins(matrices_of(values), "dice", "patient", against=0)
    assert apart[0] == 0
    assert apart[1] == pytest.approx(stats.t.isf(0.025, 19) * stats.sem(values[1] - values[0]))


def test_a_row_without_trainings_has_the_same_interval_beside_others_that_have_them(trained_of):
    random, slabs = np.random.default_rng(12), [0] * 6 + [1, 2, 3]
    rules = [random.random((1, 9)) for _ in range(2)]
    seeded = trained_of({"dice": [*rules, random.random((2, 9))]}, [0] * 9, slabs)
    alone = trained_of({"dice": rules}, [0] * 9, slabs)
    for against in (None, 1):
        expected = margins(alone, "dice", "patient", against)
        assert margins(seeded, "dice", "patient", against)[:2].tobytes() == expected.tobytes()
    drawn = draw(seeded, unit="patient", resamples=0, seed=0)
    patients = cluster_errors(seeded.values["dice"], drawn)
    degrees = pair_freedoms(patients, mean_columns(seeded, "dice"), groups(seeded), drawn.sizes)
    assert degrees[0, 1] == degrees[1, 0] == 3
    assert (degrees[2, :2] != 3).all()


def test_intervals_stay_within_what_a_metric_may_be_and_one_patient_has_none(matrices_of):
    low, high = intervals(matrices_of(np.array([[0.99, 1.0, 0.9], [0.0, 0.01, 0.0]])), "dice", "patient")
    assert (high[0], low[1]) == (1, 0)
    assert np.isnan(intervals(matrices_of(np.array([[0.5], [0.4]])), "dice", "patient")).all()


def test_the_chance_to_win_is_counted_over_pairs_of_trainings_and_patients(trained_of):
    patients = [0, 0, 1, 2, 2, 3, 4]
    random = np.random.default_rng(6)
    values = [random.integers(0, 3, (count, 7)) / 2 for count in (3, 2, 1)]
    chances = Chances(trained_of({"dice": values}, FOLDS, patients), {"dice": True}, "patient")
    for first, second in itertools.permutations(range(3), 2):
        won = [
            (a > b) + (a == b) / 2
            for patient in range(5)
            for one in values[first]
            for other in values[second]
            for a, b in [
                [np.mean([row[case] for case in range(7) if patients[case] == patient]) for row in (one, other)]
            ]
        ]
        assert chances.of(first, second) == pytest.approx(np.mean(won))
        assert chances.of(first, second) + chances.of(second, first) == pytest.approx(1)
    assert chances.matrix(2).tolist() == [[0.5, chances.of(0, 1)], [chances.of(1, 0), 0.5]]


def test_the_chance_over_several_metrics_is_their_mean_and_lower_may_be_better(matrices_of):
    values = {"dice": np.array([[0.9, 0.8], [0.1, 0.2]]), "avd_ml": np.array([[5.0, 1.0], [2.0, 3.0]])}
    chances = Chances(matrices_of(values, dice=True, avd_ml=False), {"dice": True, "avd_ml": False}, "patient")
    assert chances.of(0, 1) == 0.75


def test_parts_of_a_variance_that_only_adds_up_are_found_exactly(trained_of):
    patients, trainings = np.array([0.2, 0.5, 0.9, 0.4]), np.array([[-0.1], [0.3], [0.1]])
    matrices = trained_of({"dice": [patients + trainings, np.full((1, 4), 0.5)]}, [0] * 4)
    found, nothing = variance_components(matrices, "dice", "patient")
    assert (found.patients, found.trainings) == pytest.approx((patients.var(ddof=1), trainings.var(ddof=1)))
    assert found.rest == pytest.approx(0)
    assert sum(found.shares) == pytest.approx(1)
    assert nothing is None


def test_parts_of_a_variance_are_those_of_the_simulation(challenge):
    settings = {"training_sd": 0.2, "case_training_sd": 0.1, "seeds": 4, "folds": 25, "slabs": (1,) * 1500}
    (found,) = variance_components(challenge(np.random.default_rng(8), methods=1, **settings), "dice", "patient")
    assert (found.patients, found.trainings, found.rest) == pytest.approx((0.09, 0.04, 0.01), rel=0.2)


def test_the_share_of_trainings_is_that_of_the_squared_error(trained):
    squares = (mean_columns(trained, "dice") ** 2).sum(axis=1)
    drawn = draw(trained, unit="patient", resamples=0, seed=0)
    whole = squares + (cluster_errors(trained.values["dice"], drawn) ** 2).sum(axis=1)
    assert training_shares(trained, "dice", "patient") == pytest.approx(squares / whole)


def test_simultaneous_sets_hold_what_no_pair_contradicts(challenge):
    matrices = challenge(np.random.default_rng(7), methods=6, step=0.08)
    each, together = (
        quantify(matrices, RankingOptions(resamples=500, simultaneous=at_once)) for at_once in (False, True)
    )
    assert together.rank_low.tolist() == (1 + each.separated.sum(axis=0)).tolist()
    assert together.rank_high.tolist() == (6 - each.separated.sum(axis=1)).tolist()
    assert (together.rank_low <= each.rank_low).all()
    assert (together.rank_high >= each.rank_high).all()


def seeded_rows(row, **further):
    """Method a with the seeds 0 and 3, a rule with none; three cases in two folds."""
    dice = {("a", 0): (0.2, 0.4, 0.9), ("a", 3): (0.4, 0.4, 0.5), ("rule", None): (0.3, 0.3, 0.3)}
    return cases_frame(
        [
            row(method, number, dice=value, seed=seed, fold=number % 2, **further)
            for (method, seed), values in dice.items()
            for number, value in enumerate(values, start=1)
        ]
    )


def test_a_table_with_seeds_is_ranked_by_means_over_them(row):
    cases = seeded_rows(row)
    sorted_rows, matrices = read_matrices(cases.sample(frac=1, random_state=0))
    assert matrices.trainings.seeds == ((0, 3), ())
    assert matrices.values["dice"] == pytest.approx(np.array([[0.3, 0.4, 0.7], [0.3] * 3]))
    assert matrices.trainings.values["dice"][0].tolist() == [[0.2, 0.4, 0.9], [0.4, 0.4, 0.5]]
    assert matrices.trainings.folds.tolist() == [[1, 0, 1]] * 2
    assert sorted_rows["dice"].tolist() == pytest.approx([0.3, 0.4, 0.7, 0.3, 0.3, 0.3])
    table = rank_methods(cases, RankingOptions(resamples=50)).set_index("method")
    assert table["dice_mean"].to_dict() == pytest.approx({"a": 1.4 / 3, "rule": 0.3}, abs=1e-6)
    assert table.loc["a", "dice_seed_sd"] == pytest.approx(np.std([0.5, 1.3 / 3], ddof=1), abs=1e-6)
    assert table["trainings"].isna().tolist() == table["dice_seed_sd"].isna().tolist() == [False, True]
    assert table.loc["a", "p_better_than_next"] == pytest.approx(5 / 6, abs=1e-6)
    assert analyse(cases, RankingOptions(resamples=0)).first_trainings["dice"].tolist()[:3] == [0.2, 0.4, 0.9]


def test_what_one_training_lacks_is_lacking(row):
    cases = seeded_rows(row, hausdorff_mm=4.0)
    at = cases.index[(cases["method"] == "a") & (cases["case"] == "case_2") & (cases["seed"] == 3)]
    kept = ("method", "case", "patient", "fold", "seed", "reference_ml", "reference_lesions", "reference_lesions_6")
    cases.loc[at, [name for name in cases.columns if name not in kept]] = np.nan
    cases.loc[at, "status"] = "missing"
    table = rank_methods(cases, RankingOptions(resamples=0)).set_index("method")
    assert table["missing"].tolist() == [1, 0]
    assert table["hausdorff_mm_undefined"].tolist() == [1, 0]
    assert table.loc["a", "dice_mean"] == pytest.approx((0.3 + 0.2 + 0.7) / 3, abs=1e-6)
