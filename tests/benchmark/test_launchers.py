from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.launchers import local
from benchmark.launchers.local import LocalLauncher
from benchmark.overview import Overview, duration
from benchmark.state import State, read_state, update_state, write_state
from benchmark.suite import Job

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


@pytest.mark.usefixtures("fast")
def test_with_several_slots_each_job_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = []
    real = local.subprocess.Popen

    def spy(command: list[str], **options: dict) -> object:
        seen.append(options["env"]["CUDA_VISIBLE_DEVICES"])
        return real(command, **options)

    monkeypatch.setattr(local.subprocess, "Popen", spy)
    LocalLauncher(slots=2).run(make_jobs(tmp_path, "ok", "ok"), lambda remarks: None)
    assert sorted(seen) == ["4", "7"]


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
