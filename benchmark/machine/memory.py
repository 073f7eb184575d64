"""The memory of processes that compute networks: keep it between passes, and measure its peak.

glibc returns freed blocks of 32 MB and more to the system at once, and a network's pass over a full-size case frees and
takes dozens of them: the kernel then clears every page of 4 kB anew, which takes a quarter of the pass. The environment
from `keeping_memory` makes the processes that we start keep such blocks and ask for large pages; glibc reads it only at
a program's start. `keep_memory` tells a running process, and those it starts, to keep them. Large pages need glibc 2.35
and a kernel whose mode for them is madvise or always; other C libraries ignore all of this.
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
    """An environment whose processes keep freed memory for their own use; settings that it has already win."""
    present = environment.get(_VARIABLE, "")
    names = {setting.partition("=")[0] for setting in present.split(":")}
    added = [f"{name}={value}" for name, value in _SETTINGS.items() if name not in names]
    return {**environment, _VARIABLE: ":".join(filter(None, [present, *added]))}


def keep_memory() -> None:
    """Make this process, and those that it starts from now on, keep freed memory (up to 2 GB at the heap's end)."""
    os.environ.update(keeping_memory(os.environ))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option, value in _MALLOPT.items():
        mallopt(option, value)


def reset_peak_memory() -> None:
    """Return free memory to the system and count the peak anew; not outside Linux and glibc.

    Without it, memory kept from one job (`keeping_memory`) would count for the next.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> int:
    """The most memory that this process had, ever or since `reset_peak_memory`, in MB of 2^20 bytes.

    Not from `getrusage` on Linux, where it starts from the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)
