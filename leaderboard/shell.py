"""What surrounds every command of both programs: exit status, errors in a line each, readers that leave, interrupts."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leaderboard.errors import InputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Exit statuses after Ctrl-C and SIGTERM, as shells have them.
INTERRUPTED, TERMINATED = 130, 143


def run_command(program: str, parse: Callable[[], argparse.Namespace]) -> int:
    """Run one command to its end, whoever listens.

    Where the reader of the output leaves early (``| head -1``), the command goes on, writes its files and has the exit
    status that it would have had.

    Args:
        program: what begins each line on stderr.
        parse: gives the arguments; their ``command`` is called with them and returns the exit status, and their
            ``interrupted``, if any, is what is said after an interrupt.

    Returns:
        The command's own exit status, or 1: the input is at fault, memory or disk do not suffice; 130: interrupted.

    Raises:
        SystemExit: argparse's, of 0 after help and 2 after wrong usage, or one that the command raised.
    """

    def complain(text: str) -> None:
        print(f"{program}: {text}", file=sys.stderr)

    interrupted = "interrupted"
    with _lasting_streams():
        try:
            options = parse()
            interrupted = getattr(options, "interrupted", interrupted)
            status: int = options.command(options)
            sys.stdout.flush()
            return status
        except InputError as error:
            for problem in error.problems:
                complain(problem)
        except KeyboardInterrupt:
            complain(interrupted)
            return INTERRUPTED
        except SystemExit as end:
            if end.code == TERMINATED:
                complain(interrupted)
            raise
        except (MemoryError, ImportError, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            complain("there is too little memory: take fewer processes (--jobs), methods or --resamples")
        except OSError as error:
            where, fault = error.filename or "the system", error.strerror or error
            complain(f"{where}: cannot be read or written ({fault}): check the path, the disk and the permissions")
        return 1


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that memory or address space (``ulimit -v``) is used up, in whatever words."""
    words = ("failed to map segment", "cannot allocate memory", "can't start new thread", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


@contextlib.contextmanager
def polite_end() -> Iterator[None]:
    """SIGTERM raises SystemExit, so that what the command has started is ended first."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Output(io.FileIO):
    """A standard stream; once it cannot be written, what follows goes nowhere, that of other processes too."""

    def write(self, data: ReadableBuffer) -> int:
        """Write as a file does, and do as if it had been written where the reader has left.

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
    """Standard output and error that outlive their readers, and show somehow what a terminal cannot show."""
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
    raw = getattr(stream.buffer, "raw", stream.buffer)  # PYTHONUNBUFFERED leaves the buffer out
    if not isinstance(raw, io.FileIO):
        return stream  # something of a program that calls ours
    stream.flush()
    output = _Output(raw.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        output if raw is stream.buffer else io.BufferedWriter(output),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
