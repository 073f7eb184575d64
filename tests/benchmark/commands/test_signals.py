"""Every command ends at once on SIGINT and on SIGTERM, with the status that shells use and one line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import run

from benchmark.cli import main
from benchmark.rundir.locks import owner
from benchmark.rundir.state import read_state
from benchmark.suite.overview import Overview
from leaderboard.cli import main as leaderboard

CASES = next((Path(__file__).parents[3] / "leaderboard" / "results").glob("*/cases.csv"))
JOB = Path("runs/small/toy/fold0")
LINE = "benchmark: interrupted: run the same command again to continue\n"


@pytest.fixture
def job(finished: Path, project: Path) -> Path:
    """A finished job of the project, which is the working directory."""
    shutil.copytree(finished / "runs", project / "runs")
    return JOB


def folders() -> set[Path]:
    return {path for path in Path().rglob("*") if path.is_dir() and path.name != "__pycache__"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["predict-cohort", "verify"])
def test_a_prediction_ends_in_its_middle_and_leaves_nothing(
    job: Path, tree: Path, capsys: pytest.CaptureFixture[str], command: str, number: int
) -> None:
    arguments = {
        "predict-cohort": ["--trust", "--run", str(job), "--cohort", str(tree), "--out", "predictions"],
        "verify": ["--trust", str(job)],
    }[command]
    before = folders()
    Path("signal").write_text(f"{int(number)} predicting 1")  # at the second case the method sends it
    assert main([command, *arguments]) == 128 + number
    assert capsys.readouterr().err == LINE
    assert folders() == before
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)  # as before the command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_suite_ends_its_jobs_and_goes_on_with_them_later(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    update, parent = Overview.update, os.getpid()

    def watch(overview: Overview, remarks: object = None) -> None:
        update(overview)
        if os.getpid() == parent and any(job.state.status == "running" for job in overview.jobs):
            os.kill(parent, number)

    with monkeypatch.context() as patch:
        patch.setattr(Overview, "update", watch)
        assert run(tree, "--methods", "toy", "--folds", "0") == 128 + number
    assert capsys.readouterr().err == LINE
    assert read_state(project / JOB).status != "running"
    assert owner(project / JOB) is None  # no job goes on
    assert run(tree, "--methods", "toy", "--folds", "0") == 0


#: Commands with a public function that they call, which is replaced by what sends a signal.
WORK = [
    (main, ["check", "TREE"], "benchmark.cohort.check.check_case"),
    (main, ["twin", "out", "--cases", "1", "--size", "32", "--jobs", "1"], "benchmark.cohort.twin.write.write_bytes"),
    (main, ["cost", "--config", "twin", "--methods", "plain_unet"], "benchmark.cohort.twin.write_twin"),
    (main, ["fetch", "isles2022", "out", "--yes"], "benchmark.commands.fetch.read_record"),
    (main, ["sanity", "plain_unet", "--steps", "0"], "benchmark.commands.sanity.fit"),
    (main, ["export-nnunet", "TREE", "out", "--folds", "folds.csv"], "leaderboard.cohort.formats.read_cohort"),
    (main, ["folds", "TREE", "--out", "folds.csv"], "leaderboard.cohort.formats.read_cohort"),
    (main, ["cancel", "--config", "suite.yaml"], "benchmark.commands.cancel.open_suite"),
    (main, ["fit", "--config", "methods/toy.yaml", "--data.cohort=TREE"], "benchmark.pipeline.datamodule.read_cohort"),
    (
        leaderboard,
        ["score", "--reference", "TREE", "--predictions", "TREE", "--method", "m", "--out", "out.csv"],
        "leaderboard.scoring.against_cohort.find_references",
    ),
    (leaderboard, ["check", "--cohort", "TREE", "--predictions", "TREE"], "leaderboard.scoring.references.find_cases"),
    (leaderboard, ["rank", str(CASES), "--out", "out.csv"], "leaderboard.ranking.ranks.rank_methods"),
    (leaderboard, ["report", str(CASES), "--out", "page"], "leaderboard.cases.read_cases"),
    (leaderboard, ["verify", str(CASES.parent)], "leaderboard.report.rebuild.verify"),
    (leaderboard, ["diff", str(CASES.parent), str(CASES.parent)], "leaderboard.report.changes.read_board"),
    (
        leaderboard,
        ["compare", str(CASES), "--methods", "plain_unet,strokenet"],
        "leaderboard.ranking.pair.compare_pair",
    ),
    (leaderboard, ["challenge", "TREE"], "leaderboard.challenge.settings.read_challenge"),
    (
        leaderboard,
        ["evaluate", "--platform", "grand-challenge", "--input", "TREE", "--cohort", "TREE", "--out", "out"],
        "leaderboard.platforms.evaluation.evaluate",
    ),
    (
        leaderboard,
        ["pack", "out", "--platform", "grand-challenge", "--cohort", "TREE"],
        "leaderboard.platforms.evaluation.open_references",
    ),
    (leaderboard, ["collect", "results.json", "--out", "out.csv"], "leaderboard.platforms.collect.collect"),
]
#: Commands that other tests interrupt, here and in `test_kills` and `test_fork_server`; `predict` is `fit`'s way.
ELSEWHERE = {main: {"run", "predict-cohort", "verify", "job", "predict"}, leaderboard: set()}


@pytest.mark.parametrize("program", [main, leaderboard])
def test_no_command_is_left_out(capsys: pytest.CaptureFixture[str], program: Callable[[list[str]], int]) -> None:
    with pytest.raises(SystemExit):
        program(["--help"])
    told = set(re.findall(r"^    ([a-z][a-z-]*)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE))
    assert told == {arguments[0] for of, arguments, _ in WORK if of is program} | ELSEWHERE[program]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("program", "arguments", "work"), WORK, ids=[f"{row[0].__module__}-{row[1][0]}" for row in WORK]
)
def test_every_command_ends_in_a_line(
    project: Path,
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[list[str]], int],
    arguments: list[str],
    work: str,
    number: int,
) -> None:
    slept = []

    def send(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(30)
        slept.append(30)

    monkeypatch.setattr(work, send)
    assert program([argument.replace("TREE", str(tree)) for argument in arguments]) == 128 + number
    assert not slept  # it ended at once, in the middle of its work
    (line,) = capsys.readouterr().err.splitlines()
    assert ": interrupted" in line
