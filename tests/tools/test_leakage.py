"""The same methods on folds of patients and on folds of cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scripts import script

from benchmark.cohort.folds import FoldCase, case_folds, make_folds, measure_cohort
from benchmark.suite.config_files import read_yaml, shipped_configs
from leaderboard.cases import cases_frame, write_cases
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError


@pytest.fixture(scope="module")
def leakage():
    with script("leakage") as module:
        yield module


def test_every_patient_of_the_copy_has_two_cases_and_every_fold_of_both_kinds_as_many(leakage, isles_tree, tmp_path):
    # All but P2 have two cases, and P6 is one too many for two folds.
    owner = dict(enumerate(["P1", "P1", "P2", "P3", "P4", "P4", "P3", "P5", "P5", "P6", "P6"], start=1))
    tree, out = isles_tree(list(owner), patients=owner.get), tmp_path / "pairs"
    (tree / "twin.json").write_text("{}")
    options = leakage.parsed(["cohort", str(tree), "--out", str(out), "--folds", "2"])
    assert options.command(options) == 0
    assert (out / "twin.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    copied = read_cohort(out)
    assert {case.number: case.patient for case in copied.cases} == {
        number: owner[number] for number in (1, 2, 4, 5, 6, 7, 8, 9)
    }
    for deal in (make_folds, case_folds):
        folds = deal(measure_cohort(copied), 2, 0)
        assert [len(folds.validation(fold)) for fold in range(2)] == [4, 4]
    with pytest.raises(InputError, match="is there already"):
        options.command(options)
    options.out, options.folds = tmp_path / "none", 50
    with pytest.raises(InputError, match="not enough for 50 folds"):
        options.command(options)


def test_the_shipped_suites_differ_in_their_names_and_folds_alone():
    patients, cases = (read_yaml(shipped_configs() / f"{name}.yaml") for name in ("leakage", "leakage-cases"))
    assert (patients.pop("name"), cases.pop("name")) == ("leakage", "leakage-cases")
    assert cases.pop("folds") == {**patients.pop("folds"), "by": "case"}
    assert patients == cases


def arm(deal, gains, seeds=(0, 1), moved=0.0):
    """Scores of twelve patients with two cases each: 0.5 and some noise, and a gain by method.

    `moved`: standard deviation of what each training of a fold adds to all its cases.
    """
    cases = [FoldCase(f"case_{number}", f"P{number // 2}", 10.0) for number in range(24)]
    folds = deal(cases, 3, 0)
    random = np.random.default_rng(0)
    noise, of_fold = random.normal(0, 0.02, (2, 3, 24)), random.normal(0, moved, (2, 3, 3))
    noise += of_fold[:, :, [folds.fold_of[case.case] for case in cases]]
    return cases_frame(
        [
            {
                "method": method, "case": case.case, "patient": case.patient, "fold": folds.fold_of[case.case],
                "status": "ok", "seed": seed, "dice": 0.5 + gain + noise[place, seed, number], "reference_ml": 10.0,
            }
            for place, (method, gain) in enumerate(gains.items())
            for seed in seeds
            for number, case in enumerate(cases)
        ]
    )  # fmt: skip


def test_what_the_leak_adds_is_found_with_its_interval_and_ranks(leakage):
    patients, cases = arm(make_folds, {"firm": 0.05, "leaky": 0.0}), arm(case_folds, {"firm": 0.05, "leaky": 0.2})
    leakage.require_same_but_folds(patients, cases)
    firm, leaky = leakage.leaks(patients, cases)
    assert (firm.method, leaky.method) == ("firm", "leaky")
    for leak, gain in ((firm, 0.0), (leaky, 0.2)):
        rows = [frame.loc[frame["method"] == leak.method, "dice"].mean() for frame in (patients, cases)]
        assert (leak.by_patient, leak.by_case) == pytest.approx(tuple(rows))
        assert leak.by_case - leak.by_patient == pytest.approx(gain)
        ends = by_hand(*(frame[frame["method"] == leak.method] for frame in (patients, cases)))
        assert (leak.low, leak.high) == pytest.approx(ends, abs=0.01 * (ends[1] - ends[0]))
    assert (firm.ranks, leaky.ranks) == (("1 (1)", "2 (2)"), ("2 (2)", "1 (1)"))


def by_hand(patients: pd.DataFrame, cases: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of the difference of one method: patients resampled, and the variance of trainings added."""
    means = [table.groupby("case")["dice"].mean() for table in (patients, cases)]
    difference = (means[1] - means[0]).groupby(patients.groupby("case")["patient"].first())
    sums, sizes = difference.sum().to_numpy(), difference.size().to_numpy()
    drawn = np.random.default_rng(1).integers(len(sums), size=(40_000, len(sums)))
    resampled = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    of_patients = resampled.var() * len(sums) / (len(sums) - 1)
    of_trainings = []  # of each fold of each arm, with its degrees of freedom
    for table in (patients, cases):
        for _, fold in table.groupby("fold"):
            of_seed = fold.groupby("seed")["dice"].mean()
            share = fold["case"].nunique() / table["case"].nunique()
            of_trainings.append((share**2 * of_seed.var(ddof=1) / len(of_seed), len(of_seed) - 1))
    variance = of_patients + sum(part for part, _ in of_trainings)
    spread = of_patients**2 / (len(sums) - 1) + sum(part**2 / free for part, free in of_trainings)
    margin = stats.t.isf(0.025, variance**2 / spread) * math.sqrt(variance)
    centre = sums.sum() / sizes.sum()
    return centre - margin, centre + margin


