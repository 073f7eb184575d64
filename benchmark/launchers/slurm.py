"""Jobs as one SLURM array, submitted by submitit.

A run directory's ``slurm.json`` holds the id of the array element that runs its job, so that a later call finds it
again. The queue is read from squeue: submitit's own watcher uses the accounting, which not every cluster has.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.launchers.ending import describe, note_end
from benchmark.launchers.interface import Launcher, Watch
from benchmark.launchers.local import job_command
from benchmark.machine.environment import installing, without_slurm
from benchmark.machine.memory import keeping_memory
from benchmark.rundir.names import CONFIG, LOG
from benchmark.rundir.state import read_state, update_state
from benchmark.suite.config import SuiteConfig
from benchmark.suite.config_files import read_yaml
from benchmark.suite.plan import Job
from leaderboard.errors import InputError, nearest
from leaderboard.io.images import write_text

#: In a run directory, the file with the id of the array element that runs its job.
NOTE = "slurm.json"
#: Seconds between two calls of squeue.
POLL_EVERY = 2.0
#: Seconds that a job which has left the queue gets to show its last state (network file systems are slow).
GRACE = 30.0
#: Seconds that squeue may fail to answer (while its controller restarts) while jobs are watched.
PATIENCE = 600.0
#: Seconds that a job has to end between the signal of its time limit or pre-emption and its requeueing.
END_WITHIN = 30
#: How often a job may reach its time limit; each time it continues.
TIME_LIMITS = 1000
#: Time limit in minutes if the suite sets none; SLURM's or submitit's own may be shorter than an epoch.
TIME_MINUTES = 240
#: The shortest time limit that is accepted: SLURM's signal comes up to a minute before it, starting takes time too, and
#: a job that ends within its first epoch starts again from the beginning.
LEAST_MINUTES = 10
#: The settings in a suite's section ``slurm``, with submitit's names for them.
SETTINGS = {
    "partition": "partition",
    "time_minutes": "time",
    "nodes": "nodes",
    "tasks_per_node": "ntasks_per_node",
    "cpus_per_task": "cpus_per_task",
    "gpus_per_node": "gpus_per_node",
    "memory": "mem",
    "constraint": "constraint",
    "account": "account",
    "qos": "qos",
    "jobs_at_a_time": "array_parallelism",
    "setup": "setup",
    "sbatch": "additional_parameters",
}
_ENDED = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "REVOKED",
    "PREEMPTED",
}  # fmt: skip
#: squeue's reasons for a job that waits for its turn.
_TURN = ("", "None", "Priority", "Resources", "JobArrayTaskLimit")


class SlurmLauncher(Launcher):
    """One array element for each job; the jobs outlive the command that submitted them.

    Args:
        suite: its section ``slurm`` holds `SETTINGS`.
        root: the suite's folder; submitit's files go into ``slurm`` there.
    """

    def __init__(self, suite: SuiteConfig, root: Path) -> None:
        self.settings = suite.launchers.get("slurm", {})
        self.folder = root / "slurm"

    def check(self) -> None:
        """See `Launcher`."""
        if faults := slurm_faults(self.settings):
            raise InputError(f"slurm.{fault}" for fault in faults)
        if find_spec("submitit") is None:
            raise InputError(f"--launcher slurm: needs submitit: in the project's clone, {installing('train,slurm')}")
        _require_slurm("--launcher slurm")
        ask_squeue()

    def queued_elsewhere(self, runs: Iterable[Path]) -> dict[Path, str]:
        """See `Launcher`."""
        ids = job_ids(runs)
        queue = read_queue(ids.values())
        return {run: f"in SLURM's queue as {job_id}" for run, job_id in ids.items() if job_id in queue}

    def cancel(self, runs: Iterable[Path]) -> list[Path]:
        """See `Launcher`."""
        ids = job_ids(runs)
        if not ids:
            return []
        _require_slurm("benchmark cancel")
        queue = read_queue(ids.values())
        ended = {run: job_id for run, job_id in ids.items() if job_id in queue}
        if ended:
            subprocess.run(["scancel", *ended.values()], check=False, capture_output=True)
        deadline = time.monotonic() + 3 * END_WITHIN
        while left := read_queue(ended.values()):
            if time.monotonic() > deadline:
                raise InputError(f"scancel: {', '.join(left)} do not end: look at squeue")
            time.sleep(POLL_EVERY)
        for run in ended:
            put_back(run)
        return list(ended)

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`. An interrupt leaves the jobs in the queue."""
        old = self.queued_elsewhere(job.run for job in jobs)
        if new := [job for job in jobs if job.run not in old]:
            self._submit(new)
        left = job_ids(job.run for job in jobs)
        missing_since: dict[Path, float] = {}
        answered = time.monotonic()
        try:
            while left:
                try:
                    queue = read_queue(left.values())
                except InputError:
                    if time.monotonic() - answered > PATIENCE:
                        raise
                    time.sleep(POLL_EVERY)
                    continue
                answered = time.monotonic()
                for run, job_id in list(left.items()):
                    if job_id in queue:
                        missing_since.pop(run, None)
                    elif read_state(run).status in ("done", "failed"):
                        del left[run]
                    elif time.monotonic() - missing_since.setdefault(run, time.monotonic()) > GRACE:
                        note_end(run, f"has left SLURM's queue (job {job_id}, {last_state(job_id)})")
                        del left[run]
                watch({run: f"{queue[job_id]} in SLURM as {job_id}" for run, job_id in left.items()
                       if queue.get(job_id, "running") != "running"})  # fmt: skip
                time.sleep(POLL_EVERY if left else 0)
        except (KeyboardInterrupt, SystemExit):
            print(f"{len(left)} jobs stay in SLURM's queue: benchmark cancel ends them", file=sys.stderr)
            raise

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Submit jobs as one array and note the element of each."""
        import submitit

        tasks = self.settings.get("nodes", 1) * self.settings.get("tasks_per_node", 1)
        if misfits := [job for job in jobs if not fits(job.config, tasks)]:
            raise InputError(
                f"{job.method}: trainer.devices x trainer.num_nodes is {processes_asked(job.config)}, slurm.nodes x "
                f"slurm.tasks_per_node is {tasks}: make them equal"
                for job in misfits
            )
        executor = submitit.SlurmExecutor(self.folder, max_num_timeout=TIME_LIMITS)
        settings = {"time_minutes": TIME_MINUTES, **self.settings}
        settings["sbatch"] = {"requeue": True} | settings.get("sbatch", {})  # clusters may not requeue unless asked to
        parameters = {SETTINGS[name]: value for name, value in settings.items()}
        executor.update_parameters(
            job_name=f"isles-{self.folder.parent.name}", signal_delay_s=2 * END_WITHIN, **parameters
        )
        try:
            with executor.batch():
                submitted = [executor.submit(RemoteJob(job.run)) for job in jobs]
        except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise InputError(f"sbatch refused the jobs ({reason}): correct the suite's section slurm") from None
        for job, element in zip(jobs, submitted, strict=True):
            write_text(job.run / NOTE, json.dumps({"job": element.job_id}) + "\n")


class RemoteJob:
    """What submitit runs on a node, once for each task."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the job: in every task if it has several processes, in the first task alone otherwise."""
        several = int(os.environ.get("SLURM_NTASKS", "1")) > 1
        alone = not several or processes_asked(read_yaml(self.run / CONFIG)) == 1
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        if alone and not first:
            return 0
        environment = without_slurm(os.environ) if alone else dict(os.environ)
        with (self.run / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                job_command([self.run]), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=keeping_memory(environment) | {"PYTHONUNBUFFERED": "1"}, preexec_fn=_leave_signal_to_submitit,
            )  # fmt: skip
        status = self._process.wait()
        if first:
            note_end(self.run, describe(status))
        return status

    def checkpoint(self) -> Any:
        """Before the time limit or at a pre-emption: end the process; requeued, the same job runs again."""
        import submitit

        if self._process is not None:
            _end(self._process.pid)
        with contextlib.suppress(InputError):  # try again even if the disk is full
            put_back(self.run)
        return submitit.helpers.DelayedSubmission(RemoteJob(self.run))

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "_process": None}


