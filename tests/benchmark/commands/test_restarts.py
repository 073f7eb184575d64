"""Interrupted and damaged jobs end with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from toy import SUITE, make_project, run

from benchmark.cli import main
from benchmark.rundir.digests import damaged_results
from benchmark.rundir.locks import hold, owner
from benchmark.rundir.state import read_state, write_state
from benchmark.suite.overview import Overview
from benchmark.training.checkpoints import newest_checkpoint
from benchmark.training.job import _costs_of_sound_fit
from benchmark.training.wandb_sink import wandb_logger


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def gone(content: bytes) -> None:
    return None


def written_at(path: Path) -> int:
    """When a file was written, in ns: a training that takes as long as the one before is seen all the same."""
    return path.stat().st_mtime_ns


JOB = "toy/fold0"
#: Files below the suite's folder, what happens to them, and what the next run does: predict again, train again, write
#: the file again, recover what it says from elsewhere, or refuse to go on until it is told to.
DAMAGES = {
    "masks": ([(f"{JOB}/predictions/*.nii.gz", damage) for damage in (flipped, truncated, gone)], "predicts"),
    "maps": ([(f"{JOB}/probabilities/*.nii.gz", damage) for damage in (flipped, gone)], "predicts"),
    "checkpoint": ([(f"{JOB}/checkpoints/last.ckpt", flipped)], "trains"),
    "provenance": ([(f"{JOB}/provenance.json", truncated)], "trains"),
    "config": ([(f"{JOB}/config.yaml", truncated)], "predicts"),
    "state": ([(f"{JOB}/state.json", truncated)], "recovers"),
    "lost state": ([(f"{JOB}/state.json", gone)], "recovers"),
    "lost state and config": ([(f"{JOB}/state.json", gone), (f"{JOB}/config.yaml", gone)], "refuses"),
    "folds": ([("folds.csv", lambda content: content.replace(b",0,", b",1,", 1))], "refuses"),
    "cache": (
        [
            ("../cache/*/image.npy", flipped),
            ("../cache/*/reference.npy", truncated),
            ("../cache/*/meta.json", gone),
            ("../cache/*/meta.json", flipped),
            ("../cache/digests/*", flipped),
        ],
        "writes",
    ),
    "scores": ([("leaderboard-fold0/cases.csv", truncated), ("leaderboard-fold0/leaderboard.csv", gone)], "writes"),
}


@pytest.mark.parametrize(("damages", "remedy"), DAMAGES.values(), ids=DAMAGES)
def test_what_was_damaged_after_a_job_is_noticed_and_never_scored(
    finished: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    damages: list[tuple[str, Callable[[bytes], bytes | None]]], remedy: str,
) -> None:  # fmt: skip
    suite = make_project(tmp_path, monkeypatch) / "runs" / "small"
    shutil.copytree(finished / "runs", tmp_path / "runs")
    predicted = [path for kind in ("predictions", "probabilities") for path in (suite / JOB / kind).iterdir()]
    assert len(predicted) == 6
    compared = [*predicted, *(suite / "leaderboard-fold0").glob("[cl]*.csv")]
    sound = {path: path.read_bytes() for path in (*compared, suite / JOB / "metrics.csv") if path.name != "costs.csv"}
    provenance = suite / JOB / "provenance.json"
    trained = json.loads(provenance.read_text())["costs"]["fit_seconds"]
    damaged = []
    for place, (name, damage) in enumerate(damages):
        found = sorted(suite.glob(name))
        damaged.append(damage_file(found[place % len(found)].resolve(), damage))
    written = written_at(suite / JOB / "metrics.csv")

    status = run(tree, "--methods", "toy", "--folds", "0")
    said = capsys.readouterr()
    if remedy == "refuses":
        assert status == 1
        assert f"{suite / JOB}" in said.err
        assert "--restart-changed" in said.err
        return
    assert status == 0
    assert all(path.read_bytes() == content for path, content in sound.items())
    if remedy == "recovers":
        assert json.loads(provenance.read_text())["costs"]["fit_seconds"] == trained
    elif remedy != "writes":
        names = ", ".join(str(path.relative_to(suite / JOB)) for path in damaged)
        assert f"changed after its job, made again: {names}" in said.out.replace("\n", "")
        costs = json.loads(provenance.read_text())["costs"]
        assert (written_at(suite / JOB / "metrics.csv") == written) == (remedy == "predicts")
        if remedy == "predicts":
            assert costs["fit_seconds"] == trained
        assert (costs["steps"], costs["slices_seen"]) == (2, 16)  # whether it was trained again or not


def damage_file(path: Path, damage: Callable[[bytes], bytes | None]) -> Path:
    content = damage(path.read_bytes())
    assert content != path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return path


def test_damage_is_told_before_other_inputs_are_refused_and_no_run_directory_is_made(
    finished: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = make_project(tmp_path, monkeypatch) / "runs" / "small"
    shutil.copytree(finished / "runs", tmp_path / "runs")
    mask = next((suite / JOB / "predictions").iterdir())
    mask.write_bytes(b"")
    before = sorted(suite.rglob("*"))
    assert run(tree, "--methods", "toy,all_background", "--set", "trainer.max_epochs=3") == 1
    said = capsys.readouterr()
    assert f"changed after its job, made again: predictions/{mask.name}" in said.out.replace("\n", "")
    assert "was made with trainer.max_epochs 2 (now 3)" in said.err
    assert sorted(suite.rglob("*")) == before


@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "metrics.csv", "provenance.json"])
@pytest.mark.parametrize("damage", [flipped, truncated, gone])
def test_damage_to_anything_but_a_mask_means_training_again(
    finished: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes | None]
) -> None:
    job = tmp_path / "job"
    shutil.copytree(finished / "runs" / "small" / JOB, job)
    assert not damaged_results(job)
    assert _costs_of_sound_fit(job) is not None
    damage_file(job / name, damage)
    assert name in damaged_results(job)
    assert _costs_of_sound_fit(job) is None


def test_a_refused_fold_file_changes_nothing_and_a_job_notices_other_folds_by_itself(
    finished: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = make_project(tmp_path, monkeypatch) / "runs" / "small"
    shutil.copytree(finished / "runs", tmp_path / "runs")
    own = (suite / "folds.csv").read_bytes()
    other = own.replace(b",0,", b",x,").replace(b",1,", b",0,").replace(b",x,", b",1,")
    (tmp_path / "folds.csv").write_bytes(other)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"folds": {"file": "folds.csv"}}))
    assert run(tree, "--methods", "toy", "--folds", "0") == 1
    assert "--restart-changed" in capsys.readouterr().err
    assert (suite / "folds.csv").read_bytes() == own
    # A job that is started again without the suite, as a scheduler does that requeues it.
    config = yaml.safe_load((suite / JOB / "config.yaml").read_text())
    config["data"]["folds"] = str(tmp_path / "folds.csv")
    (suite / JOB / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["job", str(suite / JOB)]) == 1
    assert "holds other folds than" in read_state(suite / JOB).reason


def test_a_folder_that_cannot_be_used_stops_one_method_alone(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "runs" / "small").mkdir(parents=True)
    (project / "runs" / "small" / "toy").write_text("a file in the folder's place")
    assert run(tree, "--folds", "0") == 1
    said = capsys.readouterr().out.replace("\n", "")
    assert f"failed: toy fold 0: {project / 'runs' / 'small' / JOB}: cannot be written to" in said
    assert "all_background" in (project / "runs" / "small" / "leaderboard-fold0" / "leaderboard.csv").read_text()


def test_a_restarted_job_is_one_run_of_wandb_and_no_other_jobs(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr("wandb.init", lambda **options: begun.append(options) or MagicMock())
    job = finished / "runs" / "small" / JOB
    shutil.copytree(job, tmp_path / "other" / JOB)
    seeded = tmp_path / "small" / JOB / "seed3"
    shutil.copytree(job, seeded)
    notes = {"method": "toy", "fold": 0, "name": "small"}
    for run_directory in (job, job, tmp_path / "other" / JOB):
        wandb_logger(run_directory, notes)
    wandb_logger(seeded, notes | {"seed": 3})
    ids = [options["id"] for options in begun]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert [(options["group"], options["name"], options["dir"]) for options in begun[2:]] == [
        ("small", "toy/fold0", tmp_path / "other"),
        ("small/toy", "toy/fold0/seed3", tmp_path / "small"),  # its trainings are a group of their own
    ]


#: Batches of two slices give each epoch four steps.
SHORT = ["--methods", "toy", "--folds", "0", "--set", "data.batch_size=2", "--set", "trainer.max_epochs=4"]
STEPS = 4


@pytest.fixture(scope="module")
def undisturbed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a suite whose job was not disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        suite = make_project(tmp_path_factory.mktemp("undisturbed"), patch) / "runs" / "small"
        assert run(tree, *SHORT) == 0
    return suite


@pytest.mark.parametrize("place", ["KILL step 5", "KILL saving 8", "KILL predicting 1", "TERM epoch 2"])
def test_a_job_killed_anywhere_continues_from_its_last_epoch_to_the_same_bytes(
    undisturbed: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    suite = make_project(tmp_path, monkeypatch) / "runs" / "small"
    checkpoints = suite / JOB / "checkpoints"
    number, kind, count = place.split()
    (tmp_path / "signal").write_text(f"{int(signal.Signals['SIG' + number])} {kind} {count}")
    assert run(tree, *SHORT) == 1
    assert not (tmp_path / "signal").exists()
    assert not (suite / "leaderboard-fold0").exists()
    state = read_state(suite / JOB)
    assert state.status == "failed"
    assert ("SIGKILL" if number == "KILL" else "interrupted") in state.reason
    newest = newest_checkpoint(checkpoints)
    assert newest is not None
    epochs = {"step": int(count) // STEPS, "saving": int(count) // STEPS - 1, "epoch": int(count), "predicting": 4}
    assert step_of(newest) == epochs[kind] * STEPS
    (checkpoints / f".{newest.name}.12345.tmp").write_bytes(b"half of a file")
    assert run(tree, *SHORT) == 0
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert_same_results(undisturbed, suite)


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_the_end_is_the_same(
    undisturbed: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_project(tmp_path, monkeypatch) / "runs" / "small"
    (tmp_path / "signal").write_text(f"{int(signal.SIGKILL)} step 10")
    assert run(tree, *SHORT) == 1
    checkpoints = sorted((suite / JOB / "checkpoints").glob("epoch=*.ckpt"), key=step_of)
    assert [step_of(path) for path in checkpoints] == [4, 8]
    damage_file(checkpoints[1], truncated)
    damage_file(suite / JOB / "metrics.csv", truncated)  # its rows are in the checkpoints too
    assert run(tree, *SHORT) == 0
    log = (suite / JOB / "log.txt").read_text()
    assert f"{checkpoints[1].name}: is damaged" in log
    assert f"{checkpoints[0].name}: is damaged" not in log
    assert_same_results(undisturbed, suite)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("=")[2])


def assert_same_results(undisturbed: Path, suite: Path) -> None:
    for path in [
        *undisturbed.glob(f"{JOB}/predictions/*"),
        undisturbed / JOB / "metrics.csv",
        undisturbed / "leaderboard-fold0" / "cases.csv",
    ]:
        assert path.read_bytes() == (suite / path.relative_to(undisturbed)).read_bytes(), path


def test_a_job_waits_for_a_process_that_works_in_its_directory_and_takes_its_result(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--methods", "toy", "--folds", "0"]
    assert run(tree, *arguments) == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    state = read_state(job)
    before = (job / "provenance.json").stat().st_mtime_ns
    with hold(job, pytest.fail):
        write_state(job, replace(state, status="running"))
        assert run(tree, *arguments, "--set", "trainer.max_epochs=3", "--restart-changed") == 1
        assert f"{job}: another process works here (host " in capsys.readouterr().err
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "job", str(job)], stderr=subprocess.PIPE, text=True, cwd=project
        )
        assert process.stderr is not None
        assert "waits for the end of host" in process.stderr.readline()
        write_state(job, state)
    assert process.wait(60) == 0
    assert (job / "provenance.json").stat().st_mtime_ns == before


def test_a_job_that_a_killed_suite_left_behind_is_told_and_waited_for(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--methods", "toy", "--folds", "0"]
    assert run(tree, *arguments) == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    work = f"""
