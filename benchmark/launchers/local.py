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
from benchmark.memory import keeping_memory
from benchmark.suite import Job
from leaderboard.pool import cores

#: Seconds between two looks at the jobs.
POLL_EVERY = 0.25
#: Memory that a job on CPUs may need, in bytes.
MEMORY = 4 * 2**30


def slots_for(jobs: Sequence[Job], threads: int | None) -> tuple[int, bool]:
    """How many jobs this machine runs at a time, and whether each gets a GPU of its own.

    Args:
        jobs: a job a GPU where each takes one of several; on CPUs as many as cores and memory allow.
        threads: of a job on CPUs; None: all cores are one job's.
    """
    import torch

    trainers = [job.config.get("trainer", {}) for job in jobs]
    devices = {str(trainer.get("devices", "auto")) for trainer in trainers}
    gpus = torch.cuda.device_count()
    if gpus and any(trainer.get("accelerator") != "cpu" for trainer in trainers):
        return (gpus, True) if gpus > 1 and devices == {"1"} else (1, False)
    if threads is None or not all(count.isdigit() for count in devices):
        return 1, False
    processes = max(map(int, devices), default=1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores() // (threads * processes), memory // (MEMORY * processes))), False


def job_command(run: Path) -> list[str]:
    """What runs a job, wherever it runs."""
    return [sys.executable, "-m", "benchmark", "job", str(run)]


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Lightning starts its processes itself, inside a SLURM allocation too."""
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_")}


class LocalLauncher:
    """A process a job, `slots` at a time.

    Args:
        slots: jobs at a time.
        gpu_each: each sees one GPU, that of its slot.
    """

    def __init__(self, slots: int = 1, *, gpu_each: bool = False) -> None:
        self.slots = slots
        self.gpu_each = gpu_each

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
        environment = keeping_memory(without_slurm(os.environ)) | {"PYTHONUNBUFFERED": "1"}
        if self.gpu_each:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot] if visible else str(slot)
        with (job.run / "log.txt").open("ab") as log:
            return subprocess.Popen(
                job_command(job.run), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