def _end(process: int) -> None:
    """End a child from within a signal handler, which may have interrupted a `Popen.wait` that holds its lock."""
    deadline = time.monotonic() + END_WITHIN
    try:
        os.kill(process, signal.SIGTERM)
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.1)
    except (ProcessLookupError, ChildProcessError):  # it has ended and was reaped
        return


def _leave_signal_to_submitit() -> None:
    """Ignore the signal that SLURM sends to every process of a step before a time limit: `RemoteJob` ends the job."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def put_back(run: Path) -> None:
    """Mark an ended job that is not done as pending again."""
    if read_state(run).status != "done":
        update_state(run, status="pending", phase="", reason="")


def slurm_faults(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with a suite's section ``slurm``."""
    faults = [
        f"{name}: no such setting: {nearest(str(name), SETTINGS)}choose among {', '.join(SETTINGS)}"
        for name in settings
        if name not in SETTINGS
    ]
    numbers = ("time_minutes", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "jobs_at_a_time")
    faults += [
        f"{name} must be a whole number, at least 1: correct it"
        for name in numbers
        if name in settings and (not isinstance(settings[name], int) or settings[name] < 1)
    ]
    if isinstance(limit := settings.get("time_minutes"), int) and 1 <= limit < LEAST_MINUTES:
        faults.append(
            f"time_minutes is {limit}: a job would end before its first epoch does, and be requeued for ever: "
            f"give at least {LEAST_MINUTES}"
        )
    if not isinstance(settings.get("sbatch", {}), dict):
        faults.append("sbatch must be a mapping of sbatch's options: correct it")
    if not isinstance(settings.get("setup", []), list):
        faults.append("setup must be a list of shell commands: correct it")
    return faults


