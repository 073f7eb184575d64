"""All jobs at a glance: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.rundir.state import State
from benchmark.suite.plan import Job

#: Without a terminal, one line whenever this share of a job's phase is done, or after this many seconds.
_LINE_EVERY = 0.25
_LINE_SECONDS = 600.0
#: Number of waiting jobs that the table names.
_WAITING = 8
_BAR = 12


class Overview:
    """Watches the states of jobs; use it as a context manager and call `update` from time to time.

    Args:
        jobs: all jobs of the suite, including those that were done before.
        console: where to show them.
        expected: seconds per job by method, for jobs of which nothing better is known.
    """

    def __init__(self, jobs: Sequence[Job], console: Console, expected: Mapping[str, float] | None = None) -> None:
        self.jobs = jobs
        self.console = console
        self._states = {job.run: job.state for job in jobs}
        self._remarks: dict[Path, str] = {}
        self._started: dict[Path, float] = {}
        #: When this run first saw a job's phase, and at which share; a continued job does not start at 0.
        self._begun: dict[Path, tuple[float, float]] = {}
        self._told = dict.fromkeys(self._states, time.monotonic())
        self._expected = dict(expected or {})
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
            remarks: the launcher's, on jobs that are not running, by run directory: ``pending in SLURM as 12_3``.
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
            elif state.status == "done" and job.run in self._started:
                self._seconds.setdefault(job.method, []).append(now - self._started[job.run])
            if state.phase != before.phase or job.run not in self._begun:
                self._begun[job.run] = (now, state.share)
            if not self._live and (_is_news(before, state) or self._is_due(job, state, now)):
                self._told[job.run] = now
                self.console.print(self._line(job, state, now), highlight=False, soft_wrap=True, markup=False)
            if self._live and state.status == "failed" and before.status != "failed":
                told = Text.assemble((f"{job.title} failed:", "red"), f" {state.reason}")
                self._live.console.print(told, soft_wrap=True)
        if self._live:
            self._live.update(self._table(now))

    def _note(self, remarks: Mapping[Path, str]) -> None:
        """Keep the launcher's remarks; new ones are printed if there is no table."""
        if not self._live:
            for job in self.jobs:
                if (remark := remarks.get(job.run)) and remark != self._remarks.get(job.run):
                    text = f"{job.title}: {remark}"
                    self.console.print(text, highlight=False, soft_wrap=True, markup=False)
        self._remarks = dict(remarks)

    def _line(self, job: Job, state: State, now: float) -> str:
        done = sum(other.status == "done" for other in self._states.values())
        parts = [f"[{done:>{self._width}}/{len(self.jobs)}] {job.title}: {what(state)}"]
        if left := self._remaining(job, now):
            parts.append(f"about {rough_duration(left)} left")
        return ", ".join(parts) + (f": {state.reason}" if state.status == "failed" else "")

    def _is_due(self, job: Job, state: State, now: float) -> bool:
        """Whether a running job was last reported too long ago."""
        return state.status == "running" and now - self._told[job.run] > _LINE_SECONDS

    def _remaining(self, job: Job, now: float) -> float | None:
        """Seconds until the job ends: from its own pace, or from that of its method's other trainings."""
        state, spent = self._states[job.run], now - self._started.get(job.run, now)
        if state.status not in ("pending", "running"):
            return None
        if (left := self._phase_left(job, now)) is not None:
            return left
        known = self._seconds.get(job.method) or [
            now - self._started[other.run] + left
            for other in self.jobs
            if other.method == job.method and other.run in self._started
            if self._states[other.run].phase == "training" and (left := self._phase_left(other, now)) is not None
        ]
        if not known:
            known = [self._expected[job.method]] if job.method in self._expected else []
        return max(sum(known) / len(known) - spent, 0.0) if known else None

    def _phase_left(self, job: Job, now: float) -> float | None:
        """Seconds until the end of a running job's phase, from its pace since this run first saw it."""
        state = self._states[job.run]
        since, first = self._begun.get(job.run, (now, 0.0))
        if state.status != "running" or state.share <= first:
            return None
        return (now - since) * (1 - state.share) / (state.share - first)

    def _table(self, now: float) -> Group:
        states = {job.run: self._states[job.run].status for job in self.jobs}
        left = {job.run: self._remaining(job, now) for job in self.jobs}
        done = sum(status == "done" for status in states.values())
        table = Table(box=None, pad_edge=False)
        seeded = any(job.seed is not None for job in self.jobs)
        for column in ("method", "fold", *(["seed"] if seeded else []), "progress", "left"):
            right = column in ("fold", "seed", "left")
            table.add_column(column, justify="right" if right else "left", no_wrap=True)
        shown = [job for job in self.jobs if states[job.run] in ("running", "failed")]
        waiting = [job for job in self.jobs if states[job.run] == "pending"]
        for job in shown + waiting[:_WAITING]:
            seconds = left[job.run]
            numbers = [str(job.fold), *(["" if job.seed is None else str(job.seed)] if seeded else [])]
            table.add_row(job.method, *numbers, self._progress(job), rough_duration(seconds) if seconds else "")
        if len(waiting) > _WAITING:
            table.add_row(Text(f"and {len(waiting) - _WAITING} more wait", "dim"))
        title = f"{done} of {len(self.jobs)} jobs done"
        known = [seconds for seconds in left.values() if seconds is not None]
        if sum(known) >= 1:
            at_once = max(sum(status == "running" for status in states.values()), 1)
            unknown = sum(status in ("pending", "running") for status in states.values()) - len(known)
            title += f", about {rough_duration(sum(known) / at_once)} left" + (
                f" for all but {unknown} whose pace is not known yet" if unknown else ""
            )
        return Group(Text(title), *([table] if table.row_count else []))

    def _progress(self, job: Job) -> Text:
        state = self._states[job.run]
        if state.status == "failed":
            return Text("failed", "red")
        if remark := self._remarks.get(job.run):
            return Text(remark)
        if state.status == "pending":
            return Text("waits", "dim")
        if not state.total:
            return Text(what(state))
        filled = int(_BAR * min(state.share, 1.0))
        return Text.assemble(("█" * filled + "░" * (_BAR - filled), "cyan"), f" {what(state)}")


def what(state: State) -> str:
    """What a job does now, in words."""
    if state.status != "running" or not state.total:
        return state.phase if state.status == "running" else state.status
    if state.phase != "training":
        return f"{state.phase} {state.done}/{state.total} cases"
    epoch = f"epoch {min(state.done + 1, state.total)}/{state.total}"
    return f"{epoch}, step {state.step}/{state.steps}" if state.steps else epoch


def _is_news(before: State, state: State) -> bool:
    if state.status != before.status:
        return True
    if state.phase != before.phase or not state.total:
        return state.phase == "training" and bool(state.total)
    return int(state.share / _LINE_EVERY) > int(before.share / _LINE_EVERY)


def rough_duration(seconds: float) -> str:
    """``45 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