import time
from pathlib import Path
from benchmark.rundir.locks import hold, owner
from benchmark.rundir.state import update_state
with hold(Path({str(job)!r}), print):
    update_state(Path({str(job)!r}), status="running", phase="training")
    print("begun", flush=True)
    for _ in range(3000):
        if Path("end").exists():
            break
        time.sleep(0.1)
    update_state(Path({str(job)!r}), status="done", phase="")
"""
    process = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    made = (job / "provenance.json").stat().st_mtime_ns
    assert run(tree, *arguments, "--set", "trainer.max_epochs=3", "--restart-changed") == 1
    assert f"{job}: another process works here" in capsys.readouterr().err
    update = Overview.update

    def watch(overview: Overview, remarks: Any = None) -> None:
        update(overview, remarks)
        Path("end").touch()

    monkeypatch.setattr(Overview, "update", watch)
    assert run(tree, *arguments) == 0
    said = capsys.readouterr().out
    assert f"toy fold 0: still running from an earlier call (host {platform.node()}, process {process.pid}," in said
    assert "pending" not in said
    assert process.wait() == 0
    assert (job / "provenance.json").stat().st_mtime_ns == made  # its result is taken


#: A rule that is still at its first case when the suite is told to end.
SLEEPER = """
import pathlib
import time
from benchmark.methods.all_background import AllBackground

