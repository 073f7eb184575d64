"""What surrounds every command of both programs: exit status, one-line errors, readers that leave, interrupts."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leaderboard.errors import InputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def run_command(program: str, parse: Callable[[], argparse.Namespace]) -> int:
    """Run one command to its end, even if nobody reads its output.

    If the reader of the output leaves early (``| head -1``), the command goes on, writes its files and has the exit
    status that it would have had.

    Args:
        program: its name, which begins each line on stderr.
        parse: returns the arguments; their ``command`` is called with them and returns the exit status, and their
            ``interrupted``, if any, is printed after an interrupt.

    Returns:
        The command's own exit status, or 1: the input is at fault, or memory or disk space ran out; 130 after Ctrl-C
        (SIGINT) and 143 after SIGTERM, as in shells, whatever the command was doing.

    Raises:
        SystemExit: argparse's, of 0 after help and 2 after wrong usage, or one that the command raised.
    """

    def complain(text: str) -> None:
        print(f"{program}: {text}", file=sys.stderr)

    _start_safely()
    interrupted = "interrupted"
    with _lasting_streams(), _ending_signals() as came:
        try:
            options = parse()
            interrupted = getattr(options, "interrupted", interrupted)
            status: int = options.command(options)
            sys.stdout.flush()
            if came:
                raise KeyboardInterrupt  # something swallowed what the signal raised
            return status
        except BaseException as error:
            if came or isinstance(error, KeyboardInterrupt):
                # even if a library turned the signal into something else: Lightning makes exit(1) of Ctrl-C
                complain(interrupted)
                return 128 + (came[0] if came else signal.SIGINT)
            if not isinstance(error, Exception):
                raise
            for problem in _problems(error):
                complain(problem)
        return 1


def progress_lines(
    say: Callable[[str], object], *, every: float = 10.0, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int], None]:
    """What to call with (done, total) of long work whose progress is told in lines, as in a file or a pipe.

    Args:
        say: takes a line such as ``3 of 12, about 90 s left``.
        every: seconds from a task's first call to its first line, and between two; what ends earlier says nothing.
        clock: the time in seconds.
    """
    began = told = clock()
    before: int | None = None
    since = 0

    def progress(done: int, total: int) -> None:
        nonlocal began, told, before, since
        now = clock()
        if before is None or done < before:  # the first call, which may be long after the start, or another task
            began, told, since = now, now, done
        before = done
        if now - told >= every and since < done < total:
            told = now
            left = (now - began) / (done - since) * (total - done)
            say(f"{done} of {total}, about {_rough(left)} left")

    return progress


def _rough(seconds: float) -> str:
    """A duration as ``45 s``, ``12 min`` or ``3 h``."""
    for unit, length in (("s", 1), ("min", 60)):
        if seconds < 90 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 3600:.0f} h"


def _start_safely() -> None:
    """Keep the working directory off the module path of processes that are started from now on.

    A clone that is not installed is found only through the working directory; it is put on ``PYTHONPATH``, so that
    these processes find it too.
    """
    os.environ["PYTHONSAFEPATH"] = "1"  # like python -P, also for those that libraries start
    home, named = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")
    if sys.path[:1] == [home] and home not in named.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, named]))


def _problems(error: Exception) -> Sequence[str]:
    """One line for each fault.

    Raises:
        Exception: the error itself, if it is a bug.
    """
    if isinstance(error, InputError):
        return error.problems
    if isinstance(error, MemoryError | ImportError | RuntimeError) and _is_lack_of_memory(error):
        return ["there is too little memory: take fewer processes (--jobs), methods or --resamples"]
    if isinstance(error, OSError):
        where, fault = error.filename or "the system", error.strerror or error
        return [f"{where}: cannot be read or written ({fault}): check the path, the disk and the permissions"]
    raise error


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that memory or address space (``ulimit -v``) is used up, however it words that."""
    words = ("failed to map segment", "cannot allocate memory", "can't start new thread", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


@contextlib.contextmanager
def _ending_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the command at any point by an exception, after what it has started is ended.

    A signal that is ignored from the start (``nohup``, ``&`` in a script) stays ignored. Outside the main thread of a
    program that calls ours, nothing is changed.

    Yields:
        The signals that have come.
    """
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def unraisable(swallowed: sys.UnraisableHookArgs) -> None:
        """Send the signal again if its exception was swallowed, as within callbacks of the interpreter (in imports)."""
        if came and isinstance(swallowed.exc_value, KeyboardInterrupt | SystemExit):
            threading.Timer(0.01, os.kill, (os.getpid(), came[-1])).start()
        else:
            hook(swallowed)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


class _Output(io.FileIO):
    """A standard stream; once it cannot be written, further output goes nowhere, that of child processes too."""

    def write(self, data: ReadableBuffer) -> int:
        """Write as a file does; if the reader has left, act as if it had been written.

        Raises:
            OSError: it cannot be written for another reason, such as a full disk.
        """
        try:
            return super().write(data)
        except OSError as error:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            if isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            error.filename = "the output"
            raise


@contextlib.contextmanager
def _lasting_streams() -> Iterator[None]:
    """Standard output and error that survive their readers, with escapes for what a terminal cannot show."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_lasting, before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed from the start (``>&-``)
        return Path(os.devnull).open("w")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)  # with PYTHONUNBUFFERED there is no buffer
    if not isinstance(raw, io.FileIO):
        return stream  # not a file: set by a program that calls ours
    stream.flush()
    output = _Output(raw.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        output if raw is stream.buffer else io.BufferedWriter(output),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
