from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from benchmark.machine.memory import keeping_memory, peak_memory_mb

#: Takes 64 MB and gives them back, twenty times; prints how often the kernel had to hand out a page.
WORK = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = bytearray(b"x") * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(environment: dict[str, str], before: str = "") -> int:
    command = [sys.executable, "-c", before + WORK]
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or tuple(map(int, platform.libc_ver()[1].split(".")[:2])) < (2, 35),
    reason="for glibc from 2.35 on",
)
def test_memory_that_a_process_freed_is_not_handed_out_by_the_kernel_again() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    assert pages(keeping_memory(plain)) < pages(plain) / 5
    assert pages(plain, "from benchmark.machine.memory import keep_memory; keep_memory()") < pages(plain) / 5


def test_settings_of_the_user_come_before_ours_and_the_rest_of_the_environment_stays() -> None:
    found = keeping_memory({"PATH": "/bin", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0:glibc.malloc.check=1"})
    assert found["PATH"] == "/bin"
    settings = found["GLIBC_TUNABLES"].split(":")
    assert settings[:2] == ["glibc.malloc.hugetlb=0", "glibc.malloc.check=1"]
    assert sorted(setting.split("=")[0] for setting in settings[2:]) == [
        "glibc.malloc.mmap_max",
        "glibc.malloc.trim_threshold",
    ]


def test_an_environment_that_keeps_memory_is_left_as_it_is() -> None:
    once = keeping_memory({})
    assert keeping_memory(once) == once


def test_peak_memory_is_what_a_process_had_at_most_and_not_what_started_it_had() -> None:
    ask = "from benchmark.machine.memory import peak_memory_mb; print(peak_memory_mb())"
    start = f"import subprocess, sys; block = bytearray(b'x') * 2**29; subprocess.run([sys.executable, '-c', {ask!r}])"
    took = f"block = bytearray(b'x') * 2**28; del block; {ask}"
    small, large = (
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for code in (start, took)
    )
    assert small < 100
    assert 256 <= large < 356
    assert peak_memory_mb() > small
