"""Jobs as processes on this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmark.launchers.ending import describe, note_end
from benchmark.launchers.fork_server import WITH_WANDB, ForkedProcess, ForkServer
from benchmark.launchers.interface import Launcher, Watch
from benchmark.launchers.slots import Slot, slots_for
from benchmark.machine.capacity import on_cpu
from benchmark.machine.environment import without_slurm
from benchmark.machine.memory import keeping_memory
from benchmark.rundir.names import LOG
from benchmark.rundir.state import read_state
from benchmark.suite.config import SuiteConfig, is_rule
from benchmark.suite.plan import Job
from leaderboard.errors import InputError

#: Seconds between two checks of the jobs.
POLL_EVERY = 0.1

#: On other systems a forked copy of such a process may fail (macOS), or cannot be made.
FORKS = sys.platform == "linux"

Process = subprocess.Popen[bytes] | ForkedProcess


def job_command(runs: Sequence[Path]) -> list[str]:
    """The command that runs jobs one after the other in one process."""
    return [sys.executable, "-m", "benchmark", "job", *map(str, runs)]


class LocalLauncher(Launcher):
    """Processes in the slots of this machine: one for each job, and one for the rules of a fold together.

    Nothing is queued elsewhere: if a job outlived its suite, the one that is started in its place waits for it.

    Args:
        suite: its settings say how many jobs run at a time.
        root: not used here.
    """

    here: ClassVar[bool] = True

    def __init__(self, suite: SuiteConfig, root: Path) -> None:
        self.suite = suite
        self._server: ForkServer | None = None
        self._modules: list[str] = []

    def check(self) -> None:
        """See `Launcher`."""
        if self.suite.launchers.get("local"):
            raise InputError(
                f"{self.suite.path}: local takes no settings, threads and jobs_per_gpu belong to the suite itself"
            )

    def slots(self, jobs: Sequence[Job]) -> list[Slot]:
        """Where these jobs run: as many processes as there are slots run at a time."""
        return slots_for(jobs, self.suite.threads, self.suite.jobs_per_gpu)

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """See `Launcher`: jobs that share a GPU share its time."""
        slots = [slot for slot in self.slots(jobs) if slot.jobs != "cpu"]
        gpus = {slot.gpu for slot in slots} - {None}
        return min(len(gpus) or len(slots), max(len(jobs), 1))

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`."""
        waiting = units(jobs)
        self._modules = modules(jobs)
        free = self.slots(jobs)
        running: list[tuple[list[Job], Process, Slot]] = []
        try:
            while waiting or running:
                for slot in list(free):
                    if (unit := next((unit for unit in waiting if slot.takes(unit[0].config)), None)) is not None:
                        waiting.remove(unit)
                        free.remove(slot)
                        running.append((unit, self._start(unit, slot), slot))
                for entry in list(running):
                    unit, process, slot = entry
                    if process.poll() is not None:
                        assert process.returncode is not None
                        running.remove(entry)
                        free.append(slot)
                        if left := note_ends(unit, process.returncode):
                            waiting.insert(0, left)
                watch({})
                time.sleep(POLL_EVERY)
        finally:
            for _, process, _ in running:
                process.terminate()
            for _, process, _ in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                process.kill()
            if self._server is not None:
                self._server.close()
                self._server = None

    def _start(self, unit: Sequence[Job], slot: Slot) -> Process:
        plain = without_slurm(os.environ) | {"PYTHONUNBUFFERED": "1"}
        environment = keeping_memory(plain) | slot.environment()
        runs = [job.run for job in unit]
        log = runs[0] / LOG
        if FORKS and is_one_process(unit[0].config):
            for _ in range(2):  # a server that was killed is started again, once
                try:
                    self._server = self._server or ForkServer(plain, self._modules)
                    return self._server.start(runs, environment, log)
                except ConnectionError:
                    if self._server is not None:
                        self._server.close()
                    self._server = None
        with log.open("ab") as output:
            return subprocess.Popen(
                job_command(runs), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )


def units(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs grouped by process: the rules of a fold, which look at the same cases, together; every other job alone.

    Args:
        jobs: in the order in which they start.
    """
    together: dict[object, list[Job]] = {}
    for job in jobs:
        shared = is_rule(job.config) and is_one_process(job.config)
        together.setdefault((job.fold, on_cpu(job.config)) if shared else job.run, []).append(job)
    return list(together.values())


def modules(jobs: Sequence[Job]) -> list[str]:
    """What jobs import besides `benchmark.training.job`: our methods (a user's may not survive forking), W&B."""
    paths = {str(job.config.get("model", {}).get("class_path", "")) for job in jobs}
    methods = sorted(path.rpartition(".")[0] for path in paths if path.startswith("benchmark."))
    wandb = any(job.config.get("suite", {}).get("wandb", True) for job in jobs)
    return [*dict.fromkeys(methods), *(WITH_WANDB if wandb else ())]


def is_one_process(config: Mapping[str, Any]) -> bool:
    """Whether Lightning runs the whole job in the process that was started, without starting others."""
    trainer = config.get("trainer", {})
    devices = str(trainer.get("devices", "auto"))
    alone = devices == "1" or (devices == "auto" and on_cpu(config))
    return alone and str(trainer.get("num_nodes", 1)) == "1"


def note_ends(unit: Sequence[Job], status: int) -> list[Job]:
    """Make sure that each job of a process that has ended is done or failed, with a reason.

    Returns:
        Those that it had not begun when it ended, if it had begun others: they need another process.
    """
    left = [job for job in unit if read_state(job.run).status == "pending"]
    if len(left) == len(unit):
        left = []
    for job in unit:
        if job not in left:
            note_end(job.run, describe(status))
    return left
