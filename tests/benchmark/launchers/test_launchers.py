from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from plans import jobs_of
from toy import run

from benchmark.launchers import LAUNCHERS, local, make_launcher, refuse_queued_elsewhere, slots, slurm
from benchmark.launchers.ending import describe, note_end
from benchmark.launchers.fork_server import WITH_WANDB
from benchmark.launchers.local import LocalLauncher
from benchmark.launchers.slots import Slot, slots_for
from benchmark.machine.environment import without_slurm
from benchmark.machine.memory import keeping_memory
from benchmark.rundir.state import State, read_state, update_state, write_state
from benchmark.suite.config import SuiteConfig
from benchmark.suite.plan import Job
from benchmark.suite.resume import prepare_runs
from benchmark.training.job import is_rank_zero
from leaderboard.errors import InputError

#: Stands for `python -m benchmark job RUN`: does what its run directory's `do` file says.
WORKER = """
import pathlib, sys, time, os, signal
from benchmark.rundir.state import update_state
run = pathlib.Path(sys.argv[1])
update_state(run, status="running", phase="training", done=1, total=4)
what = (run / "do").read_text()
if what == "kill": os.kill(os.getpid(), signal.SIGKILL)
if what == "exit": sys.exit(3)
if what == "silent": sys.exit(0)
with (run.parent / "order").open("a") as order: order.write(run.name + " ")
update_state(run, status="done")
"""


def make_jobs(folder: Path, *whats: str) -> list[Job]:
    jobs = []
    for index, what in enumerate(whats):
        run = folder / f"job{index}"
        run.mkdir()
        (run / "do").write_text(what)
        write_state(run, State())
        jobs.append(Job("method", index, run, {}, ""))
    return jobs


def a_suite(**settings: Any) -> SuiteConfig:
    return SuiteConfig(Path("suite.yaml"), "suite", ("method",), **settings)


def local_launcher(*slots: Slot) -> LocalLauncher:
    """A launcher with as many processes at a time as slots are given; one by default."""
    launcher = LocalLauncher(a_suite(), Path())
    launcher.slots = lambda jobs: list(slots) or [Slot()]  # type: ignore[method-assign]
    return launcher


def slurm_launcher(root: Path, **settings: Any) -> slurm.SlurmLauncher:
    return slurm.SlurmLauncher(a_suite(launchers={"slurm": settings}), root)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    real = local.subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", WORKER, command[-1]], **options)

    monkeypatch.setattr(local.subprocess, "Popen", start)
    monkeypatch.setattr(local, "POLL_EVERY", 0.02)


@pytest.mark.usefixtures("fast")
def test_a_failed_job_is_reported_with_its_reason_and_does_not_stop_the_others(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, "ok", "kill", "exit", "silent", "ok")
    local_launcher().run(jobs, lambda remarks: None)
    states = [read_state(job.run) for job in jobs]
    assert [state.status for state in states] == ["done", "failed", "failed", "failed", "done"]
    assert "SIGKILL" in states[1].reason
    assert "status 3" in states[2].reason
    assert "log.txt" in states[3].reason


@pytest.mark.usefixtures("fast")
def test_one_slot_runs_jobs_in_order(tmp_path: Path) -> None:
    local_launcher().run(make_jobs(tmp_path, "ok", "ok", "ok"), lambda remarks: None)
    assert (tmp_path / "order").read_text() == "job0 job1 job2 "


