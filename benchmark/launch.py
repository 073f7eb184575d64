"""Where jobs run: processes on this machine. Another place is another class with the same `run`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from benchmark.state import update_state
from benchmark.suite import Job

#: Seconds between two looks at the jobs.
POLL_EVERY = 0.25


class Launcher(Protocol):
    """Runs jobs and returns when all have ended; the outcome of each stands in its state."""

    def run(self, jobs: Sequence[Job], watch: Callable[[], None]) -> None:
        """Run the jobs, calling `watch` every now and then."""


class LocalLauncher:
    """A process a job, `slots` at a time.

    Args:
        slots: jobs at a time; with more than one, each sees one GPU.
    """

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots

    def run(self, jobs: Sequence[Job], watch: Callable[[], None]) -> None:
        """See `Launcher`."""
        waiting = list(jobs)
        free = list(range(self.slots))
        running: list[tuple[Job, subprocess.Popen[bytes], int]] = []
        try:
            while waiting or running:
                while waiting and free:
                    job, slot = waiting.pop(0), free.pop(0)
                    running.append((job, self._start(job, slot), slot))
                for entry in list(running):
                    job, process, slot = entry
                    if process.poll() is not None:
                        running.remove(entry)
                        free.append(slot)
                        note_end(job, process.returncode)
                watch()
                time.sleep(POLL_EVERY)
        finally:
            for _, process, _ in running:
                process.terminate()
            for _, process, _ in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                process.kill()

    def _start(self, job: Job, slot: int) -> subprocess.Popen[bytes]:
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        if self.slots > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot] if visible else str(slot)
        with (job.run / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmark", "job", str(job.run)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )


def note_end(job: Job, status: int) -> None:
    """Make sure that a job whose process has ended is done or failed, with a reason."""
    state = job.state
    if status == 0 and state.status == "done":
        return
    if state.status != "failed":
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        update_state(job.run, status="failed", reason=f"its process {how}: see {job.run / 'log.txt'}")
