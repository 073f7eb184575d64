"""All jobs at a glance: a live table on a terminal, a line a change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.rundir.state import State
from benchmark.suite.plan import Job

#: Word and style of each status.
_MARKS = {
    "pending": ("waits", "dim"),
    "running": ("runs", "cyan"),
    "done": ("done", "green"),
    "failed": ("failed", "red"),
}
#: Elsewhere than on a terminal, a line each time so much of a job is done.
_LINE_EVERY = 0.25


class Overview:
    """Watches the states of jobs; use as a context manager and call `update` every now and then.

    Args:
        jobs: all jobs of the suite, those that were done before included.
        console: where to show them.
    """

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.jobs = jobs
        self.console = console
        self._states = {job.run: job.state for job in jobs}
        self._remarks: dict[Path, str] = {}
        self._started: dict[object, float] = {}
        #: When and at which epoch this run saw a job's training first; a continued job does not start at 0.
        self._begun: dict[object, tuple[float, int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._width = len(str(len(jobs)))

    def __enter__(self) -> Overview:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, remarks: Mapping[Path, str] | None = None) -> None:
        """Look at every job's state and show what changed.

        Args:
            remarks: what the launcher knows of jobs that do not run: ``pending in SLURM as 12_3``, by run directory.
        """
        now = time.monotonic()
        self._note(remarks or {})
        for job in self.jobs:
            before, state = self._states[job.run], job.state
            if state == before:
                continue
            self._states[job.run] = state
            if state.status == "running" and before.status != "running":
                self._started[job.run] = now
                self._begun.pop(job.run, None)
            elif state.status == "done" and job.run in self._started:
                self._seconds.setdefault(job.method, []).append(now - self._started[job.run])
            if state.phase == "training":
                self._begun.setdefault(job.run, (now, state.done))
            if not self._live and _is_news(before, state):
                self.console.print(self._line(job, state, now), highlight=False, soft_wrap=True, markup=False)
            if self._live and state.status == "failed" and before.status != "failed":
                what = Text.assemble((f"{job.method} fold {job.fold} failed:", "red"), f" {state.reason}")
                self._live.console.print(what, soft_wrap=True)
        if self._live:
            self._live.update(self._table(now))

    def _note(self, remarks: Mapping[Path, str]) -> None:
        """Take notice of the launcher's remarks; new ones are news where there is no table."""
        if not self._live:
            for job in self.jobs:
                if (remark := remarks.get(job.run)) and remark != self._remarks.get(job.run):
                    text = f"{job.method} fold {job.fold}: {remark}"
                    self.console.print(text, highlight=False, soft_wrap=True, markup=False)
        self._remarks = dict(remarks)

    def _line(self, job: Job, state: State, now: float) -> str:
        done = sum(other.status == "done" for other in self._states.values())
        parts = [f"[{done:>{self._width}}/{len(self.jobs)}] {job.method} fold {job.fold}: {_what(state)}"]
        if left := self._remaining(job, state, now):
            parts.append(f"about {rough_duration(left)} left")
        return ", ".join(parts) + (f": {state.reason}" if state.status == "failed" else "")

    def _remaining(self, job: Job, state: State, now: float) -> float | None:
        """Seconds until the job ends, from its own pace or from its method's finished folds."""
        started = self._started.get(job.run)
        since, first = self._begun.get(job.run, (now, 0))
        if state.status == "running" and state.phase == "training" and state.done > first:
            return (now - since) * (state.total - state.done) / (state.done - first)
        earlier = self._seconds.get(job.method)
        if state.status in ("pending", "running") and earlier:
            return max(sum(earlier) / len(earlier) - (now - started if started is not None else 0), 0.0)
        return None

    def _table(self, now: float) -> Table:
        states = [self._states[job.run] for job in self.jobs]
        done = sum(state.status == "done" for state in states)
        remaining = [self._remaining(job, state, now) for job, state in zip(self.jobs, states, strict=True)]
        known = [seconds for seconds in remaining if seconds]
        table = Table(title=f"{done} of {len(self.jobs)} jobs done", title_justify="left", box=None, pad_edge=False)
        for column in ("method", "fold", "state", "progress", "left"):
            table.add_column(column, justify="right" if column in ("fold", "left") else "left")
        shown = [
            (job, state, left)
            for job, state, left in zip(self.jobs, states, remaining, strict=True)
            if state.status in ("running", "failed")
        ]
        waiting = [entry for entry in zip(self.jobs, states, remaining, strict=True) if entry[1].status == "pending"]
        for job, state, left in shown + waiting[:8]:
            bar = "" if not state.total else f"{'█' * (12 * state.done // state.total):░<12} {_what(state)}"
            bar = self._remarks.get(job.run) or bar
            cells = (job.method, str(job.fold), _MARKS[state.status], bar, rough_duration(left) if left else "")
            table.add_row(*(Text(cell) if isinstance(cell, str) else Text(*cell) for cell in cells))
        if len(waiting) > 8:
            table.add_row(Text(f"and {len(waiting) - 8} more wait", "dim"))
        if known:
            at_once = max(sum(state.status == "running" for state in states), 1)
            table.caption = f"about {rough_duration(sum(known) / at_once)} for the jobs whose pace is known"
        return table


def _what(state: State) -> str:
    if state.status == "running":
        unit = "epochs" if state.phase == "training" else "cases"
        return f"{state.phase} {state.done}/{state.total} {unit}" if state.total else state.phase
    return state.status


def _is_news(before: State, state: State) -> bool:
    if state.status != before.status:
        return True
    if state.phase != before.phase or not state.total:
        return state.phase == "training" and bool(state.total)
    return int(state.done / state.total / _LINE_EVERY) > int(before.done / state.total / _LINE_EVERY)


def rough_duration(seconds: float) -> str:
    """``45 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
