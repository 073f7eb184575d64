"""The same work on many cases, over the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from leaderboard.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Seconds that a process takes to start and to import the scoring code. Scoring all of ISLES 2018 takes less.
START_SECONDS = 1.5
#: Seconds that a process which is told to end has for its clean-up, also if something swallows the order.
END_SECONDS = 5
#: Held while the caller's script is hidden from new processes, by one thread at a time.
_starting = threading.Lock()


def run_tasks(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Do every task; each result is yielded as soon as it is there.

    Args:
        work: a function of a module (not of a script), so that another process can find it.
        tasks: its arguments, one for each call.
        jobs: processes, no more than there are cores; None begins in this process and uses all cores once the rest of
            the work would pay for that.
        progress: called with (done, total) after each.

    Yields:
        (number of the task, result), in whatever order the tasks end.

    Raises:
        InputError: a process died.
    """
    report = progress or (lambda done, total: None)
    processes = min(cores(), jobs or cores())
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
    with workers(min(processes, len(tasks) - done)) as pool:
        with uninterrupted():
            numbers: dict[Future[Result], int] = {pool.submit(work, tasks[n]): n for n in range(done, len(tasks))}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
            done += 1
            report(done, len(tasks))


@contextmanager
def workers(processes: int, initializer: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes; their tasks are ended if the caller is interrupted or fails.

    Submit tasks within `uninterrupted`, since that starts the processes.

    Args:
        processes: how many, at most.
        initializer: a module's function that each process calls first.

    Raises:
        InputError: a process died.
    """
    others = set(multiprocessing.active_children())
    # spawn: the caller may hold threads and a GPU, which a forked process must not inherit
    pool = _Pool(processes, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(initializer,))
    try:
        yield pool
    except BrokenProcessPool:
        raise InputError("a process died, of too little memory or because something ended it: use --jobs 1") from None
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    """A pool whose processes end when they are told to, instead of going on to the next task.

    They do not run the caller's script again, as new processes of multiprocessing do: it need not have the line
    ``if __name__ == "__main__"``.
    """

    def submit(self, work: Callable[..., Result], /, *args: object, **settings: object) -> Future[Result]:
        with _starting:
            script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                return super().submit(_do, work, *args, **settings)
            finally:
                sys.modules["__main__"] = script


def _do(work: Callable[..., Result], /, *args: object, **settings: object) -> Result:
    """Do a task in a process of a pool, which would take its SystemExit for a result."""
    try:
        return work(*args, **settings)
    except SystemExit:
        os._exit(143)


def _pays(elapsed: float, done: int, total: int, processes: int) -> bool:
    """Whether new processes would finish the remaining tasks sooner, judging by the time of those done."""
    left = elapsed / done * (total - done)
    return left > START_SECONDS + left / processes


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes started within never see Ctrl-C, not even while they import; the caller sees it at the end.

    This works because a new process inherits the set of blocked signals.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(initializer: Callable[[], object] | None) -> None:
    """Leave Ctrl-C to the parent, which ends its processes: SIGTERM raises an exception, so that tasks clean up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    if initializer is not None:
        initializer()


def _end_with_caller() -> None:
    """End this process once its caller is gone, which a kill may have kept from ending it."""
    if caller := multiprocessing.parent_process():
        caller.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(END_SECONDS)
        os._exit(143)


def _end(*_: object) -> None:
    """End this process by an exception, once; by force if that is not enough."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    force = threading.Timer(END_SECONDS, os._exit, [143])
    force.daemon = True
    force.start()
    sys.exit(143)
