"""The default suite, shortened and killed at random moments, ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmark.rundir.state import read_state
from benchmark.suite.config_files import find_config, read_yaml

TWIN = read_yaml(find_config("twin"))
#: Every method of the default suite, two folds.
JOBS = 2 * len(TWIN["methods"])
#: Each that trains is killed in training, and once more: where it saves (large ones take long enough to be caught) or
#: predicts.
AGAIN = {
    "multiscale_resnet": "saving",
    "fcn3d_crf": "saving",
    "residual_unet": "predicting",
    "ms_dcnn": "saving",
    "strokenet": "predicting",
    "plain_unet": "predicting",
}
#: Longest wait between the moment when a phase is seen and the kill, in seconds; a phase over by then is not killed in.
WAIT = {"training": 4.0, "saving": 0.003, "predicting": 0.3, "scoring": 0.5}


@dataclass(frozen=True)
class Kill:
    """Kill a method's job in a phase, alone or together with the suite that started it (a power cut).

    Without a method: the suite, which scores.
    """

    phase: str
    method: str
    everything: bool


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The default suite with all of its methods, 10 cases and two epochs."""
    content = read_yaml(find_config("twin"))
    content["cohort"] = {"twin": {"cases": 10, "size": 64, "seed": 0}}
    for settings in content["overrides"].values():
        settings["trainer"]["max_epochs"] = 2
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "suite.yaml"


@pytest.mark.slow
def test_the_default_suite_killed_a_dozen_times_ends_with_the_same_bytes(suite: Path, tmp_path: Path) -> None:
    assert set(AGAIN) == {method for method in TWIN["methods"] if method in TWIN["overrides"]}
    rng = random.Random(5)
    kills = [Kill(phase, method, rng.random() < 0.4) for method in AGAIN for phase in ("training", AGAIN[method])]
    kills += [Kill("scoring", "", True)] * 2
    run_with(kills, suite, tmp_path / "killed", rng)
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


def run_with(kills: list[Kill], suite: Path, out: Path, rng: random.Random) -> None:
    """Give the command again and again until it ends well, killing it as planned."""
    command = [sys.executable, "-m", "benchmark", "run", "--config", str(suite), "--out", str(out)]
    planned = list(kills)
    out.mkdir()
    for _ in range(len(kills) + 1):
        with (out / "log.txt").open("ab") as log:
            already = log.tell()
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None:
            if kill := next((kill for kill in planned if find(kill, out / "twin", process.pid, already)), None):
                time.sleep(rng.uniform(0, WAIT[kill.phase]))
                if kill_now(kill, out / "twin", process, already):
                    planned.remove(kill)
            time.sleep(0.002)
        if process.returncode == 0:
            assert not planned, f"ended before it could be killed: {planned}"
            return
    raise AssertionError((out / "log.txt").read_text()[-3000:])


def kill_now(kill: Kill, root: Path, suite: subprocess.Popen[bytes], already: int) -> bool:
    """Kill the process in a phase, which is checked while it is stopped; False if the phase is over by now."""
    if (place := find(kill, root, suite.pid, already)) is None:
        return False
    try:
        os.kill(place, signal.SIGSTOP)
        while is_alive(place) and status(place) != "T":
            time.sleep(0.0001)
        if find(kill, root, suite.pid, already) != place:
            os.kill(place, signal.SIGCONT)
            return False
        if kill.everything:
            os.killpg(suite.pid, signal.SIGKILL)
            suite.wait()
        else:
            os.kill(place, signal.SIGKILL)
    except ProcessLookupError:
        return False
    while is_alive(place):
        time.sleep(0.01)
    return True


def find(kill: Kill, root: Path, suite: int, already: int) -> int | None:
    """A living process in a phase: a job's, or, for scoring, the suite's; None where nothing is in it.

    The suite scores once all jobs are done and its log, of which `already` bytes are earlier calls', says so.
    """
    if kill.phase == "scoring":
        with (root.parent / "log.txt").open("rb") as log:
            log.seek(already)
            said = log.read()
        over = f"{JOBS} of {JOBS} jobs are done already".encode() in said or f"[{JOBS}/{JOBS}]".encode() in said
        return suite if over and b"Written to" not in said and is_alive(suite) else None
    for run in root.glob(f"{kill.method}/fold*"):
        state, process = read_state(run), holder(run)
        if state.status == "running" and process:
            writing = any(f".{process}.tmp" in path.name for path in run.glob("checkpoints/.*.tmp"))
            if writing if kill.phase == "saving" else state.phase == kill.phase:
                return process
    return None


def holder(run: Path) -> int | None:
    """The living process that works in a run directory."""
    lock = run / ".lock"
    found = re.search(r"process (\d+),", lock.read_text()) if lock.exists() else None
    return int(found[1]) if found and is_alive(int(found[1])) else None


def is_alive(process: int) -> bool:
    return status(process) not in ("", "Z")


def status(process: int) -> str:
    """One letter, as in proc(5); empty where there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
