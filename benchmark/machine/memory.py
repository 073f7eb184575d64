"""The memory of processes that compute networks: how they take it from the system, and the most that they had.

glibc gives blocks of 32 MB and more back as soon as they are freed, and a network's pass over a full-size case frees
and takes dozens of them: the kernel then clears every page of 4 kB anew, a quarter of the pass. Processes that we start
keep them by their environment (`keeping_memory`), which also asks for large pages and counts only when a program
starts; a process that runs already can be told to keep them and to hand this on (`keep_memory`). All this is glibc's
(large pages from 2.35 on, where the kernel's mode for them is madvise or always); other C libraries take no notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"
#: Blocks of any size come from the main thread's heap, which does not shrink below a terabyte and asks for large pages.
_SETTINGS = {
    "glibc.malloc.mmap_max": "0",
    "glibc.malloc.trim_threshold": str(2**40),
    "glibc.malloc.hugetlb": "1",
}
#: M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h, the latter an int in bytes.
_MALLOPT = {-4: 0, -1: 2**31 - 1}


def keeping_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes keep the memory that they freed, for their own use; settings in it come first."""
    present = environment.get(_VARIABLE, "")
    names = {setting.partition("=")[0] for setting in present.split(":")}
    added = [f"{name}={value}" for name, value in _SETTINGS.items() if name not in names]
    return {**environment, _VARIABLE: ":".join(filter(None, [present, *added]))}


def keep_memory() -> None:
    """From now on this process keeps the memory that it freed (up to 2 GB at the end of its heap).

    So do those that it starts from now on in its own environment.
    """
    os.environ.update(keeping_memory(os.environ))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option, value in _MALLOPT.items():
        mallopt(option, value)


def reset_peak_memory() -> None:
    """Give back what is free and count the peak anew; outside Linux and glibc the peak stays that of the whole process.

    Kept memory (`keeping_memory`) would else be counted for whoever comes next.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> int:
    """The most memory that this process had, ever or since `reset_peak_memory`, in MB of 2^20 bytes.

    On Linux that is not what `getrusage` says: it counts from the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)
