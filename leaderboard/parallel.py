"""The same work on many cases, over the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from leaderboard.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Seconds that a process takes to start and to import what scores. ISLES 2018 takes less altogether.
START_SECONDS = 1.5


def run_tasks(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Do every task; a result comes out as soon as it is there.

    Args:
        work: a function of a module, so that another process finds it.
        tasks: what it is called with.
        jobs: processes; None begins without, and takes all cores once what is left would pay for their start.
        progress: called with (done, total) after each.

    Yields:
        (number of the task, result), in whatever order the tasks end.

    Raises:
        InputError: a process died.
    """
    report = progress or (lambda done, total: None)
    processes = cores() if jobs is None else jobs
    done = 0
    if jobs is None or jobs == 1:
        started = time.perf_counter()
        while done < len(tasks):
            yield done, work(tasks[done])
            done += 1
            report(done, len(tasks))
            if processes > 1 and _pays(time.perf_counter() - started, done, len(tasks), processes):
                break
    if done == len(tasks):
        return
    # spawn: the caller may hold threads and a GPU, which a forked process must not inherit
    workers = ProcessPoolExecutor(
        min(processes, len(tasks) - done), multiprocessing.get_context("spawn"), initializer=_ignore_interrupt
    )
    try:
        with _uninterrupted():
            numbers: dict[Future[Result], int] = {workers.submit(work, tasks[n]): n for n in range(done, len(tasks))}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
            done += 1
            report(done, len(tasks))
    except BrokenProcessPool:
        raise InputError("a process died, perhaps of too little memory: use --jobs 1") from None
    finally:
        workers.shutdown(cancel_futures=True)


def _pays(elapsed: float, done: int, total: int, processes: int) -> bool:
    """Whether the tasks left would end sooner in so many new processes, going by the time of those done."""
    left = elapsed / done * (total - done)
    return left > START_SECONDS + left / processes


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes that are started here never see Ctrl-C, not even while they import; the caller sees it afterwards.

    A new process inherits which signals are blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupt() -> None:
    """Ctrl-C is for the parent, which then ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
