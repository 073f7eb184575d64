"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import make_project, run


@pytest.fixture(scope="module")
def finished(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished job, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        project = make_project(tmp_path_factory.mktemp("finished"), patch)
        assert run(tree, "--methods", "toy", "--folds", "0") == 0
    return project


@pytest.fixture
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers on loopback are asked directly."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
