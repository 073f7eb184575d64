"""The default suite, shortened and killed at random moments, ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmark.configs import find_config, read_yaml
from benchmark.state import read_state

#: Every method of the default suite, two folds.
JOBS = 2 * len(read_yaml(find_config("twin"))["methods"])
#: Longest wait between the moment when a phase is seen and the kill, in seconds.
WAIT = {"training": 4.0, "saving": 0.5, "predicting": 0.5, "scoring": 6.0}


@dataclass(frozen=True)
class Kill:
    """Kill a job in a phase, alone or together with the suite that started it (a power cut)."""

    phase: str
    everything: bool


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The default suite with all of its methods, 10 cases and two epochs."""
    content = read_yaml(find_config("twin")) | {"checkpoint_every_minutes": 0.02}
    content["cohort"] = {"twin": {"cases": 10, "size": 64, "seed": 0}}
    for settings in content["overrides"].values():
        settings["trainer"]["max_epochs"] = 2
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "suite.yaml"


@pytest.mark.slow
def test_the_default_suite_killed_a_dozen_times_ends_with_the_same_bytes(suite: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    in_jobs = ["training"] * 5 + ["saving"] * 3 + ["predicting"] * 3
    rng.shuffle(in_jobs)
    kills = [Kill(phase, rng.random() < 0.4) for phase in in_jobs] + [Kill("scoring", True)] * 2
    seen = run_with(kills, suite, tmp_path / "killed", rng)
    assert Counter(seen) == Counter(kill.phase for kill in kills)
    run_with([], suite, tmp_path / "whole", rng)
    names = [
        path.relative_to(tmp_path / "whole")
        for pattern in ("*/*/fold*/predictions*/*.nii.gz", "*/*/fold*/metrics.csv", "*/leaderboard/*.csv")
        for path in sorted((tmp_path / "whole").glob(pattern))
        if path.name != "costs.csv"
    ]
    assert len(names) > 10 * 9
    different = [
        str(name)
        for name in names
        if (tmp_path / "killed" / name).read_bytes() != (tmp_path / "whole" / name).read_bytes()
    ]
    assert not different


def run_with(kills: list[Kill], suite: Path, out: Path, rng: random.Random) -> list[str]:
    """Give the command again and again until it ends well, killing it as planned; the phases of the kills."""
    command = [sys.executable, "-m", "benchmark", "run", "--config", str(suite), "--out", str(out)]
    planned, seen = list(kills), []
    out.mkdir()
    for _ in range(len(kills) + 2):
        with (out / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None:
            if planned and (place := find(planned[0].phase, out / "twin")):
                time.sleep(rng.uniform(0, WAIT[planned[0].phase]))
                if kill_now(planned[0], place, process):
                    seen.append(planned.pop(0).phase)
            time.sleep(0.002)
        if process.returncode == 0:
            return seen
    raise AssertionError((out / "log.txt").read_text()[-3000:])


def kill_now(kill: Kill, place: int, suite: subprocess.Popen[bytes]) -> bool:
    """Kill as planned; False where the process has ended by itself."""
    if kill.everything:
        if not is_alive(place):
            return False
        os.killpg(suite.pid, signal.SIGKILL)
        suite.wait()
        return True
    try:
        os.kill(place, signal.SIGKILL)
    except ProcessLookupError:
        return False
    while is_alive(place):
        time.sleep(0.01)
    return True


def find(phase: str, root: Path) -> int | None:
    """The process that is in a phase, or 1 for the suite's own scoring; None where nothing is."""
    if phase == "scoring":
        runs = list(jobs(root))
        return 1 if len(runs) == JOBS and all(read_state(run).status == "done" for run in runs) else None
    for run in jobs(root):
        state, process = read_state(run), holder(run)
        if state.status == "running" and process:
            writing = any(f".{process}.tmp" in path.name for path in run.glob("checkpoints/.*.tmp"))
            if (writing and phase == "saving") or state.phase == phase:
                return process
    return None


def jobs(root: Path) -> Iterator[Path]:
    return root.glob("*/fold*")


def holder(run: Path) -> int | None:
    """The living process that works in a run directory."""
    lock = run / ".lock"
    found = re.search(r"process (\d+),", lock.read_text()) if lock.exists() else None
    return int(found[1]) if found and is_alive(int(found[1])) else None


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