@pytest.mark.usefixtures("fast")
def test_an_interrupt_ends_the_running_processes(tmp_path: Path) -> None:
    def interrupt(remarks: object) -> None:
        raise KeyboardInterrupt

    jobs = make_jobs(tmp_path, "ok", "ok")
    with pytest.raises(KeyboardInterrupt):
        local_launcher().run(jobs, interrupt)
    assert read_state(jobs[1].run).status == "pending"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine look as if it had other GPUs, cores and memory."""

    def become(gpus_gb: list[int], cores: int = 8, memory_gb: int = 64) -> None:
        monkeypatch.setattr(slots, "gpu_memories", lambda: [size * 10**9 for size in gpus_gb])
        monkeypatch.setattr(slots, "cores", lambda: cores)
        monkeypatch.setattr(slots, "machine_memory", lambda: memory_gb * 2**30)

    return become


def jobs_with(*trainers: dict[str, object]) -> list[Job]:
    return [Job("method", fold, Path(f"run{fold}"), {"trainer": trainer}, "") for fold, trainer in enumerate(trainers)]


ONE, RULE = {"devices": 1}, {"devices": 1, "accelerator": "cpu"}


@pytest.mark.parametrize(
    ("memory_gb", "threads", "trainer", "expected"),
    [
        (64, None, {"devices": 1}, 1),
        (64, 1, {"devices": 1}, 8),
        (64, 3, {"devices": 1}, 2),
        (64, 1, {"devices": 2}, 4),
        (64, 16, {"devices": 1}, 1),
        (64, 1, {}, 1),
        (13, 1, {"devices": 1}, 3),
        (3, 1, {"devices": 1}, 1),
    ],
)
def test_without_a_gpu_as_many_jobs_run_at_a_time_as_cores_and_memory_allow(
    memory_gb: int, threads: int | None, trainer: dict[str, object], expected: int, machine: Callable[..., None]
) -> None:
    machine([], memory_gb=memory_gb)
    assert slots_for(jobs_with(trainer, trainer), threads) == [Slot()] * expected


@pytest.mark.parametrize(
    ("gpus_gb", "cores", "asked", "each"),
    [
        ([80], 16, None, 4),  # its memory holds six
        ([80], 4, None, 2),  # four cores feed two
        ([40], 16, None, 2),
        ([24], 16, None, 1),
        ([11], 16, None, 1),
        ([80], 2, None, 1),
        ([80, 80], 8, None, 2),
        ([80, 16], 64, None, 1),  # as many on each as the smaller holds
        ([80] * 8, 32, None, 2),
        ([11], 4, 3, 3),
        ([80], 64, 1, 1),
    ],
)
def test_jobs_share_a_gpu_as_its_memory_and_the_cores_allow_or_the_suite_says(
    gpus_gb: list[int], cores: int, asked: int | None, each: int, machine: Callable[..., None]
) -> None:
    machine(gpus_gb, cores)
    found = slots_for(jobs_with(ONE, ONE), None, asked)
    # A GPU each first, a second job on each only then.
    assert [slot.gpu for slot in found] == list(range(len(gpus_gb))) * each
    assert all(slot.takes({"trainer": ONE}) and not slot.takes({"trainer": RULE}) for slot in found)


@pytest.mark.parametrize(
    ("gpus_gb", "cores", "memory_gb", "gpu_jobs", "rules"),
    [([80], 16, 64, 4, 8), ([40], 16, 64, 2, 12), ([40], 16, 24, 2, 4), ([80], 2, 8, 1, 1), ([80] * 2, 16, 64, 8, 1)],
)
def test_rules_run_on_the_idle_cores_beside_the_gpus_in_one_thread(
    gpus_gb: list[int], cores: int, memory_gb: int, gpu_jobs: int, rules: int, machine: Callable[..., None]
) -> None:
    machine(gpus_gb, cores, memory_gb)
    found = slots_for(jobs_with(ONE, RULE), None)
    beside = [slot for slot in found if slot.takes({"trainer": RULE})]
    assert (len(found) - len(beside), len(beside)) == (gpu_jobs, rules)
    assert not any(slot.takes({"trainer": ONE}) for slot in beside)
    assert beside[0].environment() == {"OMP_NUM_THREADS": "1"}


def test_a_job_on_several_gpus_has_them_to_itself_and_rules_alone_leave_them(machine: Callable[..., None]) -> None:
    machine([80, 80])
    several = [slot for slot in slots_for(jobs_with({"devices": 2}, ONE, RULE), 1) if slot.jobs == "gpu"]
    assert several == [Slot(jobs="gpu")]
    assert several[0].environment() == {}
    assert slots_for(jobs_with({}, {}), None) == [Slot(jobs="gpu")]
    assert slots_for(jobs_with(RULE, RULE), 1) == [Slot()] * 8


@pytest.mark.usefixtures("fast")
def test_a_job_sees_the_gpu_of_its_slot_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = []
    real = local.subprocess.Popen

    def spy(command: list[str], **options: dict) -> object:
        seen.append(options["env"]["CUDA_VISIBLE_DEVICES"])
        return real(command, **options)

    monkeypatch.setattr(local.subprocess, "Popen", spy)
    local_launcher(Slot(0), Slot(1)).run(make_jobs(tmp_path, "ok", "ok"), lambda remarks: None)
    assert sorted(seen) == ["4", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Slot(1).environment()["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.usefixtures("fast")
def test_jobs_wait_for_a_slot_of_their_kind_and_hold_no_other_up(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok", "ok")
    for job, trainer in zip(jobs, (ONE, ONE, RULE), strict=True):
        job.config["trainer"] = trainer | {"num_nodes": 2}  # which is not forked
    seen = []

    def watch(remarks: object) -> None:
        seen.append(tuple(read_state(job.run).status for job in jobs))

    local_launcher(Slot(0, "gpu"), Slot(jobs="cpu")).run(jobs, watch)
    assert seen[-1] == ("done", "done", "done")
    order = (tmp_path / "order").read_text().split()
    assert order.index("job0") < order.index("job1")
    assert all(states[1] == "pending" for states in seen if states[0] != "done")


class FakeServer:
    """Stands for the fork server: a new process does the jobs of a unit as `WORKER` does, one after the other."""

    started: ClassVar[list[list[str]]] = []

    def __init__(self, environment: object, modules: object) -> None:
        self.started.clear()

    def start(self, runs: list[Path], environment: dict[str, str], log: Path) -> object:
        self.started.append([run.name for run in runs])
        loop = f"import sys\nfor sys.argv[1] in {[str(run) for run in runs]}:\n    exec({WORKER!r})"
        return subprocess.Popen([sys.executable, "-c", loop, "a run"])

    def close(self) -> None:
        """Nothing to end."""


def test_the_rules_of_a_fold_share_a_process_and_one_that_dies_leaves_the_rest_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ForkServer", FakeServer)
    monkeypatch.setattr(local, "is_rule", lambda config: "rule" in config)
    monkeypatch.setattr(local, "POLL_EVERY", 0.02)
    made = make_jobs(tmp_path, "ok", "kill", "ok", "ok", "ok", "exit")
    config = {"trainer": {"devices": 1, "accelerator": "cpu"}}
    jobs = [replace(job, fold=job.fold % 2, config=config | {"rule": True}) for job in made[:5]]
    jobs.append(replace(made[5], fold=0, config=config))
    assert [[job.run.name for job in unit] for unit in local.units(jobs)] == [
        ["job0", "job2", "job4"], ["job1", "job3"], ["job5"],
    ]  # fmt: skip
    local_launcher().run(jobs, lambda remarks: None)
    assert FakeServer.started == [["job0", "job2", "job4"], ["job1", "job3"], ["job3"], ["job5"]]
    states = [read_state(job.run) for job in jobs]
    assert [state.status for state in states] == ["done", "failed", "done", "done", "done", "failed"]
    assert "SIGKILL" in states[1].reason
    assert "status 3" in states[5].reason


@pytest.mark.parametrize(
    ("trainer", "one"),
    [
        ({"devices": 1}, True),
        ({"devices": "1", "num_nodes": 1}, True),
        ({"devices": 1, "num_nodes": 2}, False),
        ({"devices": 2}, False),
        ({}, False),
        ({"devices": "auto"}, False),
        ({"accelerator": "cpu"}, True),
        ({"accelerator": "cpu", "devices": 2}, False),
    ],
)
def test_jobs_of_several_processes_are_not_forked(trainer: dict[str, object], one: bool) -> None:
    assert local.is_one_process({"trainer": trainer}) is one


def test_our_methods_and_wandb_are_imported_before_the_fork_and_a_users_modules_are_not(tmp_path: Path) -> None:
    classes = ["benchmark.methods.all_background.AllBackground", "mine.Method", "benchmark.methods.strokenet.X"]
    jobs = [
        Job("method", 0, tmp_path, {"model": {"class_path": name}, "suite": {"wandb": False}}, "") for name in classes
    ]
    ours = ["benchmark.methods.all_background", "benchmark.methods.strokenet"]
    assert local.modules(jobs) == ours
    jobs[0].config["suite"]["wandb"] = True
    assert local.modules(jobs) == [*ours, *WITH_WANDB]


@pytest.mark.usefixtures("fast")
def test_a_job_is_started_in_an_environment_that_keeps_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    seen = []
    real = local.subprocess.Popen

    def spy(command: list[str], **options: dict) -> object:
        seen.append(options["env"].get("GLIBC_TUNABLES"))
        return real(command, **options)

    monkeypatch.setattr(local.subprocess, "Popen", spy)
    local_launcher().run(make_jobs(tmp_path, "ok"), lambda remarks: None)
    assert seen == [keeping_memory({})["GLIBC_TUNABLES"]]


@pytest.mark.usefixtures("fast")
def test_a_state_that_cannot_be_written_does_not_end_the_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok")
    (jobs[0].run / "state.json").unlink()
    (jobs[0].run / "state.json").mkdir()
    local_launcher().run(jobs, lambda remarks: None)
    assert read_state(jobs[1].run).status == "done"
    said = capsys.readouterr().err
    assert "state.json" in said
    assert "ended with status 1" in said


def test_a_job_inside_a_slurm_allocation_does_not_see_it(tmp_path: Path) -> None:
    assert without_slurm({"SLURM_NTASKS": "8", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_what_a_killed_job_said_last_comes_back_with_its_failure(tmp_path: Path) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    (job.run / "log.txt").write_text("one\n\ntwo\nthree\n  four \n\n")
    note_end(job.run, describe(-9))
    state = read_state(job.run)
    assert state.status == "failed"
    assert state.reason.endswith(
        "was killed by SIGKILL: see " + str(job.run / "log.txt") + ", which ends: two | three | four"
    )
    update_state(job.run, reason="its own")
    note_end(job.run, describe(1))
    assert read_state(job.run).reason == "its own"


def test_the_queue_holds_what_has_not_ended() -> None:
    text = """
