"""How long a suite's trainings will take on this machine, before the first job starts.

A training step of each method is timed as its job would do it, in a process of its own, and multiplied by the job's
steps. Small suites are not timed: their jobs tell their pace within seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.cohort.size import voxels_of
from benchmark.commands.in_turn import in_turn
from benchmark.rundir.names import CONFIG
from benchmark.suite.config import is_rule
from benchmark.suite.overview import rough_duration
from benchmark.suite.plan import Job
from leaderboard.cohort.formats import Cohort

#: The cohort's voxels times the epochs of all jobs, from which on a suite is timed. The default suite has 0.06 x 10^9
#: and takes 8 minutes on two cores.
LARGE = 10**8
#: Seconds that the steps of a method may take before its forecast is given up.
LIMIT_S = 600.0


def to_time(jobs: Sequence[Job], cohort: Cohort) -> dict[str, Path]:
    """Run directory of the first job of each method that trains a network; none where the suite is small.

    Args:
        jobs: what is to be done.
        cohort: what they train on; only the headers are read.
    """
    trainings = [job for job in jobs if not is_rule(job.config)]
    epochs = sum(int(job.config.get("trainer", {}).get("max_epochs") or 0) for job in trainings)
    if epochs * sum(voxels_of(cohort).values()) < LARGE:
        return {}
    runs: dict[str, Path] = {}
    for job in trainings:
        runs.setdefault(job.method, job.run)
    return runs


def forecast(
    runs: Mapping[str, Path], tell: Callable[[str], object], progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Seconds of a job's training, by method; a method that cannot be timed is left out, its job will say why.

    Args:
        runs: run directory of a job by method, with its config.
        tell: takes a line about a process that died or hangs, after which no other method is timed.
        progress: called with (done, all).
    """
    found = {}
    with contextlib.closing(in_turn(_time_all, runs, LIMIT_S)) as timed:
        for done, (method, seconds) in enumerate(timed, start=1):
            if isinstance(seconds, str):  # killed, perhaps: too little memory
                tell(f"no forecast: a step of {method} could not be timed: {seconds}")
                break
            if seconds is not None:
                found[method] = float(seconds)
            if progress:
                progress(done, len(runs))
    return found


def _time_all(runs: Mapping[str, Path], sender: Connection) -> None:
    """Time methods in this process; sends seconds, or None, for each. It is ended by who started it, and is silent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    from benchmark.commands.step_timer import training_seconds
    from benchmark.training.loading import quiet_lightning

    quiet_lightning()
    for run in runs.values():
        try:
            sender.send(training_seconds(run / CONFIG))
        except Exception:  # the job itself will say so
            sender.send(None)


def in_words(seconds: Mapping[str, float], jobs: Sequence[Job], at_a_time: int) -> str:
    """One line: how long all trainings take, and each method's.

    Args:
        seconds: of a job, by method.
        jobs: what is to be done.
        at_a_time: how many run beside each other.
    """
    by_method = {method: each * sum(job.method == method for job in jobs) for method, each in seconds.items()}
    longest = sorted(by_method, key=lambda method: -by_method[method])
    parts = ", ".join(f"{method} {rough_duration(by_method[method] / at_a_time)}" for method in longest)
    beside = f", {at_a_time} jobs at a time" if at_a_time > 1 else ""
    return (
        f"about {rough_duration(sum(by_method.values()) / at_a_time)} of training on this machine ({parts}): a step of "
        f"each, timed just now, times its steps{beside}; validation and prediction come on top"
    )
