from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from benchmark.cohort.folds import Folds
from benchmark.rundir.digests import digest_results, write_provenance
from benchmark.rundir.state import State, read_state, update_state, write_state
from benchmark.suite.config import read_suite
from benchmark.suite.config_files import shipped_configs
from benchmark.suite.plan import Job, inputs_digest, plan_jobs
from benchmark.suite.resume import is_done, prepare_runs
from leaderboard.errors import InputError

FOLDS = Folds({"case_1": 0, "case_2": 1, "case_3": 2}, {"case_1": "1", "case_2": "2", "case_3": "3"})


def suite_file(folder: Path, **settings: object) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({"methods": ["all_background", "residual_unet"], **settings}))
    return path


def jobs_of(folder: Path, settings: dict | None = None, cohort_digest: str = "c", folds: Folds = FOLDS) -> list[Job]:
    suite = read_suite(suite_file(folder))
    return plan_jobs(
        suite, cohort=folder / "cohort", cohort_digest=cohort_digest, folds_path=folder / "folds.csv", folds=folds,
        root=folder / "runs", cache=folder / "cache", methods=suite.methods, chosen_folds=[0, 2],
        settings=settings or {},
    )  # fmt: skip


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
        "cohort": tmp_path, "cohort_digest": "c", "folds_path": tmp_path, "folds": FOLDS, "root": tmp_path,
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


def finish(job: Job) -> None:
    (job.run / "predictions").mkdir(parents=True)
    (job.run / "predictions" / "case_1.nii.gz").write_bytes(b"")
    (job.run / "checkpoints").mkdir()
    (job.run / "checkpoints" / "last.ckpt").write_bytes(b"")
    outputs = digest_results(job.run, [job.run / "predictions"])
    empty = hashlib.sha256().hexdigest()
    assert (outputs["predictions/case_1.nii.gz"], outputs["checkpoints/last.ckpt"]) == (empty, empty)
    write_provenance(job.run, {"outputs": outputs})  # what a job writes last
    update_state(job.run, status="done")


def test_running_again_leaves_what_is_done_and_takes_up_the_rest(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert prepare_runs(jobs) == jobs
    finish(jobs[0])
    update_state(jobs[1].run, status="failed", reason="broken")
    todo = prepare_runs(jobs)
    assert todo == jobs[1:]
    assert read_state(jobs[1].run) == State(inputs=jobs[1].inputs)
    assert yaml.safe_load((jobs[1].run / "config.yaml").read_text()) == jobs[1].config


def test_changed_inputs_are_refused_by_name_and_done_again_on_demand(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    prepare_runs(jobs)
    finish(jobs[0])
    changed = jobs_of(tmp_path, settings={"trainer": {"max_epochs": 2}})
    with pytest.raises(InputError) as error:
        prepare_runs(changed)
    assert len(error.value.problems) == 1  # the others hold no work yet, so nothing would be mixed
    assert str(jobs[0].run) in error.value.problems[0]
    assert is_done(jobs[0])
    assert prepare_runs(changed, restart_changed=True) == changed
    assert not (jobs[0].run / "predictions").exists()


def test_jobs_under_way_elsewhere_are_left_as_they_are(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    prepare_runs(jobs)
    for job in jobs:
        update_state(job.run, status="running", phase="training", done=3)
    assert prepare_runs(jobs, underway=[jobs[0].run]) == jobs
    assert [job.state.status for job in jobs] == ["running", "pending", "pending", "pending"]
    changed = jobs_of(tmp_path, settings={"trainer": {"max_epochs": 2}})
    before = (jobs[0].run / "config.yaml").read_text()
    for restart in (False, True):
        with pytest.raises(InputError, match="fold0: is under way with other inputs"):
            prepare_runs(changed, restart_changed=restart, underway=[jobs[0].run])
    assert (jobs[0].run / "config.yaml").read_text() == before


def test_a_job_without_its_predictions_is_not_done(tmp_path: Path) -> None:
    (job, *_) = jobs_of(tmp_path)
    write_state(_made(job.run), State(status="done", inputs=job.inputs))
    assert not is_done(job)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "done", "unknown": 1}'])
def test_a_damaged_state_is_a_pending_job(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) == State()


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
        ("folds: {number: 1}", "folds.number must be a whole number, at least 2"),
        ("checkpoint_every_n_epochs: 0", "at least 1"),
        ("wandb: maybe", "wandb must be true or false"),
        ("overrides: {x: 5}", "overrides.x: must be a mapping"),
        ("defaults: {trainer: [1]}", "defaults: trainer must be a mapping"),
        ("defaults: {trainr: {}}", "trainr: unknown section"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_one_clear_line(tmp_path: Path, setting: str, words: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"methods: [x]\n{setting}\n")
    with pytest.raises(InputError) as error:
        read_suite(path)
    assert len(error.value.problems) == 1
    assert words in error.value.problems[0]


@pytest.mark.parametrize("settings", [{"trainer": 5}, {"trainr": {"max_epochs": 1}}])
def test_settings_of_the_wrong_shape_are_refused(tmp_path: Path, settings: dict) -> None:
    with pytest.raises(InputError, match="--set"):
        jobs_of(tmp_path, settings=settings)


def test_all_unknown_methods_are_named_at_once(tmp_path: Path) -> None:
    suite = read_suite(suite_file(tmp_path))
    with pytest.raises(InputError) as error:
        plan_jobs(
            suite, cohort=tmp_path, cohort_digest="", folds_path=tmp_path, folds=FOLDS, root=tmp_path, cache=tmp_path,
            methods=["foo", "residual_unet", "bar"], chosen_folds=[0], settings={},
        )  # fmt: skip
    assert [problem.split(":")[0] for problem in error.value.problems] == ["foo", "bar"]


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped_configs().glob("*.yaml")))
def test_every_shipped_suite_can_be_planned(tmp_path: Path, name: str) -> None:
    suite = read_suite(shipped_configs() / f"{name}.yaml")
    jobs = plan_jobs(
        suite, cohort=tmp_path, cohort_digest="", folds_path=tmp_path, folds=FOLDS, root=tmp_path, cache=tmp_path,
        methods=suite.methods, chosen_folds=[0, 1], settings={},
    )  # fmt: skip
    assert len(jobs) == 2 * len(suite.methods)


@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True])
@pytest.mark.parametrize("setting", ["threads", "jobs_per_gpu"])
def test_threads_and_jobs_per_gpu_are_whole_numbers(tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{setting} must be a whole number, at least 1: correct it"):
        read_suite(suite_file(tmp_path, **{setting: value}))
    assert getattr(read_suite(suite_file(tmp_path, **{setting: 3})), setting) == 3
    assert getattr(read_suite(suite_file(tmp_path)), setting) is None


def test_how_many_jobs_share_a_gpu_decides_no_result(tmp_path: Path) -> None:
    inputs = []
    for settings in ({}, {"jobs_per_gpu": 2}):
        suite = read_suite(suite_file(tmp_path, **settings))
        jobs = plan_jobs(
            suite, cohort=tmp_path, cohort_digest="c", folds_path=tmp_path / "folds.csv", folds=FOLDS, root=tmp_path,
            cache=tmp_path, methods=suite.methods, chosen_folds=[0], settings={},
        )  # fmt: skip
        inputs.append([job.inputs for job in jobs])
    assert inputs[0] == inputs[1]