12_0|RUNNING|None
12_1|PENDING|Resources
12_2|COMPLETED|None
12_3|CANCELLED|None
12_4|PENDING|PartitionConfig
13|COMPLETING|None
14|REQUEUED|None
"""
    ids = {"12_0", "12_1", "12_2", "12_3", "12_4", "13", "15"}
    queue = {"12_0": "running", "12_1": "pending", "12_4": "pending (PartitionConfig)", "13": "completing"}
    assert slurm.parse_queue(text, ids) == queue


def test_the_ids_of_jobs_are_found_again_and_damaged_ones_are_none(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok", "ok")
    (jobs[0].run / "slurm.json").write_text('{"job": "12_0"}')
    (jobs[1].run / "slurm.json").write_text('{"job"')
    assert slurm.job_ids(job.run for job in jobs) == {jobs[0].run: "12_0"}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"partitoin": "gpu"}, "partitoin: no such setting"),
        ({"nodes": 0}, "nodes must be a whole number"),
        ({"time_minutes": "1:00"}, "time_minutes must be a whole number"),
        ({"time_minutes": 9}, "time_minutes is 9: a job would end before its first epoch"),
        ({"sbatch": "--x"}, "sbatch must be a mapping"),
        ({"setup": "module load"}, "setup must be a list"),
    ],
)
def test_wrong_slurm_settings_are_named(settings: dict, fault: str) -> None:
    assert any(fault in found for found in slurm.slurm_faults(settings))
    assert not slurm.slurm_faults({"partition": "gpu", "nodes": 2, "sbatch": {"mail-type": "FAIL"}, "setup": []})


def test_without_slurm_the_launcher_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs submitit: in the project's clone, .* -e '.\[train,slurm\]'"):
        slurm_launcher(tmp_path).check()
    monkeypatch.setattr(slurm, "find_spec", lambda name: True)
    with pytest.raises(InputError, match="--launcher slurm: no SLURM on this machine"):
        slurm_launcher(tmp_path).check()
    (job,) = make_jobs(tmp_path, "ok")
    assert slurm_launcher(tmp_path).cancel([job.run]) == []  # it was never handed over
    in_queue(job, "7_0")
    with pytest.raises(InputError, match="benchmark cancel: no SLURM on this machine"):
        slurm_launcher(tmp_path).cancel([job.run])
    with pytest.raises(InputError, match="squeue: is not on this machine"):
        slurm_launcher(tmp_path).queued_elsewhere([job.run])


def test_a_controller_that_does_not_answer_is_noticed_before_anything_is_made(
    project: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(slurm, "find_spec", lambda name: True)
    (project / "bin").mkdir()
    for name, script in {"sbatch": "exit 0", "squeue": "echo 'slurm_load_jobs error: Unable' >&2; exit 1"}.items():
        (project / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (project / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(project / "bin"), prepend=os.pathsep)
    assert run(tree, "--launcher", "slurm") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "benchmark: squeue: slurm_load_jobs error: Unable: is SLURM up? try again once it is"
    assert not (project / "runs").exists()


def test_a_job_that_another_launcher_holds_is_refused_and_one_that_does_not_answer_holds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok")
    runs = [job.run for job in jobs]
    in_queue(jobs[0], "7_0")
    FakeCluster(monkeypatch, {"7_0": "pending"})
    with pytest.raises(InputError) as error:
        refuse_queued_elsewhere("local", a_suite(), tmp_path, runs)
    assert error.value.problems == [
        f"{runs[0]}: is in SLURM's queue as 7_0: give --launcher slurm, or end it with benchmark cancel"
    ]
    refuse_queued_elsewhere("local", a_suite(), tmp_path, runs[1:])
    refuse_queued_elsewhere("slurm", a_suite(), tmp_path, runs)  # it goes on with its own
    FakeCluster(monkeypatch, None)
    refuse_queued_elsewhere("local", a_suite(), tmp_path, runs)


def test_a_launcher_refuses_a_section_of_the_suite_that_it_does_not_understand(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"slurm.speed: no such setting"):
        slurm_launcher(tmp_path, speed=3).check()
    with pytest.raises(InputError, match="local takes no settings"):
        LocalLauncher(a_suite(launchers={"local": {"slots": 3}}), tmp_path).check()
    LocalLauncher(a_suite(launchers={"slurm": {"speed": 3}}), tmp_path).check()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_can_be_made_and_asked_on_any_machine(name: str, tmp_path: Path) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    launcher = make_launcher(name, a_suite(), tmp_path)
    assert not launcher.queued_elsewhere([job.run])
    assert not launcher.cancel([job.run])


class FakeCluster:
    """Stands for squeue: one queue for each call, the last one for ever."""

    def __init__(self, patch: pytest.MonkeyPatch, *queues: dict[str, str] | None) -> None:
        self.queues = list(queues)
        patch.setattr(slurm, "read_queue", self.look)
        patch.setattr(slurm, "last_state", lambda job_id: "OUT_OF_MEMORY")
        patch.setattr(slurm, "find_spec", lambda name: True)
        patch.setattr(slurm, "_require_slurm", lambda what: None)
        for name, seconds in (("POLL_EVERY", 0.01), ("GRACE", 0.05), ("PATIENCE", 0.2)):
            patch.setattr(slurm, name, seconds)

    def look(self, ids: Iterable[str]) -> dict[str, str]:
        queue = self.queues.pop(0) if len(self.queues) > 1 else self.queues[0]
        if queue is None:
            raise InputError("squeue: no answer")
        return {job_id: state for job_id, state in queue.items() if job_id in ids}


def in_queue(job: Job, job_id: str) -> Job:
    (job.run / "slurm.json").write_text(json.dumps({"job": job_id}))
    return job


def test_jobs_in_the_queue_are_watched_and_the_others_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok")
    in_queue(jobs[0], "7_0")
    FakeCluster(monkeypatch, {"7_0": "pending"}, {"7_0": "pending"}, {"7_0": "running", "8_0": "running"}, {})
    launcher = slurm_launcher(tmp_path)
    submitted, remarks = [], []

    def submit(new: list[Job]) -> None:
        submitted.extend(new)
        in_queue(new[0], "8_0")

    def watch(remark: dict[Path, str]) -> None:
        remarks.append(remark)
        if not remark:
            for job in jobs:
                update_state(job.run, status="done")

    monkeypatch.setattr(launcher, "_submit", submit)
    launcher.run(jobs, watch)
    assert submitted == [jobs[1]]
    assert remarks[0] == {jobs[0].run: "pending in SLURM as 7_0"}
    assert [read_state(job.run).status for job in jobs] == ["done", "done"]


class FakeExecutor:
    """Stands for submitit's executor: keeps what is submitted, as the elements of array 12."""

    made: ClassVar[list[FakeExecutor]] = []

    def __init__(self, folder: Path, max_num_timeout: int) -> None:
        self.made.append(self)
        self.tasks: list[Callable[[], int]] = []
        self.parameters: dict[str, Any] = {}

    def update_parameters(self, **parameters: Any) -> None:
        self.parameters = parameters

    def batch(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def submit(self, task: Callable[[], int]) -> SimpleNamespace:
        self.tasks.append(task)
        return SimpleNamespace(job_id=f"12_{len(self.tasks) - 1}")


def test_each_seed_of_each_fold_is_an_element_of_the_array_which_works_in_its_own_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(tmp_path, name="three", methods=["residual_unet"], suite_seeds=[0, 1, 4])
    prepare_runs(jobs)
    ids = [f"12_{place}" for place in range(6)]
    FakeCluster(monkeypatch, {}, dict.fromkeys(ids, "pending"), {})
    monkeypatch.setattr(FakeExecutor, "made", [])
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(SlurmExecutor=FakeExecutor))
    (tmp_path / "done.json").write_text('{"status": "done"}')
    monkeypatch.setattr(slurm, "job_command", lambda runs: ["cp", tmp_path / "done.json", runs[0] / "state.json"])
    told = []

    def watch(remarks: dict[Path, str]) -> None:
        told.append(remarks)
        if remarks:  # SLURM starts the last element first
            (executor,) = FakeExecutor.made
            for task, job in zip(executor.tasks[::-1], jobs[::-1], strict=True):
                assert read_state(job.run).status == "pending"
                assert task() == 0
                assert read_state(job.run).status == "done"

    slurm_launcher(tmp_path / "three", jobs_at_a_time=2).run(jobs, watch)
    folders = [f"residual_unet/fold{fold}/seed{seed}" for fold in (0, 2) for seed in (0, 1, 4)]
    runs = [tmp_path / "runs" / folder for folder in folders]
    assert told == [{run: f"pending in SLURM as {job_id}" for run, job_id in zip(runs, ids, strict=True)}, {}]
    assert slurm.job_ids(runs) == dict(zip(runs, ids, strict=True))
    (executor,) = FakeExecutor.made
    assert (executor.parameters["job_name"], executor.parameters["array_parallelism"]) == ("isles-three", 2)


