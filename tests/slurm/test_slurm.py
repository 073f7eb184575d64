"""Suites on a real SLURM (`.ci/slurm-up` brings one up): whatever happens, they end with the local launcher's bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from toy import BROKEN, bytes_of, make_project, run

from benchmark.cli import main
from benchmark.cohort.twin import write_twin
from benchmark.launchers.slurm import job_ids, read_queue
from benchmark.rundir.state import read_state

pytestmark = pytest.mark.slurm

ARGUMENTS = ["--methods", "all_background,toy", "--set", "data.batch_size=2"]
#: Enough epochs to be interrupted in.
LONG = ["--methods", "toy", "--set", "data.batch_size=2", "--set", "trainer.max_epochs=150"]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    if shutil.which("sinfo") is None or subprocess.run(["sinfo", "-h"], capture_output=True).returncode:
        pytest.exit("no SLURM is up: run .ci/slurm-up as root on Debian, or go to a login node", returncode=1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of two slices."""
    whole, part = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("tree")
    write_twin(whole / "cohort", cases=24, size=32, seed=1, jobs=1)
    for number in (18, 19, 20, 21, 22, 24):
        shutil.copytree(whole / "cohort" / "TRAINING" / f"case_{number}", part / "TRAINING" / f"case_{number}")
    return part


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = make_project(tmp_path, monkeypatch)
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    suite |= {"slurm": {"time_minutes": 20, "cpus_per_task": 1}}
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    yield folder
    subprocess.run(["scancel", "--me"], check=False)


