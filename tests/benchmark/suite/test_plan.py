from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from plans import FOLDS, jobs_of, suite_file

from benchmark.suite.config import is_rule, method_config, read_suite
from benchmark.suite.config_files import shipped_configs
from benchmark.suite.plan import inputs_digest, plan_jobs
from leaderboard.errors import InputError


def test_a_suite_is_method_by_fold(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert [(job.method, job.fold) for job in jobs] == [
        ("all_background", 0), ("all_background", 2), ("residual_unet", 0), ("residual_unet", 2),
    ]  # fmt: skip
    assert jobs[2].run == tmp_path / "runs" / "residual_unet" / "fold0"
    assert jobs[2].config["model"]["class_path"].endswith("ResidualUNetMethod")
    assert jobs[3].config["data"]["fold"] == 2


def test_settings_go_over_overrides_over_the_methods_own_over_defaults(tmp_path: Path) -> None:
    path = suite_file(
        tmp_path,
        defaults={"trainer": {"max_epochs": 7, "precision": "32-true"}, "data": {"batch_size": 4}},
        overrides={"residual_unet": {"trainer": {"max_epochs": 8}}},
    )
    suite = read_suite(path)
    common = {
        "cohort": tmp_path, "format_name": "isles2018",
        "cohort_digest": "c", "folds_path": tmp_path, "folds": FOLDS, "root": tmp_path,
        "cache": tmp_path, "methods": ["residual_unet"], "chosen_folds": [0],
    }  # fmt: skip
    (job,) = plan_jobs(suite, **common, settings={})
    assert job.config["trainer"] == {"max_epochs": 8, "precision": "32-true", "sync_batchnorm": True}
    assert job.config["data"]["batch_size"] == 16  # the method's own
    (job,) = plan_jobs(suite, **common, settings={"trainer": {"max_epochs": 1}})
    assert job.config["trainer"]["max_epochs"] == 1


def test_the_digest_follows_what_decides_a_result_and_nothing_else(tmp_path: Path) -> None:
    config = jobs_of(tmp_path)[2].config
    same = yaml.safe_load(yaml.safe_dump(config))
    same["data"] |= {"cohort": "elsewhere", "cache": "elsewhere", "folds": "elsewhere"}
    same["predictions"] = {"folder": "elsewhere"}
    same["suite"]["wandb"] = False
    assert inputs_digest(same, "c", "f") == inputs_digest(config, "c", "f")
    for section, key, value in (
        ("trainer", "max_epochs", 1), ("data", "seed", 9), ("data", "fold", 1), ("suite", "threads", 1),
    ):  # fmt: skip
        other = yaml.safe_load(yaml.safe_dump(config))
        other[section][key] = value
        assert inputs_digest(other, "c", "f") != inputs_digest(config, "c", "f")
    assert inputs_digest(config, "d", "f") != inputs_digest(config, "c", "f")
    assert inputs_digest(config, "c", "g") != inputs_digest(config, "c", "f")


@pytest.mark.parametrize("settings", [{"trainer": 5}, {"trainr": {"max_epochs": 1}}])
def test_settings_of_the_wrong_shape_are_refused(tmp_path: Path, settings: dict) -> None:
    with pytest.raises(InputError, match="--set"):
        jobs_of(tmp_path, settings=settings)


def test_all_unknown_methods_are_named_at_once(tmp_path: Path) -> None:
    suite = read_suite(suite_file(tmp_path))
    with pytest.raises(InputError) as error:
        plan_jobs(
            suite, cohort=tmp_path, format_name="isles2018",
            cohort_digest="", folds_path=tmp_path, folds=FOLDS, root=tmp_path, cache=tmp_path,
            methods=["foo", "residual_unet", "bar"], chosen_folds=[0], settings={},
        )  # fmt: skip
    assert [problem.split(":")[0] for problem in error.value.problems] == ["foo", "bar"]


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped_configs().glob("*.yaml")))
def test_every_shipped_suite_can_be_planned(tmp_path: Path, name: str) -> None:
    suite = read_suite(shipped_configs() / f"{name}.yaml")
    jobs = plan_jobs(
        suite, cohort=tmp_path, format_name="isles2018",
        cohort_digest="", folds_path=tmp_path, folds=FOLDS, root=tmp_path, cache=tmp_path,
        methods=suite.methods, chosen_folds=[0, 1], settings={},
    )  # fmt: skip
    rules = sum(is_rule(method_config(suite, method, {})) for method in suite.methods)
    assert len(jobs) == 2 * (rules + (len(suite.methods) - rules) * len(suite.training_seeds))


