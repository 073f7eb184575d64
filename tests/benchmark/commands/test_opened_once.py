"""What is read from disk is read once: cohort, folds and cache by a job, its results by a run that finds them done."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import make_project, run

from benchmark.cli import main
from benchmark.cohort import folds
from benchmark.rundir.digests import damaged_results
from benchmark.rundir.state import State, read_state, write_state
from leaderboard.cohort import formats

JOB = "toy/fold0"


@pytest.fixture
def suite(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite's folder whose job is done; nothing of it was read by this process."""
    made = make_project(tmp_path, monkeypatch) / "runs" / "small"
    shutil.copytree(finished / "runs", tmp_path / "runs")
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often this process walked a cohort, parsed a fold file and digested each file."""
    found: Counter[str] = Counter()

    def counted(function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found[name(*arguments)] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(formats, "scan_cohort", counted(formats.scan_cohort, lambda *_: "cohort"))
    monkeypatch.setattr(folds, "read_rows", counted(folds.read_rows, lambda *_: "folds"))
    monkeypatch.setattr(hashlib, "file_digest", counted(hashlib.file_digest, lambda file, _: str(file.name)))
    return found


def test_a_job_opens_cohort_folds_and_every_array_once(finished: Path, suite: Path, opened: Counter[str]) -> None:
    job = suite / JOB
    config = job / "config.yaml"
    config.write_text(config.read_text().replace(str(finished), str(suite.parents[1])))
    shutil.rmtree(job / "checkpoints")
    (job / "provenance.json").unlink()
    write_state(job, State(inputs=read_state(job).inputs))
    assert main(["job", str(job)]) == 0
    arrays = {name: times for name, times in opened.items() if name.endswith(".npy")}
    assert len(arrays) == 6 * 3
    assert set(arrays.values()) == {1}
    assert (opened["cohort"], opened["folds"]) == (1, 1)
    assert opened[str(job / "checkpoints" / "last.ckpt")] == 1


def test_a_run_with_nothing_to_do_digests_every_result_once(
    suite: Path, tree: Path, opened: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, "--methods", "toy", "--folds", "0") == 0
    assert "1 of 1 jobs are done already" in capsys.readouterr().out
    checkpoints, masks = (list((suite / JOB / folder).iterdir()) for folder in ("checkpoints", "predictions"))
    assert (len(checkpoints), len(masks)) == (2, 3)
    assert {opened[str(path)] for path in checkpoints} == {1}
    assert {opened[str(path)] for path in masks} == {2}  # and once more when they are scored
    assert (opened["cohort"], opened["folds"]) == (1, 1)


def test_a_result_that_changes_while_a_run_goes_on_is_read_again(suite: Path, opened: Counter[str]) -> None:
    mask = next((suite / JOB / "predictions").iterdir())
    assert not damaged_results(suite / JOB)
    assert not damaged_results(suite / JOB)
    assert opened[str(mask)] == 1
    content = mask.read_bytes()
    mask.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert damaged_results(suite / JOB) == [f"predictions/{mask.name}"]
    assert opened[str(mask)] == 2
