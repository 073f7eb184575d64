"""Jobs as processes on this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.launchers import Watch
from benchmark.launchers.ending import describe, note_end
from benchmark.suite import Job

#: Seconds between two looks at the jobs.
POLL_EVERY = 0.25


def job_command(run: Path) -> list[str]:
    """What runs a job, wherever it runs."""
    return [sys.executable, "-m", "benchmark", "job", str(run)]


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Lightning starts its processes itself, inside a SLURM allocation too."""
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_")}


class LocalLauncher:
    """A process a job, `slots` at a time.

    Args:
        slots: jobs at a time; with more than one, each sees one GPU.
    """

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots

    def underway(self, jobs: Sequence[Job]) -> list[Path]:
        """None: a job that outlived its suite is waited for by the one that is started in its place."""
        return []

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
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
                        note_end(job.run, describe(process.returncode))
                watch({})
                time.sleep(POLL_EVERY)
        finally:
            for _, process, _ in running:
                process.terminate()
            for _, process, _ in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                process.kill()

    def _start(self, job: Job, slot: int) -> subprocess.Popen[bytes]:
        environment = without_slurm(os.environ) | {"PYTHONUNBUFFERED": "1"}
        if self.slots > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot] if visible else str(slot)
        with (job.run / "log.txt").open("ab") as log:
            return subprocess.Popen(
                job_command(job.run), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
