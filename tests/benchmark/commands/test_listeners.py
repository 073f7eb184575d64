"""A suite as a separate process: with and without a reader, under any name, and what its logs say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy import SUITE

COMMAND = ["-m", "benchmark", "run", "--config", "suite.yaml", "--methods", "toy", "--folds", "0"]
#: Lightning's remarks about hardware and products, which say nothing about the job.
REMARKS = ("litlogger", "TPU available", "GPU available", "HPU", "LOCAL_RANK")


def results(folder: Path) -> dict[str, bytes]:
    found = {name: (folder / name).read_bytes() for name in ("cases.csv", "leaderboard.csv", "leaderboard.md")}
    assert (folder / "index.html").read_text().rstrip().endswith("</html>")
    return found


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "WANDB_PROJECT": "team/isles", "WANDB_MODE": ""}


def test_readers_that_leave_a_suite_that_logs_and_names_that_look_like_markup_change_no_file(
    project: Path, tree: Path, environment: dict[str, str]
) -> None:
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"wandb": True, "name": "a [b] suite"}))
    command = [sys.executable, *COMMAND, "--cohort", str(tree), "--out"]
    environment = environment | {"PYTHONPATH": os.environ["PYTHONPATH"]}  # the project's
    heard = subprocess.run(
        [*command, "x[/b]"], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert (heard.returncode, heard.stderr) == (0, "")
    told = [line for line in heard.stdout.splitlines() if line.startswith("W&B:")]
    assert told[0].startswith("W&B: WANDB_PROJECT=team/isles is ")
    assert told[1:] == ["W&B: logging the leaderboard (offline)"]
    written = Path("x[/b]") / "a [b] suite" / "leaderboard-fold0"
    assert f"Written to {written} " in heard.stdout  # as it is called
    suite = project / written.parent
    for log in suite.glob("*/fold0/log.txt"):
        assert not [word for word in REMARKS if word in log.read_text()]
    assert len(list((suite / "wandb").glob("offline-run-*"))) == 2  # the job and the leaderboard

    script = '"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}'
    unheard = subprocess.run(
        ["bash", "-c", script, "bash", *command, "y"],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (unheard.returncode, unheard.stderr) == (0, "")
    assert unheard.stdout.count("\n") == 1
    assert results(project / "y" / "a [b] suite" / "leaderboard-fold0") == results(project / written)


def test_a_suite_that_fails_has_its_status_when_nobody_listens(
    project: Path, tree: Path, environment: dict[str, str]
) -> None:
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"methods": ["broken"]}))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, *COMMAND[:4], "suite.yaml", "--folds", "0", "--cohort", str(tree)],
        env=environment | {"PYTHONPATH": os.environ["PYTHONPATH"]},
        stdout=writer, stderr=writer, check=False, timeout=300,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert "the toy is broken" in (project / "runs" / "small" / "broken" / "fold0" / "state.json").read_text()


def test_fit_says_nothing_of_hardware_and_products(project: Path, tree: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "fit", "--config", "methods/toy.yaml", f"--data.cohort={tree}",
         "--trainer.logger=false", "--trainer.max_epochs=1"],
        env=environment | {"PYTHONPATH": os.environ["PYTHONPATH"]},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not [word for word in REMARKS if word in done.stdout + done.stderr]
    assert "Total params" in done.stdout + done.stderr  # the summary of the model is shown
