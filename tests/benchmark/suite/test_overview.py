"""What a user sees of running jobs, by a clock that the tests set."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.rundir.state import State, update_state, write_state
from benchmark.suite import overview
from benchmark.suite.overview import Overview, rough_duration, what
from benchmark.suite.plan import Job

TRAINING = {"status": "running", "phase": "training"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time in seconds; it begins at 0."""
    now = [0.0]
    monkeypatch.setattr(overview.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def make_jobs(folder: Path, count: int, method: str = "method") -> list[Job]:
    jobs = [Job(method, fold, folder / method / f"fold{fold}", {}, "") for fold in range(count)]
    for job in jobs:
        job.run.mkdir(parents=True)
        write_state(job.run, State())
    return jobs


class Shown:
    """An overview, and what it has shown since it was last asked."""

    def __init__(self, jobs: list[Job], width: int = 80, terminal: bool = False) -> None:
        self.text = io.StringIO()
        self.console = Console(file=self.text, width=width, force_terminal=terminal, color_system=None)
        self.overview = Overview(jobs, self.console)

    def lines(self) -> list[str]:
        self.overview.update()
        said = self.text.getvalue().splitlines()
        self.text.truncate(0)
        self.text.seek(0)
        return said

    def table(self) -> list[str]:
        """The table as it would be drawn."""
        self.overview.update()
        with self.console.capture() as capture:
            self.console.print(self.overview._table(overview.time.monotonic()))
        return [line.rstrip() for line in capture.get().splitlines()]


def test_elsewhere_than_on_a_terminal_each_change_is_a_plain_line(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, 2)
    shown = Shown(jobs, width=60)
    assert shown.lines() == []
    update_state(jobs[0].run, **TRAINING, done=1, total=100)
    assert len(shown.lines()) == 1
    update_state(jobs[0].run, done=2)
    assert shown.lines() == []  # no news
    update_state(jobs[0].run, done=60, step=1, steps=9)
    (line,) = shown.lines()
    assert "method fold 0: epoch 61/100, step 1/9" in line
    update_state(jobs[0].run, status="done")
    update_state(jobs[1].run, status="failed", reason="no [b]memory[/b]")
    lines = shown.lines()
    assert lines[0].startswith("[1/2] method fold 0: done")
    assert lines[1].endswith("failed: no [b]memory[/b]")


def test_a_long_epoch_is_told_by_its_steps_with_the_time_left(tmp_path: Path, clock: Callable[[float], None]) -> None:
    jobs = make_jobs(tmp_path, 1)
    shown = Shown(jobs)
    update_state(jobs[0].run, **TRAINING, total=1, steps=80)
    assert shown.lines() == ["[0/1] method fold 0: epoch 1/1, step 0/80"]
    clock(100)
    update_state(jobs[0].run, step=20)
    assert shown.lines() == ["[0/1] method fold 0: epoch 1/1, step 20/80, about 5 min left"]
    clock(650)
    update_state(jobs[0].run, step=21)
    assert shown.lines() == []
    clock(701)  # no quarter is full, but ten minutes are over
    update_state(jobs[0].run, step=22)
    (line,) = shown.lines()
    assert "step 22/80" in line


def test_a_continued_job_is_judged_by_its_pace_since(tmp_path: Path, clock: Callable[[float], None]) -> None:
    jobs = make_jobs(tmp_path, 1)
    shown = Shown(jobs)
    update_state(jobs[0].run, **TRAINING, done=5, total=10, steps=4)
    shown.lines()
    clock(60)
    update_state(jobs[0].run, done=6, step=2)  # 1.5 epochs a minute, 3.5 to go
    assert shown.table()[2].endswith(" 2 min")


@pytest.mark.parametrize("width", [80, 140])
def test_on_a_terminal_one_table_fits_its_width_with_the_longest_names(
    tmp_path: Path, clock: Callable[[float], None], width: int
) -> None:
    jobs = make_jobs(tmp_path, 12, "multiscale_resnet")
    shown = Shown(jobs, width, terminal=True)
    update_state(jobs[0].run, **TRAINING, total=300, steps=400)
    shown.table()
    clock(3600)
    update_state(jobs[0].run, done=150)
    update_state(jobs[1].run, status="failed", reason="[b]")
    table = shown.table()
    assert table[0] == "0 of 12 jobs done, about 21 h 00 min left"
    assert " ".join(table[2].split()) == "multiscale_resnet 0 ██████░░░░░░ epoch 151/300, step 0/400 1 h 00 min"
    assert table[3].split() == ["multiscale_resnet", "1", "failed"]
    assert table[4].split() == ["multiscale_resnet", "2", "waits", "2", "h", "00", "min"]  # as its method's other fold
    assert table[-1] == "and 2 more wait"
    assert max(map(len, table)) <= width


def test_a_method_that_has_not_begun_is_expected_to_take_what_was_forecast(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, 2, "new") + make_jobs(tmp_path, 1, "unknown")
    shown = Shown(jobs)
    shown.overview = Overview(jobs, shown.console, {"new": 1200.0})
    table = shown.table()
    assert table[2].split() == ["new", "0", "waits", "20", "min"]
    assert table[0] == "0 of 3 jobs done, about 40 min left for all but 1 whose pace is not known yet"


def test_once_all_is_done_no_empty_table_stays(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, 2)
    shown = Shown(jobs)
    for job in jobs:
        update_state(job.run, status="done")
    assert shown.table() == ["2 of 2 jobs done"]


def test_rules_show_their_cases_and_no_epochs() -> None:
    assert what(State("running", "fitting", done=3, total=40)) == "fitting 3/40 cases"
    assert what(State("running", "predicting", done=3, total=40)) == "predicting 3/40 cases"
    assert what(State("running", "starting")) == "starting"


@pytest.mark.parametrize(
    ("state", "share"),
    [
        (State(), 0.0),
        (State("running", "training", done=1, total=4), 0.25),
        (State("running", "training", done=1, total=4, step=5, steps=10), 0.375),
        (State("running", "training", done=3, total=4, step=10, steps=10), 1.0),
    ],
)
def test_the_share_of_a_phase_counts_the_steps_of_its_epoch(state: State, share: float) -> None:
    assert state.share == share


@pytest.mark.parametrize(("seconds", "text"), [(4, "4 s"), (89, "89 s"), (180, "3 min"), (7500, "2 h 05 min")])
def test_durations_read_naturally(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text


def test_where_there_are_seeds_they_are_named(tmp_path: Path) -> None:
    jobs = [Job("method", 0, tmp_path / f"seed{seed}", {}, "", seed) for seed in (3, 7)]
    jobs += make_jobs(tmp_path, 1, "rule")
    for job in jobs[:2]:
        job.run.mkdir(parents=True)
        write_state(job.run, State())
    shown = Shown(jobs)
    update_state(jobs[1].run, status="running", phase="training", total=2)
    assert shown.lines() == ["[0/3] method fold 0 seed 7: epoch 1/2"]
    assert [line.split()[:3] for line in shown.table()[1:]] == [
        ["method", "fold", "seed"], ["method", "0", "7"], ["method", "0", "3"], ["rule", "0", "waits"]
    ]  # fmt: skip