def test_how_many_jobs_share_a_gpu_decides_no_result(tmp_path: Path) -> None:
    inputs = []
    for settings in ({}, {"jobs_per_gpu": 2}):
        suite = read_suite(suite_file(tmp_path, **settings))
        jobs = plan_jobs(
            suite, cohort=tmp_path, format_name="isles2018",
            cohort_digest="c", folds_path=tmp_path / "folds.csv", folds=FOLDS, root=tmp_path,
            cache=tmp_path, methods=suite.methods, chosen_folds=[0], settings={},
        )  # fmt: skip
        inputs.append([job.inputs for job in jobs])
    assert inputs[0] == inputs[1]


def test_a_method_is_trained_with_each_seed_and_a_rule_runs_once(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, seed=5, suite_seeds=[3, 0])
    assert [(job.title, job.config["data"]["seed"], job.config["seed_everything"]) for job in jobs] == [
        ("all_background fold 0", 5, 5), ("all_background fold 2", 5, 5),
        ("residual_unet fold 0 seed 3", 3, 3), ("residual_unet fold 0 seed 0", 0, 0),
        ("residual_unet fold 2 seed 3", 3, 3), ("residual_unet fold 2 seed 0", 0, 0),
    ]  # fmt: skip
    # W&B names and groups a training by what its config notes of the suite.
    assert [job.config["suite"].get("seed") for job in jobs] == [None, None, 3, 0, 3, 0]
    assert jobs[0].run == tmp_path / "runs" / "all_background" / "fold0"
    assert jobs[5].run == tmp_path / "runs" / "residual_unet" / "fold2" / "seed0"
    assert jobs[5].config["predictions"]["folder"] == str(jobs[5].run / "predictions")
    assert [job.title for job in jobs_of(tmp_path, suite_seeds=[0], seed=5, methods=["residual_unet"])] == [
        "residual_unet fold 0", "residual_unet fold 2"
    ]  # fmt: skip


def test_a_seed_decides_the_same_result_alone_among_others_and_as_the_suites_seed(tmp_path: Path) -> None:
    alone, as_seed, among = (
        jobs_of(tmp_path, **settings, methods=["residual_unet"])
        for settings in ({"seed": 5, "suite_seeds": [3]}, {"seed": 3}, {"seed": 5, "suite_seeds": [0, 3]})
    )
    assert [job.config for job in alone] == [job.config for job in as_seed]
    assert [job.run for job in alone] == [job.run for job in as_seed]
    assert [job.inputs for job in alone] == [job.inputs for job in among if job.seed == 3]
    assert len({job.inputs for job in among}) == 4


def test_some_of_the_seeds_are_planned_and_have_the_paths_of_all(tmp_path: Path) -> None:
    every, some = (jobs_of(tmp_path, seeds=seeds, suite_seeds=[0, 1, 2]) for seeds in (None, [1]))
    assert [job for job in every if job.seed in (None, 1)] == some


def test_a_config_that_sets_the_seed_itself_beside_seeds_is_refused(tmp_path: Path) -> None:
    own = {"overrides": {"residual_unet": {"seed_everything": 7}}}
    assert jobs_of(tmp_path, **own)[2].config["seed_everything"] == 7
    with pytest.raises(InputError, match="residual_unet: sets seed_everything, which the suite's seeds decide"):
        jobs_of(tmp_path, **own, suite_seeds=[7, 8])


def test_maps_and_ensembles_decide_no_training(tmp_path: Path) -> None:
    without, wanted = jobs_of(tmp_path, probabilities=False), jobs_of(tmp_path, ensembles=True)
    assert [job.config["predictions"]["probabilities"] for job in (without[0], wanted[0])] == [False, True]
    assert [job.inputs for job in without] == [job.inputs for job in wanted]