class Sleeper(AllBackground):
    def rule(self, batch):
        pathlib.Path("asleep").touch()
        time.sleep(600)
        return super().rule(batch)
"""


def test_a_terminated_suite_ends_its_jobs_and_says_how_to_go_on(project: Path, tree: Path) -> None:
    (project / "sleeper.py").write_text(SLEEPER)
    trainer = {"accelerator": "cpu", "devices": 1, "max_epochs": 0}
    config = {"model": {"class_path": "sleeper.Sleeper"}, "trainer": trainer}
    (project / "methods" / "sleeper.yaml").write_text(yaml.safe_dump(config))
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"methods": ["all_background", "sleeper"]}))
    command = [sys.executable, "-m", "benchmark", "run", "--config", "suite.yaml", "--cohort", str(tree)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(12_000):  # ten minutes
            if (project / "asleep").exists():
                break
            assert process.poll() is None
            time.sleep(0.05)
        runs = list(project.glob("runs/small/*/fold*"))
        assert len(runs) == 4
        assert any(map(owner, runs))
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said == "benchmark: interrupted: run the same command again to continue\n"
    assert not [run for run in runs if owner(run)]  # no job goes on


def test_a_full_disk_stops_one_job_with_a_clear_error_and_leaves_the_others_results(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "full").touch()
    assert run(tree, "--methods", "toy,all_background", "--folds", "0") == 1
    said = capsys.readouterr()
    assert "toy fold 0" in said.out
    assert "cannot be written" in said.out
    assert "check the folder and the disk" in said.out
    assert "Traceback" not in said.out + said.err
    leaderboard = project / "runs" / "small" / "leaderboard-fold0" / "leaderboard.csv"
    assert "all_background" in leaderboard.read_text()
    assert "toy" not in leaderboard.read_text()
    (project / "full").unlink()
    assert run(tree, "--methods", "toy,all_background", "--folds", "0") == 0
    assert "toy" in leaderboard.read_text()
