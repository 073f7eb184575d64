from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from plans import jobs_of

from benchmark.rundir.digests import digest_results, write_provenance
from benchmark.rundir.state import State, read_state, update_state, write_state
from benchmark.suite.plan import Job
from benchmark.suite.resume import is_done, prepare_runs
from leaderboard.errors import InputError


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


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ([], [0, 1], "fold0: holds a training from when the suite had one seed"),
        ([0, 1], [], "fold0: holds trainings from when the suite had several seeds (seed0, seed1)"),
    ],
)
def test_trainings_of_one_seed_and_of_several_do_not_share_a_folder(
    tmp_path: Path, first: list[int], then: list[int], words: str
) -> None:
    before = jobs_of(tmp_path, suite_seeds=first)
    prepare_runs(before)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    other = jobs_of(tmp_path, suite_seeds=then)
    for restart in (False, True):
        with pytest.raises(InputError) as error:
            prepare_runs(other, restart_changed=restart)
        assert len(error.value.problems) == 2  # one a fold; the rule is the same in both
        assert words in error.value.problems[0]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == kept
    assert prepare_runs(jobs_of(tmp_path, suite_seeds=first)) == before


def test_further_seeds_leave_those_that_are_done(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, suite_seeds=[0, 1])
    prepare_runs(jobs)
    finish(jobs[2])
    more = jobs_of(tmp_path, suite_seeds=[0, 1, 2])
    assert prepare_runs(more) == [job for job in more if job.run != jobs[2].run]


def test_a_job_without_its_predictions_is_not_done(tmp_path: Path) -> None:
    (job, *_) = jobs_of(tmp_path)
    write_state(_made(job.run), State(status="done", inputs=job.inputs))
    assert not is_done(job)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
