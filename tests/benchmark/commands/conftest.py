"""What the tests of commands share."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy import make_project, run

from benchmark.launchers import local


@pytest.fixture(scope="session")
def finished(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished job, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        project = make_project(tmp_path_factory.mktemp("finished"), patch)
        assert run(tree, "--methods", "toy", "--folds", "0") == 0
    return project


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command does in a process of its own (`in_turn`) is done in a copy of one that has imported it already.

    `test_in_turn` and the tests without this fixture start such processes as the commands do.
    """
    if not local.FORKS:
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmark.commands.cost_meter", "benchmark.commands.step_timer"])
    monkeypatch.setattr("benchmark.commands.in_turn.multiprocessing", SimpleNamespace(get_context=lambda _: context))


@pytest.fixture
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers on loopback are asked directly."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