def processes_asked(config: Mapping[str, Any]) -> int:
    """How many processes a job's config asks for; 1 where Lightning decides."""
    trainer = config.get("trainer", {})
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    return int(devices) * int(nodes) if str(devices).isdigit() else 1


def fits(config: Mapping[str, Any], tasks: int) -> bool:
    """Whether a job's processes can run in this many tasks: one in the first task, several in one task each.

    The processes of one node can also run in a single task, where Lightning starts them.
    """
    trainer = config.get("trainer", {})
    sizes = [str(trainer.get(name, 1)) for name in ("devices", "num_nodes")]
    if not all(size.isdigit() for size in sizes):
        return sizes[1] == "1"  # in the first task, Lightning takes the devices of its node
    count = processes_asked(config)
    return count in (1, tasks) or (tasks == 1 and int(config.get("trainer", {}).get("num_nodes", 1)) == 1)


def job_ids(runs: Iterable[Path]) -> dict[Path, str]:
    """The SLURM job of each run directory that was ever given to SLURM."""
    found = {}
    for run in runs:
        try:
            found[run] = str(json.loads((run / NOTE).read_text(encoding="utf-8"))["job"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def read_queue(ids: Iterable[str]) -> dict[str, str]:
    """States of the jobs that have not ended in SLURM, by id."""
    arrays = sorted({job_id.partition("_")[0] for job_id in ids})
    if not arrays:
        return {}
    return parse_queue(ask_squeue(), set(ids))


def ask_squeue() -> str:
    """What squeue prints about our jobs, one line ``id|state|reason`` each.

    Raises:
        InputError: there is no squeue here, or its controller does not answer.
    """
    if shutil.which("squeue") is None:
        raise InputError("squeue: is not on this machine: go to a login node of the cluster")
    result = subprocess.run(
        ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise InputError(f"squeue: {' '.join(result.stderr.split()) or 'failed'}: is SLURM up? try again once it is")
    return result.stdout


def parse_queue(text: str, ids: set[str]) -> dict[str, str]:
    """Lines ``id|state|reason`` of squeue -> the state of each of `ids` that has not ended.

    A state is ``running``, or ``pending (PartitionConfig)`` if it waits for something other than its turn.
    """
    queue = {}
    for line in text.splitlines():
        job_id, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if job_id in ids and state not in _ENDED:
            waits = state == "PENDING" and reason not in _TURN
            queue[job_id] = f"{state.lower()} ({reason})" if waits else state.lower()
    return queue


def last_state(job_id: str) -> str:
    """What SLURM still knows about a job that has left the queue, in one word."""
    result = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", job_id], capture_output=True, text=True, check=False
    )
    words = dict(word.split("=", 1) for word in result.stdout.split() if "=" in word)
    return words.get("JobState", "forgotten")


def _require_slurm(what: str) -> None:
    if shutil.which("sbatch") is None:
        raise InputError(f"{what}: no SLURM on this machine (sbatch is missing): run it on a login node")
