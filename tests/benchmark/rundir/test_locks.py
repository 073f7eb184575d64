"""One process at a time in a folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.rundir.locks import hold, owner

#: Holds a folder until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from benchmark.rundir.locks import hold
with hold(Path(sys.argv[1]), busy=print):
    print("held", flush=True)
    time.sleep(60)
"""


def unexpected(owner: str) -> None:
    pytest.fail(f"{owner} holds the folder")


def test_a_folder_has_an_owner_while_it_is_held_and_none_before_and_after(tmp_path: Path) -> None:
    for _ in range(2):
        assert owner(tmp_path) is None
        with hold(tmp_path, unexpected):
            said = owner(tmp_path)
            assert said is not None
            assert said.startswith(f"host {platform.node()}, process {os.getpid()}, since 20")
    assert owner(tmp_path) is None


def test_a_held_folder_is_refused_with_its_owner_and_stays_held(tmp_path: Path) -> None:
    def refuse(who: str) -> None:
        raise RuntimeError(who)

    with hold(tmp_path, unexpected):
        with pytest.raises(RuntimeError, match=f"process {os.getpid()}, since"), hold(tmp_path, refuse):
            pytest.fail("held twice")
        assert owner(tmp_path) is not None


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert f"process {holder.pid}," in str(owner(tmp_path))
        holder.kill()
    assert owner(tmp_path) is None
    with hold(tmp_path, unexpected):
        pass
