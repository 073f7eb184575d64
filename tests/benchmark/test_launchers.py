from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.job import is_rank_zero
from benchmark.launchers import local, slurm
from benchmark.launchers.ending import describe, note_end
from benchmark.launchers.local import LocalLauncher
from benchmark.memory import keeping_memory
from benchmark.overview import Overview, duration
from benchmark.state import State, read_state, update_state, write_state
from benchmark.suite import Job
from leaderboard.errors import InputError

#: Stands for `python -m benchmark job RUN`: does what its run directory's `do` file says.
WORKER = """
import pathlib, sys, time, os, signal
from benchmark.state import update_state
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
    LocalLauncher().run(jobs, lambda remarks: None)
    states = [read_state(job.run) for job in jobs]
    assert [state.status for state in states] == ["done", "failed", "failed", "failed", "done"]
    assert "SIGKILL" in states[1].reason
    assert "status 3" in states[2].reason
    assert "log.txt" in states[3].reason


@pytest.mark.usefixtures("fast")
def test_one_slot_runs_jobs_in_order(tmp_path: Path) -> None:
    LocalLauncher().run(make_jobs(tmp_path, "ok", "ok", "ok"), lambda remarks: None)
    assert (tmp_path / "order").read_text() == "job0 job1 job2 "


@pytest.mark.usefixtures("fast")
def test_an_interrupt_ends_the_running_processes(tmp_path: Path) -> None:
    def interrupt(remarks: object) -> None:
        raise KeyboardInterrupt

    jobs = make_jobs(tmp_path, "ok", "ok")
    with pytest.raises(KeyboardInterrupt):
        LocalLauncher().run(jobs, interrupt)
    assert read_state(jobs[1].run).status == "pending"


@pytest.mark.parametrize(
    ("gpus", "memory_gb", "threads", "trainer", "expected"),
    [
        (0, 64, None, {"devices": 1}, (1, False)),
        (0, 64, 1, {"devices": 1}, (8, False)),
        (0, 64, 3, {"devices": 1}, (2, False)),
        (0, 64, 1, {"devices": 2}, (4, False)),
        (0, 64, 16, {"devices": 1}, (1, False)),
        (0, 64, 1, {}, (1, False)),
        (0, 13, 1, {"devices": 1}, (3, False)),
        (0, 3, 1, {"devices": 1}, (1, False)),
        (1, 64, 1, {"devices": 1}, (1, False)),
        (4, 64, 1, {"devices": 1}, (4, True)),
        (4, 64, 1, {"devices": "auto"}, (1, False)),
        (4, 64, 1, {"devices": 1, "accelerator": "cpu"}, (8, False)),
    ],
)
def test_as_many_jobs_run_at_a_time_as_gpus_or_else_cores_and_memory_allow(
    gpus: int,
    memory_gb: int,
    threads: int | None,
    trainer: dict[str, object],
    expected: tuple[int, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory_gb * 2**18}.get)
    jobs = [Job("method", fold, tmp_path, {"trainer": trainer}, "") for fold in (0, 1)]
    assert local.slots_for(jobs, threads) == expected


@pytest.mark.usefixtures("fast")
def test_with_a_gpu_each_a_job_sees_that_of_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = []
    real = local.subprocess.Popen

    def spy(command: list[str], **options: dict) -> object:
        seen.append(options["env"]["CUDA_VISIBLE_DEVICES"])
        return real(command, **options)

    monkeypatch.setattr(local.subprocess, "Popen", spy)
    LocalLauncher(slots=2, gpu_each=True).run(make_jobs(tmp_path, "ok", "ok"), lambda remarks: None)
    assert sorted(seen) == ["4", "7"]


@pytest.mark.usefixtures("fast")
def test_a_job_is_started_in_an_environment_that_keeps_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    seen = []
    real = local.subprocess.Popen

    def spy(command: list[str], **options: dict) -> object:
        seen.append(options["env"].get("GLIBC_TUNABLES"))
        return real(command, **options)

    monkeypatch.setattr(local.subprocess, "Popen", spy)
    LocalLauncher().run(make_jobs(tmp_path, "ok"), lambda remarks: None)
    assert seen == [keeping_memory({})["GLIBC_TUNABLES"]]


@pytest.mark.usefixtures("fast")
def test_a_state_that_cannot_be_written_does_not_end_the_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok")
    (jobs[0].run / "state.json").unlink()
    (jobs[0].run / "state.json").mkdir()
    LocalLauncher().run(jobs, lambda remarks: None)
    assert read_state(jobs[1].run).status == "done"
    said = capsys.readouterr().err
    assert "state.json" in said
    assert "ended with status 1" in said


def test_a_job_inside_a_slurm_allocation_does_not_see_it(tmp_path: Path) -> None:
    assert local.without_slurm({"SLURM_NTASKS": "8", "PATH": "/bin"}) == {"PATH": "/bin"}


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
    assert any(fault in found for found in slurm.settings_faults(settings))
    assert not slurm.settings_faults({"partition": "gpu", "nodes": 2, "sbatch": {"mail-type": "FAIL"}, "setup": []})


def test_without_slurm_the_launcher_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs submitit"):
        slurm.SlurmLauncher({}, tmp_path)
    with pytest.raises(InputError, match="no SLURM on this machine"):
        slurm.cancel([])


class FakeCluster:
    """Stands for squeue: a queue a look, the last one for ever."""

    def __init__(self, patch: pytest.MonkeyPatch, *queues: dict[str, str] | None) -> None:
        self.queues = list(queues)
        patch.setattr(slurm, "read_queue", self.look)
        patch.setattr(slurm, "last_state", lambda job_id: "OUT_OF_MEMORY")
        patch.setattr(slurm, "find_spec", lambda name: True)
        patch.setattr(slurm, "_require_slurm", lambda what: None)
        for name, seconds in (("POLL_EVERY", 0.01), ("GRACE", 0.05), ("PATIENCE", 0.2)):
            patch.setattr(slurm, name, seconds)

    def look(self, ids: object) -> dict[str, str]:
        queue = self.queues.pop(0) if len(self.queues) > 1 else self.queues[0]
        if queue is None:
            raise InputError("squeue: no answer")
        return queue


def in_queue(job: Job, job_id: str) -> Job:
    (job.run / "slurm.json").write_text(json.dumps({"job": job_id}))
    return job


def test_jobs_in_the_queue_are_watched_and_the_others_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(tmp_path, "ok", "ok")
    in_queue(jobs[0], "7_0")
    FakeCluster(monkeypatch, {"7_0": "pending"}, {"7_0": "pending"}, {"7_0": "running", "8_0": "running"}, {})
    launcher = slurm.SlurmLauncher({}, tmp_path)
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


def test_a_job_that_slurm_ended_is_failed_with_what_slurm_and_its_log_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = make_jobs(tmp_path, "ok")
    in_queue(job, "7_0")
    (job.run / "log.txt").write_text("epoch 3\nepoch 4\n")
    FakeCluster(monkeypatch, {"7_0": "running"}, {"7_0": "running"}, {})
    slurm.SlurmLauncher({}, tmp_path).run([job], lambda remarks: None)
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
    slurm.SlurmLauncher({}, tmp_path).run([job], lambda remarks: seen.append(update_state(job.run, status="done")))
    assert seen
    FakeCluster(monkeypatch, running, None)
    with pytest.raises(InputError, match="no answer"):
        slurm.SlurmLauncher({}, tmp_path).run([job], lambda remarks: None)


def test_an_interrupt_leaves_jobs_in_the_queue_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(remarks: object) -> None:
        raise KeyboardInterrupt

    (job,) = make_jobs(tmp_path, "ok")
    in_queue(job, "7_0")
    FakeCluster(monkeypatch, {"7_0": "running"})
    with pytest.raises(KeyboardInterrupt):
        slurm.SlurmLauncher({}, tmp_path).run([job], interrupt)
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


def test_elsewhere_than_on_a_terminal_each_change_is_a_plain_line(tmp_path: Path) -> None:
    text = io.StringIO()
    jobs = make_jobs(tmp_path, "ok", "ok")
    with Overview(jobs, Console(file=text, width=60)) as overview:
        overview.update()
        assert text.getvalue() == ""
        update_state(jobs[0].run, status="running", phase="training", done=1, total=100)
        overview.update()
        update_state(jobs[0].run, done=2)
        overview.update()  # no news
        update_state(jobs[0].run, done=60)
        overview.update()
        update_state(jobs[0].run, status="done")
        update_state(jobs[1].run, status="failed", reason="no [b]memory[/b]")
        overview.update()
    lines = text.getvalue().splitlines()
    assert len(lines) == 4
    assert "training 60/100 epochs" in lines[1]
    assert lines[2].startswith("[1/2] method fold 0: done")
    assert lines[3].endswith("failed: no [b]memory[/b]")


def test_on_a_terminal_one_live_table_shows_all_jobs(tmp_path: Path) -> None:
    text = io.StringIO()
    jobs = make_jobs(tmp_path, "ok", "ok")
    with Overview(jobs, Console(file=text, width=80, force_terminal=True)) as overview:
        update_state(jobs[0].run, status="running", phase="training", done=5, total=10)
        overview.update()
    assert "0 of 2 jobs done" in text.getvalue()
    assert "training 5/10 epochs" in text.getvalue()
    assert "waits" in text.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(4, "4 s"), (89, "89 s"), (180, "3 min"), (7500, "2 h 05 min")])
def test_durations_read_naturally(seconds: float, text: str) -> None:
    assert duration(seconds) == text
