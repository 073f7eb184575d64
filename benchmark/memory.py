"""The memory of processes that compute networks: how they take it from the system, and the most that they had.

glibc gives blocks of 32 MB and more back as soon as they are freed, and a network's pass over a full-size case frees
and takes dozens of them: the kernel then clears every page of 4 kB anew, a quarter of the pass. What is computed does
not change with `keeping_memory`. Its settings are read when a process starts, so they are for processes that we start;
other C libraries than glibc (2.35) take no notice.
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"
#: Blocks of any size come from the heap, which does not shrink below a terabyte, and lies in large pages.
_SETTINGS = {
    "glibc.malloc.mmap_max": "0",
    "glibc.malloc.trim_threshold": str(2**40),
    "glibc.malloc.hugetlb": "1",
}


def keeping_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes keep the memory that they freed, for their own use; settings in it come first."""
    present = environment.get(_VARIABLE, "")
    names = {setting.partition("=")[0] for setting in present.split(":")}
    added = [f"{name}={value}" for name, value in _SETTINGS.items() if name not in names]
    return {**environment, _VARIABLE: ":".join(filter(None, [present, *added]))}


def peak_memory_mb() -> int:
    """The most memory that this process ever had, in MB of 2^20 bytes.

    On Linux that is not what `getrusage` says: it counts from the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)
