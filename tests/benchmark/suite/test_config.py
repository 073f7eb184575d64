from __future__ import annotations

from pathlib import Path

import pytest
from plans import suite_file

from benchmark.suite.config import read_suite
from leaderboard.errors import InputError


def test_every_fault_of_a_suite_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("name: a/b\nmethods: [x, x]\nepochs: 3\ncohort: {twin: {cases: 3}}\noverrides: [1]\n")
    with pytest.raises(InputError) as error:
        read_suite(path)
    text = str(error.value)
    for word in ("epochs", "twice", "'a/b'", "cohort.twin", "overrides"):
        assert word in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seed: x", "seed must be a whole number"),
        ("seed: -1", "seed must be a whole number"),
        ("cohort: {twin: {cases: four, size: 64}}", "cohort.twin.cases must be"),
        ("cohort: {twin: {cases: 4, size: 64, format: isles2023}}", "no twin of 'isles2023': choose among isles2018"),
        ("cohort: {twin: {cases: 4, size: 64, format: [a]}}", "cohort.twin.format: there is no twin of ['a']"),
        ("folds: {number: 1}", "folds.number must be a whole number, at least 2"),
        ("folds: {number: 3, by: centre}", "folds takes one of file, number and by"),
        ("folds: {by: patient}", "folds.by must be centre"),
        ("cohort: {format: isles1999}", "cohort.format: there is no format isles1999: choose among"),
        ("overrides: {x: {needs: CT}}", "overrides.x: needs must be a list"),
        ("checkpoint_every_n_epochs: 0", "at least 1"),
        ("wandb: maybe", "wandb must be true or false"),
        ("note: [short]", "note must be a text"),
        ("overrides: {x: 5}", "overrides.x: must be a mapping"),
        ("defaults: {trainer: [1]}", "defaults: trainer must be a mapping"),
        ("defaults: {trainr: {}}", "trainr: unknown section"),
        ("overrides: {strokenett: {}}", "overrides: strokenett: unknown method: did you mean strokenet"),
        ('name: "a\\0b"', "is no folder name"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_one_clear_line(tmp_path: Path, setting: str, words: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"methods: [x]\n{setting}\n")
    with pytest.raises(InputError) as error:
        read_suite(path)
    assert len(error.value.problems) == 1
    assert words in error.value.problems[0]


@pytest.mark.parametrize("name", ["=1+1", "@a", "a\nb", "-a"])
def test_a_method_has_a_name_that_tables_may_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        read_suite(suite_file(tmp_path, methods=[name]))
    (problem,) = error.value.problems
    assert f"the method {name!r} ".replace("\n", "\\n") in problem


@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True])
@pytest.mark.parametrize("setting", ["threads", "jobs_per_gpu"])
def test_threads_and_jobs_per_gpu_are_whole_numbers(tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{setting} must be a whole number, at least 1: correct it"):
        read_suite(suite_file(tmp_path, **{setting: value}))
    assert getattr(read_suite(suite_file(tmp_path, **{setting: 3})), setting) == 3
    assert getattr(read_suite(suite_file(tmp_path)), setting) is None