def test_the_interval_is_that_of_patients_and_of_the_trainings_of_every_fold_of_both_arms(leakage):
    gains = {"firm": 0.05, "leaky": 0.0}
    patients = arm(make_folds, gains, seeds=(0, 1, 2), moved=0.1)
    cases = arm(case_folds, {**gains, "leaky": 0.2}, seeds=(0, 1, 2), moved=0.05)
    crossing = patients.drop_duplicates("case").merge(cases.drop_duplicates("case"), on="case")
    assert crossing.groupby("fold_x")["fold_y"].nunique().min() > 1
    for leak in leakage.leaks(patients, cases):
        low, high = by_hand(*(table[table["method"] == leak.method] for table in (patients, cases)))
        assert (leak.low, leak.high) == pytest.approx((low, high), abs=0.01 * (high - low))


def test_the_table_and_the_picture_stand_in_the_page(leakage, tmp_path, capsys):
    page, paths = tmp_path / "leak.md", [tmp_path / "patients.csv", tmp_path / "cases.csv"]
    page.write_text(f"before\n{leakage.MARKERS[0]}\n{leakage.MARKERS[1]}\nafter\n")
    for path, deal, gain in zip(paths, (make_folds, case_folds), (0.0, 0.2), strict=True):
        write_cases(path, arm(deal, {"firm": 0.05, "leaky": gain}))
    options = leakage.parsed(["figure", *map(str, paths), "--page", str(page)])
    assert options.command(options) == 0
    printed = capsys.readouterr().out
    alt = "Mean Dice on folds by patient and by case, and the difference with its interval"
    assert (
        page.read_text()
        == f"before\n{leakage.MARKERS[0]}\n{printed}\n![{alt}](leak.png)\n{leakage.MARKERS[1]}\nafter\n"
    )
    said = "24 cases of 12 patients in 3 folds; each network was trained on 16 of them. In each fold a network was"
    assert f"{said} trained 2 times. " in printed
    assert printed.count("\n| `") == 2
    assert page.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_arms_that_differ_in_more_than_their_folds_are_refused(leakage):
    same = {"firm": 0.05, "leaky": 0.0}
    patients, cases = arm(make_folds, same), arm(case_folds, same)
    for first, second, words in (
        (patients, arm(case_folds, {"firm": 0.05}), "other methods"),
        (patients, arm(case_folds, same, seeds=(0,)), "other methods"),
        (patients, cases[cases["case"] != "case_3"], "other methods"),
        (patients, cases.assign(fold=cases["fold"].where(cases["case"] != "case_3", 0)), "use folds of the same sizes"),
        (cases, cases, "the folds of the first table split P"),
        (patients, patients, "the folds of the second table split no patient"),
    ):
        with pytest.raises(InputError, match=words):
            leakage.require_same_but_folds(first, second)