def test_a_job_that_slurm_ended_is_failed_with_what_slurm_and_its_log_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    in_queue(job, "7_0")
    (job.run / "log.txt").write_text("epoch 3\nepoch 4\n")
    FakeCluster(monkeypatch, {"7_0": "running"}, {"7_0": "running"}, {})
    slurm_launcher(tmp_path).run([job], lambda remarks: None)
    state = read_state(job.run)
    assert state.status == "failed"
    assert "has left SLURM's queue (job 7_0, OUT_OF_MEMORY)" in state.reason
    assert state.reason.endswith("which ends: epoch 3 | epoch 4")


def test_a_silent_controller_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    in_queue(job, "7_0")
    running = {"7_0": "running"}
    FakeCluster(monkeypatch, running, None, None, running, {})
    seen = []
    slurm_launcher(tmp_path).run([job], lambda remarks: seen.append(update_state(job.run, status="done")))
    assert seen
    FakeCluster(monkeypatch, running, None)
    with pytest.raises(InputError, match="no answer"):
        slurm_launcher(tmp_path).run([job], lambda remarks: None)


def test_an_interrupt_leaves_jobs_in_the_queue_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(remarks: object) -> None:
        raise KeyboardInterrupt

    (job,) = make_jobs(tmp_path, "ok")
    in_queue(job, "7_0")
    FakeCluster(monkeypatch, {"7_0": "running"})
    with pytest.raises(KeyboardInterrupt):
        slurm_launcher(tmp_path).run([job], interrupt)
    assert "1 jobs stay in SLURM's queue: benchmark cancel ends them" in capsys.readouterr().err
    assert read_state(job.run).status == "pending"


