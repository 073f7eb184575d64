"""One task after the other in a process of its own, which imports once and may die without ending the command."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from leaderboard.parallel import uninterrupted

#: Seconds between two looks whether the process is alive, and those that a process which has closed its pipe may take
#: to end.
_LOOK_EVERY, _TO_END = 1.0, 10.0


def in_turn(
    work: Callable[[Mapping[str, Path], Connection], None], tasks: Mapping[str, Path], limit_s: float | None = None
) -> Generator[tuple[str, Any], None, None]:
    """Yields each task with its outcome; if the process dies or hangs, a new one goes on with the next task.

    Close the generator when it is left early: that ends the process.

    Args:
        work: a function of a module; it is called in the process with the tasks and sends one outcome for each.
        tasks: what `work` is given, by name.
        limit_s: seconds that each may take, the start of a process included, before its process counts as hanging;
            None waits as long as the process lives.

    Yields:
        The name, and what `work` sent or, of the task during which the process died or hung, a text that says so.
    """
    context = multiprocessing.get_context("spawn")
    waiting = dict(tasks)
    while waiting:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(dict(waiting), sender), daemon=True)
        with uninterrupted():  # Ctrl-C is for this process, which then ends the other one
            process.start()
        sender.close()
        try:
            for name in list(waiting):
                del waiting[name]
                try:
                    outcome = _received(receiver, process, limit_s)
                except TimeoutError as error:
                    yield name, str(error)
                    break
                except EOFError:
                    process.join(_TO_END)
                    process.kill()
                    process.join()
                    yield name, f"its process ended with {process.exitcode}"
                    break
                yield name, outcome
        finally:
            process.kill()  # before the pipe is closed, in which it would complain; it has nothing to tidy
            process.join()
            receiver.close()


def _received(receiver: Connection, process: BaseProcess, limit_s: float | None) -> Any:
    """What the process sends next.

    The end of a pipe alone does not tell its death: what it has started may hold the other end open.

    Raises:
        EOFError: it died.
        TimeoutError: it sent nothing within `limit_s`.
    """
    began = time.monotonic()
    while not receiver.poll(_LOOK_EVERY if limit_s is None else min(_LOOK_EVERY, limit_s)):
        if not process.is_alive() and not receiver.poll():
            raise EOFError
        if limit_s is not None and time.monotonic() - began > limit_s:
            raise TimeoutError(f"it was not done after {limit_s:.0f} s")
    return receiver.recv()
