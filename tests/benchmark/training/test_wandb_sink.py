"""W&B is asked once, and nothing that it raises ends a job or a command."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import wandb

from benchmark.training import wandb_sink
from benchmark.training.wandb_sink import WandbSink, log_leaderboard, settle, wandb_logger

REFUSES = "class CommError(Exception): pass\ndef login(verify): raise CommError('no route to host')\n"
ASKS = "def login(verify): return input('key: ')\n"
HANGS = "import time\ndef login(verify): time.sleep(60)\n"
TAKES = "def login(verify): print('logged in'); return True\n"
NOBODY = "def login(verify): return False\n"


def settled(**variables: str) -> tuple[str, str, str]:
    """The line, the mode and the project after W&B was asked."""
    environment = {"PATH": os.environ["PATH"], **variables}
    line = settle(environment)
    assert "\n" not in line
    return line, environment["WANDB_MODE"], environment.get("WANDB_PROJECT", "")


@pytest.mark.parametrize(
    ("module", "fault", "variables"),
    [
        (REFUSES, "no route to host", {"WANDB_API_KEY": "k"}),
        (REFUSES, "no route to host", {"WANDB_MODE": "shared"}),
        (ASKS, "EOF", {"WANDB_MODE": "online"}),
        (NOBODY, "nobody is logged in", {"WANDB_MODE": "online"}),
        (HANGS, "does not answer", {"WANDB_API_KEY": "k"}),
    ],
)
def test_what_cannot_be_had_online_is_kept_offline_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, fault: str, variables: dict[str, str]
) -> None:
    monkeypatch.setattr(wandb_sink, "ASK_SECONDS", 3.0)
    (tmp_path / "wandb.py").write_text(module)
    line, mode, _ = settled(**variables, PYTHONPATH=str(tmp_path))
    assert line.startswith("W&B: ")
    assert fault in line
    assert line.endswith("runs are kept offline: wandb sync uploads them")
    assert mode == "offline"


@pytest.mark.parametrize("variables", [{"WANDB_MODE": "online"}, {"WANDB_API_KEY": "k"}])
def test_what_can_be_had_online_is(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "wandb.py").write_text(TAKES)
    assert settled(**variables, PYTHONPATH=str(tmp_path)) == ("", "online", "isles-benchmark")


def test_wandb_itself_without_a_login_is_kept_offline(tmp_path: Path) -> None:
    line, mode, _ = settled(WANDB_MODE="online", HOME=str(tmp_path), NETRC=str(tmp_path / "none"))
    assert line.startswith("W&B: ")
    assert mode == "offline"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("offline", "isles-benchmark")),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "k"}, ("offline", "isles-benchmark")),
        ({"WANDB_MODE": "disabled", "WANDB_PROJECT": "a/b"}, ("disabled", "a/b")),
        ({"WANDB_PROJECT": "strokes"}, ("offline", "strokes")),
    ],
)
def test_nobody_is_asked_about_runs_that_stay_here(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(wandb_sink.subprocess, "run", lambda *_, **__: pytest.fail("asked"))
    assert settled(**variables) == ("", *expected)


@pytest.mark.parametrize("project", ["team/isles", "a?b", "50%", "x" * 129])
def test_a_project_that_wandb_refuses_is_kept_offline_under_a_name_that_it_takes(project: str) -> None:
    line, mode, kept = settled(WANDB_PROJECT=project, WANDB_API_KEY="k")
    assert f"WANDB_PROJECT={project}" in line
    assert mode == "offline"
    with pytest.raises(wandb.errors.UsageError):
        wandb.Settings(project=project)
    assert wandb.Settings(project=kept).project == kept


def test_a_mode_that_there_is_not_is_offline_with_a_line() -> None:
    line, mode, _ = settled(WANDB_MODE="ofline")
    assert "WANDB_MODE=ofline" in line
    assert mode == "offline"


def test_without_the_package_runs_are_not_logged_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_sink, "find_spec", lambda name: None)
    line, mode, _ = settled(WANDB_API_KEY="k")
    assert line == "W&B: the package wandb is not installed: runs are not logged"
    assert mode == "disabled"


class Broken:
    """A run that can be made, but raises at everything else."""

    def __init__(self) -> None:
        self.calls = 0
        self.config = self

    def define_metric(self, *_: Any, **__: Any) -> None:
        """As W&B's."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            self.calls += 1
            raise wandb.errors.CommError("the network is gone\nand more")

        return fail


def test_what_wandb_raises_in_a_training_is_told_once_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Broken()
    sink = WandbSink(run, tmp_path)
    sink.log_metrics({"loss": 1.0}, 1)
    assert run.calls == 1
    sink.log_hyperparams({"a": 1})
    sink.log_metrics({"loss": 2.0}, 2)
    sink.finalize("success")
    assert run.calls == 1
    assert capsys.readouterr().err == "W&B: CommError: the network is gone: this run is logged no further\n"


@pytest.mark.parametrize("fault", ["the picture is drawn", "the picture is logged"])
def test_what_the_picture_of_a_slice_raises_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    drawn: list[int] = []

    def draw(*volumes: Any) -> Any:
        drawn.append(len(volumes))
        if fault == "the picture is drawn":
            raise ImportError("no matplotlib")
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(wandb_sink, "outline_picture", draw)
    mask = torch.ones(2, 4, 4)
    batch = {"image": torch.zeros(1, 2, 4, 4), "brain": mask, "reference": mask}
    method = SimpleNamespace(predict_step=lambda batch, index: {"masks": {"": mask}})
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[WandbSink(Broken(), tmp_path)])
    for _ in range(2):
        wandb_sink.SlicePicture().on_validation_batch_end(trainer, method, None, batch, 0)
    assert drawn == [3]
    assert capsys.readouterr().err.count("this run is logged no further\n") == 1


@pytest.mark.parametrize(
    ("offline_works", "said"), [(True, ["kept offline"]), (False, ["kept offline", "this run is not logged"])]
)
def test_a_job_without_a_network_logs_offline_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    offline_works: bool,
    said: list[str],
) -> None:
    asked = []

    def init(mode: str, **_: Any) -> Any:
        asked.append(mode)
        if mode == "online" or not offline_works:
            raise wandb.errors.CommError("no network")
        return SimpleNamespace(define_metric=lambda *_, **__: None)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    monkeypatch.setenv("WANDB_MODE", "online")
    run = tmp_path / "suite" / "method" / "fold0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    assert (wandb_logger(run, {}) is not None) == offline_works
    assert asked == ["online", "offline"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == said


def leaderboard(folder: Path) -> Path:
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md"):
        (folder / name).write_text("rank,method\n1,a\n")
    return folder


def test_a_suites_name_with_a_space_keeps_its_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts: list[Any] = []
    run = SimpleNamespace(log=lambda content: None, log_artifact=artifacts.append, finish=lambda: None)
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    log_leaderboard("my suite: é/2", leaderboard(tmp_path), tmp_path)
    (artifact,) = artifacts  # W&B's own, which checks its name
    assert artifact.name == "my-suite-2-leaderboard"
    assert set(artifact.manifest.entries) == {"cases.csv", "leaderboard.csv", "leaderboard.md"}
    assert capsys.readouterr().err == ""


def test_what_wandb_raises_about_the_leaderboard_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: Broken())
    log_leaderboard("suite", leaderboard(tmp_path), tmp_path)
    assert capsys.readouterr().err == "W&B: CommError: the network is gone: it has no leaderboard run\n"
