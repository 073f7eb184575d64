from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from plans import suite_file

from benchmark.suite.config import read_suite
from benchmark.suite.config_files import shipped_configs
from leaderboard.errors import InputError

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_fault_of_a_suite_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("name: a/b\nmethods: [x, x]\nepochs: 3\ncohort: {twin: {cases: 3}}\noverrides: [1]\n")
    with pytest.raises(InputError) as error:
        read_suite(path)
    text = str(error.value)
    for word in ("epochs", "twice", "'a/b'", "cohort.twin", "overrides"):
        assert word in text


def test_a_suite_that_is_no_yaml_is_one_line_that_names_its_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(InputError) as error:
        read_suite(path)
    assert error.value.problems == [f"{path}: has name twice in line 2, column 1: correct it"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seed: x", "seed must be a whole number"),
        ("seed: -1", "seed must be a whole number"),
        ("cohort: {twin: {cases: four, size: 64}}", "cohort.twin.cases must be"),
        ("cohort: {twin: {cases: 4, size: 64, format: isles2023}}", "no twin of 'isles2023': choose among isles2018"),
        ("cohort: {twin: {cases: 4, size: 64, format: [a]}}", "cohort.twin.format: there is no twin of ['a']"),
        ("seeds: 3", "seeds must be a list of whole numbers from 0 to 4294967295, as in [0, 1, 2]"),
        ("seeds: []", "seeds must be a list"),
        ("seeds: [0, -1]", "seeds must be a list"),
        ("seeds: [0, 4294967296]", "seeds must be a list"),
        ("seeds: [0, true]", "seeds must be a list"),
        ("seeds: [1, 0, 1]", "seeds names one twice"),
        ("folds: {number: 1}", "folds.number must be a whole number, at least 2"),
        ("folds: 0", "folds must be a mapping"),
        ("overrides: no", "overrides must be a mapping"),
        ("folds: {number: 3, by: centre}", "folds takes one of file, number and by"),
        ("folds: {file: a.csv, by: case}", "folds takes one of file, number and by"),
        ("folds: {by: patient}", "folds.by must be centre, or case"),
        ("cohort: {format: isles1999}", "cohort.format: there is no format isles1999: choose among"),
        ("overrides: {x: {needs: CT}}", "overrides.x: needs must be a list"),
        ("checkpoint_every_n_epochs: 0", "at least 1"),
        ("wandb: maybe", "wandb must be true or false"),
        ("probabilities: 1", "probabilities must be true or false"),
        ("ensembles: all", "ensembles must be true, false, or a list of seeds and methods"),
        ("ensembles: [folds]", "ensembles must be true, false, or a list of seeds and methods"),
        ("ensembles: true\nprobabilities: false", "ensembles are made of probability maps: remove"),
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


def test_trainings_take_the_suites_seed_where_it_names_no_seeds(tmp_path: Path) -> None:
    given = [{}, {"seed": 4}, {"seed": 4, "seeds": [2]}, {"seed": 4, "seeds": [2, 1]}]
    suites = [read_suite(suite_file(tmp_path, **settings)) for settings in given]
    assert [suite.training_seeds for suite in suites] == [(0,), (4,), (2,), (2, 1)]
    assert [suite.has_seeds for suite in suites] == [False, False, False, True]


def test_ensembles_are_of_seeds_and_methods_and_take_no_methods_name(tmp_path: Path) -> None:
    given: list[Any] = [{}, {"ensembles": False}, {"ensembles": True}, {"ensembles": ["seeds"]}]
    suites = [read_suite(suite_file(tmp_path, **settings)) for settings in given]
    assert [suite.ensembles for suite in suites] == [(), (), ("seeds", "methods"), ("seeds",)]
    assert [suite.probabilities for suite in suites] == [True] * 4
    methods = ["a", "ensemble", "a_ensemble", "b_ensemble"]
    assert read_suite(suite_file(tmp_path, methods=methods)).methods == tuple(methods)
    with pytest.raises(InputError) as error:
        read_suite(suite_file(tmp_path, methods=methods, ensembles=True))
    assert [problem.split(": ")[1] for problem in error.value.problems] == [
        f"the method {name} has the name of an ensemble" for name in ("ensemble", "a_ensemble")
    ]


@pytest.mark.parametrize("name", ["twin-seeds", "twin-report", "tuning"])
def test_suites_of_several_seeds_hold_the_default_suites_recipes(name: str) -> None:
    default, other = (read_suite(shipped_configs() / f"{suite}.yaml") for suite in ("twin", name))
    assert other.has_seeds
    assert (other.defaults, other.threads, other.folds_number) == (
        default.defaults, default.threads, default.folds_number
    )  # fmt: skip
    assert set(other.methods) <= {*default.methods, *default.overrides}
    assert other.overrides == {method: default.overrides[method] for method in other.overrides}
    assert set(other.methods) & set(default.overrides) <= set(other.overrides)


def test_each_recipe_that_was_not_taken_differs_from_the_one_that_was_in_a_single_setting() -> None:
    taken, other = read_suite(shipped_configs() / "tuning.yaml"), read_suite(DOCS / "tuning-other.yaml")
    assert (taken.twin, taken.folds_number, taken.seeds) == (other.twin, other.folds_number, other.seeds)
    for method in other.methods:
        settings = [dict(flattened(suite.overrides[method])) for suite in (taken, other)]
        different = {name for name in {*settings[0], *settings[1]} if settings[0].get(name) != settings[1].get(name)}
        assert len(different) == 1, method


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_recipes_are_chosen_on_patients_of_no_suite_that_is_reported() -> None:
    suites = [read_suite(path) for path in shipped_configs().glob("*.yaml")]
    seeds = {suite.name: suite.twin.get("seed", 0) for suite in suites if suite.twin}
    assert len(seeds) > 4
    assert [name for name, seed in seeds.items() if seed == seeds["tuning"]] == ["tuning"]
