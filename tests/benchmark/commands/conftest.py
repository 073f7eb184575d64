"""What the tests of commands share: a project whose job is done."""

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
