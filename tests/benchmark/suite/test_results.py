from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from benchmark.cohort.folds import Folds
from benchmark.rundir.digests import write_provenance
from benchmark.suite import results
from benchmark.suite.plan import Job
from benchmark.suite.results import (
    Row,
    bar_of,
    below_bar,
    commit_note,
    cost_section,
    costs,
    facts,
    leaky_note,
    mark_tables,
    notes,
    predicted_rows,
    seed_note,
)
from leaderboard.cohort.formats import FORMATS, Cohort
from leaderboard.report import SYNTHETIC
from leaderboard.report.page_tables import section_rows


def cohort_at(root: Path) -> Cohort:
    """A cohort without cases; its format does not matter here."""
    form: Any = None
    return Cohort(root, form, "training", (), ())


def test_trained_rows_that_do_not_beat_the_fitted_threshold_are_named() -> None:
    rows = {"good": 0.5, "perfusion_tfit": 0.35, "equal": 0.35, "bad": 0.2, "all_background": 0.0}
    table = pd.DataFrame({"method": list(rows), "dice_mean": list(rows.values())})
    assert below_bar(table, ["good", "equal", "bad", "elsewhere"]) == ["equal", "bad"]
    assert below_bar(table[table["method"] != "perfusion_tfit"], ["bad"]) == []


def test_on_diffusion_mri_the_bar_is_the_threshold_on_adc() -> None:
    table = pd.DataFrame({"method": ["good", "adc_threshold", "bad"], "dice_mean": [0.5, 0.4, 0.3]})
    assert bar_of(table) == "adc_threshold"
    assert below_bar(table, ["good", "bad"]) == ["bad"]
    assert bar_of(table[table["method"] != "adc_threshold"]) is None


def test_costs_stand_with_their_units_and_what_the_call_spent_in_words() -> None:
    costs = pd.DataFrame({"method": ["a"], "folds": [2], "parameters": [8_114_914], "fit_seconds": [181.4]})
    section = cost_section(costs, {"cohort and preprocessing": 9.04, "jobs": 601.0})
    assert section.text.endswith("cohort and preprocessing 9.0 s and jobs 10 min 1 s.")
    columns, ((method, cells),) = section_rows(section)
    assert [(column.title, column.note) for column in columns] == [("Weights", ""), ("Training", "s, all trainings")]
    assert (method, [cell.text for cell in cells]) == ("a", ["8,114,914", "181"])


def test_tables_of_a_twin_are_marked_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "twin" / "TRAINING").mkdir(parents=True)
    (tmp_path / "tables").mkdir()
    for root in (tmp_path / "twin", tmp_path / "twin" / "TRAINING"):
        cohort = Cohort(root, FORMATS["isles2018"], "training", (), ())
        assert mark_tables(cohort, tmp_path / "tables") == ""
        assert not any((tmp_path / "tables").iterdir())
    (tmp_path / "twin" / "twin.json").write_text("{}")
    for root in (tmp_path / "twin", tmp_path / "twin" / "TRAINING"):
        assert mark_tables(Cohort(root, FORMATS["isles2018"], "training", (), ()), tmp_path / "tables") == SYNTHETIC
    assert (tmp_path / "tables" / "twin.json").read_text() == "{}"
    assert (tmp_path / "tables" / "banner.txt").read_text().strip() == SYNTHETIC


def test_what_a_suite_must_say_of_its_results_stands_beside_its_tables(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path / "cohort", FORMATS["isles2018"], "training", (), ())
    assert mark_tables(cohort, tmp_path, "Short recipes.") == "Short recipes."
    assert (tmp_path / "banner.txt").read_text() == "Short recipes.\n"
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "twin.json").write_text("{}")
    assert mark_tables(cohort, tmp_path, "Short recipes.") == f"{SYNTHETIC} Short recipes."
    assert (tmp_path / "banner.txt").read_text() == f"{SYNTHETIC} Short recipes.\n"