@pytest.fixture(scope="module")
def undisturbed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of suites that ran with the local launcher: short and long."""
    folders = {}
    for name, arguments in (("short", ARGUMENTS), ("long", LONG)):
        with pytest.MonkeyPatch.context() as patch:
            folder = make_project(tmp_path_factory.mktemp(name), patch)
            assert run(tree, *arguments) == 0
        folders[name] = folder / "runs" / "small"
    return folders


def assert_same(one: Path, other: Path) -> None:
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md"):
        assert (one / "leaderboard" / name).read_bytes() == (other / "leaderboard" / name).read_bytes(), name
    for path in one.glob("*/fold*/predictions/*.nii.gz"):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()


def start(tree: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmark", "run", "--config", "suite.yaml", "--cohort", str(tree)]
    return subprocess.Popen(
        [*command, "--launcher", "slurm", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def trained(job: Path, epochs: int) -> bool:
    return any(int(re.findall(r"epoch=(\d+)", path.name)[0]) >= epochs for path in (job / "checkpoints").glob("epoch*"))


def process_of(job: Path) -> int:
    return int(re.findall(r"process (\d+),", (job / ".lock").read_text())[0])


def test_an_array_of_all_jobs_ends_with_the_bytes_of_the_local_launcher(
    project: Path, tree: Path, undisturbed: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, *ARGUMENTS, "--launcher", "slurm") == 0
    suite = project / "runs" / "small"
    assert_same(undisturbed["short"], suite)
    ids = job_ids(suite.glob("*/fold*")).values()
    assert len({job_id.partition("_")[0] for job_id in ids}) == 1
    assert len(ids) == 4
    assert run(tree, *ARGUMENTS, "--launcher", "slurm") == 0
    assert "4 of 4 jobs are done already" in capsys.readouterr().out


def test_the_trainings_of_several_seeds_continue_where_each_was_killed(project: Path, tree: Path) -> None:
    suite = yaml.safe_load((project / "suite.yaml").read_text()) | {"seeds": [0, 1]}
    (project / "suite.yaml").write_text(yaml.safe_dump(suite))
    asked = [*LONG, "--folds", "0"]
    assert run(tree, *asked, out="local") == 0
    runs = [project / "runs" / "small" / "toy" / "fold0" / f"seed{seed}" for seed in (0, 1)]
    process = start(tree, *asked)
    for job in runs:
        wait_for(lambda job=job: trained(job, 5))
    subprocess.run(["scontrol", "requeue", job_ids(runs)[runs[0]]], check=True)
    os.kill(process_of(runs[1]), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert [read_state(job).status for job in runs] == ["done", "failed"]
    assert run(tree, *asked, "--launcher", "slurm") == 0
    for job in runs:
        assert bytes_of(job) == bytes_of(project / "local" / job.relative_to(project / "runs"))


def test_killed_and_requeued_jobs_continue_to_the_same_bytes(
    project: Path, tree: Path, undisturbed: dict[str, Path]
) -> None:
    suite = project / "runs" / "small"
    first, second = (suite / "toy" / f"fold{fold}" for fold in (0, 1))
    process = start(tree, *LONG)
    wait_for(lambda: trained(first, 5))
    subprocess.run(["scontrol", "requeue", job_ids([first])[first]], check=True)
    wait_for(lambda: trained(second, 5))
    os.kill(process_of(second), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert read_state(first).status == "done"
    assert "was killed by SIGKILL" in read_state(second).reason
    assert run(tree, *LONG, "--launcher", "slurm") == 0
    assert_same(undisturbed["long"], suite)


def test_a_signalled_time_limit_requeues_the_job_by_itself(
    project: Path, tree: Path, undisturbed: dict[str, Path]
) -> None:
    suite = project / "runs" / "small"
    job = suite / "toy" / "fold0"
    process = start(tree, *LONG)
    wait_for(lambda: trained(job, 5))
    # What SLURM sends before the limit, to every process of the step.
    subprocess.run(["scancel", "--signal=USR2", job_ids([job])[job]], check=True)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "interrupted" in (job / "log.txt").read_text()
    assert_same(undisturbed["long"], suite)


def test_an_interrupted_command_leaves_its_jobs_which_the_next_one_finds(
    project: Path, tree: Path, undisturbed: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    suite = project / "runs" / "small"
    job = suite / "toy" / "fold0"
    process = start(tree, *LONG)
    wait_for(lambda: trained(job, 3))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stay in SLURM's queue: benchmark cancel ends them" in output
    before = job_ids(suite.glob("*/fold*"))
    assert job_ids([job])[job] in read_queue(before.values())
    assert run(tree, *LONG, "--set", "trainer.max_epochs=151", "--launcher", "slurm") == 1
    assert "is under way with other inputs: benchmark cancel ends it" in capsys.readouterr().err
    assert run(tree, *LONG) == 1
    assert f"{job}: is in SLURM's queue as {before[job]}: give --launcher slurm" in capsys.readouterr().err
    assert run(tree, *LONG, "--launcher", "slurm") == 0
    assert "under way from an earlier call" in capsys.readouterr().out
    assert job_ids(suite.glob("*/fold*")) == before
    assert_same(undisturbed["long"], suite)


def test_cancel_ends_the_jobs_and_the_next_run_takes_them_up(
    project: Path, tree: Path, undisturbed: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    suite = project / "runs" / "small"
    job = suite / "toy" / "fold0"
    process = start(tree, *LONG)
    wait_for(lambda: trained(job, 3))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert main(["cancel", "--config", "suite.yaml"]) == 0
    assert "jobs ended" in capsys.readouterr().out
    assert not read_queue(job_ids(suite.glob("*/fold*")).values())
    assert read_state(job).status == "pending"
    assert main(["cancel", "--config", "suite.yaml"]) == 0
    assert "none of the suite's jobs is queued or runs elsewhere" in capsys.readouterr().out
    assert run(tree, *LONG, "--launcher", "slurm") == 0
    assert_same(undisturbed["long"], suite)


@pytest.mark.parametrize("how", [[], ["--signal=KILL"]])
def test_a_cancelled_job_is_reported_and_taken_up_by_the_next_run(
    project: Path, tree: Path, undisturbed: dict[str, Path], how: list[str]
) -> None:
    suite = project / "runs" / "small"
    job = suite / "toy" / "fold1"
    process = start(tree, *LONG)
    wait_for(lambda: trained(job, 3))
    subprocess.run(["scancel", *how, job_ids([job])[job]], check=True)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert read_state(job).status == "failed"
    assert "toy fold 1" in output
    assert run(tree, *LONG, "--launcher", "slurm") == 0
    assert_same(undisturbed["long"], suite)


def test_a_failing_job_comes_back_with_its_reason(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, "--methods", "broken,all_background", "--launcher", "slurm") == 1
    assert re.search(BROKEN, capsys.readouterr().out)
    assert "Traceback" in (project / "runs" / "small" / "broken" / "fold0" / "log.txt").read_text()


def test_two_tasks_are_the_two_processes_of_one_job(project: Path, tree: Path) -> None:
    suite = yaml.safe_load((project / "suite.yaml").read_text())
    suite["slurm"]["tasks_per_node"] = 2
    (project / "suite.yaml").write_text(yaml.safe_dump(suite))
    assert run(tree, *ARGUMENTS, "--methods", "toy", "--set", "trainer.devices=2", "--launcher", "slurm") == 0
    jobs = [project / "runs" / "small" / "toy" / f"fold{fold}" for fold in (0, 1)]
    assert [json.loads((job / "provenance.json").read_text())["devices"] for job in jobs] == [2, 2]
    written = sorted(path.name for job in jobs for path in (job / "predictions").iterdir())
    assert written == [f"case_{number}.nii.gz" for number in (18, 19, 20, 21, 22, 24)]


def test_what_sbatch_refuses_is_told(project: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = yaml.safe_load((project / "suite.yaml").read_text())
    for settings, words in ({"partition": "nowhere"}, "partition"), ({"speed": 3}, "slurm.speed: no such setting"):
        (project / "suite.yaml").write_text(yaml.safe_dump(suite | {"slurm": settings}))
        assert run(tree, *ARGUMENTS, "--launcher", "slurm") == 1
        assert words in capsys.readouterr().err