@pytest.mark.parametrize(
    ("trainer", "tasks", "fit"),
    [
        ({}, 1, True),
        ({"devices": "auto"}, 8, True),
        ({"devices": "auto", "num_nodes": 2}, 8, False),
        ({"devices": 1}, 8, True),
        ({"devices": 4, "num_nodes": 2}, 8, True),
        ({"devices": 4}, 1, True),
        ({"devices": 4, "num_nodes": 2}, 1, False),
        ({"devices": 4}, 8, False),
    ],
)
def test_a_job_has_a_task_a_process_or_one_task(trainer: dict, tasks: int, fit: bool) -> None:
    assert slurm.fits({"trainer": trainer}, tasks) is fit


@pytest.mark.parametrize(
    ("devices", "tasks", "task", "starts", "sees_slurm"),
    [(1, 1, 0, True, False), (1, 2, 0, True, False), (1, 2, 1, False, False), (2, 2, 1, True, True),
     (2, 1, 0, True, False)],
)  # fmt: skip
def test_a_task_is_one_of_the_jobs_processes_or_runs_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int, tasks: int, task: int, starts: bool, sees_slurm: bool
) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    (job.run / "config.yaml").write_text(f"trainer: {{devices: {devices}}}\n")
    monkeypatch.setenv("SLURM_NTASKS", str(tasks))
    monkeypatch.setenv("SLURM_PROCID", str(task))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    script = "import os; print('SLURM_NTASKS' in os.environ, os.environ['GLIBC_TUNABLES'])"
    monkeypatch.setattr(slurm, "job_command", lambda run: [sys.executable, "-c", script])
    assert slurm.RemoteJob(job.run)() == 0
    log = job.run / "log.txt"
    assert (log.read_text().strip() if log.exists() else None) == (
        f"{sees_slurm} {keeping_memory({})['GLIBC_TUNABLES']}" if starts else None
    )


def test_a_signalled_job_ends_its_process_and_waits_to_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    (job,) = make_jobs(tmp_path, "ok")
    (job.run / "config.yaml").write_text("{}\n")
    # Like a real one it ignores SLURM's signal and dies of SIGTERM.
    script = "import time; print('up', flush=True); time.sleep(60)"
    monkeypatch.setattr(slurm, "job_command", lambda run: [sys.executable, "-c", script])
    remote = slurm.RemoteJob(job.run)
    again = []

    def on_signal(*_: object) -> None:
        again.append(remote.checkpoint())
        raise InterruptedError

    before = signal.signal(signal.SIGUSR2, on_signal)

    def send() -> None:
        while not (job.run / "log.txt").exists() or not (job.run / "log.txt").read_text():
            time.sleep(0.01)
        os.kill(remote._process.pid, signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(InterruptedError):  # submitit exits
            remote()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    assert again[0].function.run == job.run
    assert read_state(job.run).status == "pending"
    with pytest.raises(ProcessLookupError):
        os.kill(remote._process.pid, 0)


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_rank_zero_is_known_before_lightning_starts(environment: dict[str, str], first: bool) -> None:
    assert is_rank_zero(environment) is first
