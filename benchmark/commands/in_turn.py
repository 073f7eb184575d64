"""One task after the other in a process of its own, which imports once and may die without ending the command."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from leaderboard.parallel import uninterrupted


def in_turn(
    work: Callable[[Mapping[str, Path], Connection], None], tasks: Mapping[str, Path]
) -> Generator[tuple[str, Any], None, None]:
    """Yields each task with its outcome; if the process dies, a new one goes on with the next task.

    Close the generator when it is left early: that ends the process.

    Args:
        work: a function of a module; it is called in the process with the tasks and sends one outcome for each.
        tasks: what `work` is given, by name.

    Yields:
        The name, and what `work` sent or, of the task during which the process died, a text that says so.
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
                    yield name, receiver.recv()
                except EOFError:
                    process.join()
                    yield name, f"its process ended with {process.exitcode}"
                    break
        finally:
            process.kill()  # before the pipe is closed, in which it would complain; it has nothing to tidy
            process.join()
            receiver.close()