@pytest.mark.parametrize("twin", [True, False])
def test_the_scores_of_a_twin_and_of_no_other_cohort_are_marked_as_synthetic(
    twin: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scored(Exception):
        pass

    def score(*_: object, synthetic: bool, **__: object) -> None:
        marked.append(synthetic)
        raise Scored

    marked: list[bool] = []
    monkeypatch.setattr(results, "score_cases", score)
    monkeypatch.setattr(results, "predicted_rows", lambda _: [Row("toy", 0, tmp_path, None)])
    if twin:
        (tmp_path / "twin.json").write_text("{}")
    cohort = cast(Cohort, SimpleNamespace(root=tmp_path / "TRAINING", cases=()))
    job, folds = SimpleNamespace(fold=0, seed=None), SimpleNamespace(fold_of={}, split_patients={})
    with pytest.raises(Scored):
        results.write_results([job], cohort, folds, tmp_path / "out", "suite")  # type: ignore[list-item,arg-type]
    assert marked == [twin]


def test_rows_of_one_training_share_its_maps_and_a_suite_that_wants_none_has_none(tmp_path: Path) -> None:
    outputs = {"predictions/case_1.nii.gz": "a", "probabilities/case_1.nii.gz": "b"}
    write_provenance(tmp_path, {"ablations": ["plain"], "outputs": outputs})
    maps = tmp_path / "probabilities"
    for wanted, found in ((True, maps), (False, None)):
        job = Job("a", 2, tmp_path, {"predictions": {"probabilities": wanted}}, "", 5)
        assert predicted_rows(job) == [
            Row("a", 2, tmp_path / "predictions", found, 5), Row("a_plain", 2, tmp_path / "predictions_plain", found, 5)
        ]  # fmt: skip
    write_provenance(tmp_path, {"ablations": [], "outputs": {"predictions/case_1.nii.gz": "a"}})  # as it was before
    maps.mkdir()
    assert [
        row.maps
        for row in predicted_rows(Job("a", 2, tmp_path, job.config | {"predictions": {"probabilities": True}}, ""))
    ] == [None]


def test_a_version_apiece_and_the_digests_are_noted_for_a_comparison(tmp_path: Path) -> None:
    write_provenance(tmp_path, {"packages": {"torch": "2.13.0", "numpy": "2.1"}, "folds": "def"})
    job = Job("a", 0, tmp_path, {"suite": {"cohort_sha256": "abc"}}, "")
    assert facts([job], {"suite": "twin", "versions": "torch 2.13.0, numpy 2.1"}) == {
        "suite": "twin",
        "sha256 of the cohort": "abc",
        "sha256 of the folds": "def",
        "version of torch": "2.13.0",
        "version of numpy": "2.1",
    }


@pytest.mark.parametrize(
    ("states", "note"),
    [
        ([{"commit": "a1", "clean": True}] * 2, {"commit": "a1"}),
        ([{"commit": "a1", "clean": True}, {"commit": "b2", "clean": False}], {"commit": "a1, b2 with changes"}),
        ([None, {"commit": "a1", "clean": True}], {"commit": "not known, a1"}),
        ([None, None], {}),
    ],
)
def test_the_page_is_told_the_commits_that_the_jobs_recorded(
    tmp_path: Path, states: list[dict[str, Any] | None], note: dict[str, str]
) -> None:
    jobs: list[Any] = []
    for number, state in enumerate(states):
        (tmp_path / str(number)).mkdir()
        write_provenance(tmp_path / str(number), {"git": state, "packages": {"numpy": "2"}, "precision": "32-true"})
        jobs.append(SimpleNamespace(run=tmp_path / str(number), seed=None))
    assert commit_note(jobs) == note
    folds: Any = SimpleNamespace(split_patients=(), digest="0123", number_of_folds=2)
    told = notes(jobs, cohort_at(tmp_path), folds, "twin")
    assert {**told, **note} == told
    assert "0123" not in str(told)  # the page has the digest of the folds from the table itself


def test_costs_are_a_row_for_each_seed_in_the_table_and_one_for_a_method_on_the_page(tmp_path: Path) -> None:
    jobs = []
    for method, fold, seed in [("net", 0, 1), ("net", 0, 0), ("net", 1, 1), ("net", 1, 0), ("rule", 0, None)]:
        run = tmp_path / f"{method}{fold}{seed}"
        run.mkdir()
        spent = {"fit_seconds": 10.0 ** (seed or 0), "predict_seconds": 2.0, "other_seconds": 1.0, "cases": 4}
        if not (fold and seed):  # seed 1 of fold 1 was trained before budgets were recorded
            steps = 3 if method == "net" else 0
            spent |= {"steps": steps, "slices_seen": 10 * steps, "training_gmac": [0.1, 0.2][fold] * steps / 3}
        write_provenance(run, {"costs": spent | {"parameters": 5, "gmac_per_slice": 0.1, "peak_memory_mb": 7}})
        jobs.append(Job(method, fold, run, {}, "", seed))
    by_seed = costs(jobs, by_seed=True)
    assert by_seed.to_csv(index=False).splitlines() == [
        "method,seed,folds,parameters,gmac_per_slice,steps,slices_seen,training_gmac,fit_seconds,"
        "predict_seconds_per_case,other_seconds,peak_memory_mb",
        "net,1,2,5,0.1,,,,20.0,0.5,2.0,7",
        "net,0,2,5,0.1,6,60,0.3,2.0,0.5,2.0,7",
        "rule,,1,5,0.1,0,0,0.0,1.0,0.5,1.0,7",
    ]  # fmt: skip
    assert costs(jobs).to_csv(index=False).splitlines()[1:] == [
        "net,2,5,0.1,,,,22.0,0.5,4.0,7", "rule,1,5,0.1,0,0,0.0,1.0,0.5,1.0,7"
    ]  # fmt: skip
    _, rows = section_rows(cost_section(costs(jobs), {}))
    assert [[cell.text for cell in cells[2:5]] for _, cells in rows] == [["–"] * 3, ["0", "0", "0"]]
    assert seed_note(jobs) == {"training seeds": "0, 1"}
    alone = [job for job in jobs if job.method == "rule"]
    assert "seed" not in costs(alone, by_seed=True).columns
    assert seed_note(alone) == {}


def test_folds_that_split_patients_are_said_to_leak_and_others_are_not() -> None:
    patient_of = {"a": "p", "b": "p", "c": "q"}
    assert leaky_note(Folds({"a": 0, "b": 1, "c": 1}, patient_of)) == (
        "LEAKY FOLDS: 1 of 2 patients have cases in training and in validation. "
        "The scores are not those of new patients."
    )
    assert leaky_note(Folds({"a": 0, "b": 0, "c": 1}, patient_of)) == ""
