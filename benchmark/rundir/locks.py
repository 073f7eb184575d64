"""One process at a time in a folder: a suite's, or a job's.

The lock is the kernel's and ends with its process, so a dead process blocks nobody; the content of ``.lock`` is for
people.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from benchmark.rundir.names import LOCK


@contextlib.contextmanager
def hold(folder: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder, waiting while another process does.

    Args:
        folder: an existing one.
        busy: called with the owner (host, process, since when) if there is one; may raise instead of waiting.
    """
    # Never through a link: opening would empty its target.
    opened = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    with os.fdopen(opened, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy(_written(folder))
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        lock.write(f"host {platform.node()}, process {os.getpid()}, since {since}\n")
        lock.flush()
        yield


def owner(folder: Path) -> str | None:
    """The process that holds a folder now; None if there is none."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _written(folder)
    return None


def _written(folder: Path) -> str:
    return (folder / LOCK).read_text().strip() or "another process"
