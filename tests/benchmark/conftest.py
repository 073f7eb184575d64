"""What the tests of `benchmark` share: a small twin, and its cases preprocessed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from one_server import OneServer
from toy import make_project

from benchmark.cohort.twin import write_twin
from benchmark.launchers import local
from benchmark.pipeline.cache import CachedCase, build_cache, open_entry
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.report import svg

DRAW = svg.draw


@pytest.fixture(scope="session", autouse=True)
def one_server() -> Iterator[None]:
    """Suites that run in this process start their jobs from one server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "ForkServer", OneServer.get)
        yield
    OneServer.end()


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Figures of the pages that this process writes are empty: drawing them takes most of a small suite's time.

    What they show is tested with the leaderboard's pages; suites draw them in tests that use `drawn`, and as processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "draw", lambda *_: '<svg role="img"></svg>')
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn after all."""
    monkeypatch.setattr(svg, "draw", DRAW)


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin of 24 training cases and 2 test cases at 32 x 32 (8, 4 and 2 slices); read it, do not change it."""
    root = tmp_path_factory.mktemp("twin") / "cohort"
    write_twin(root, cases=24, size=32, seed=1, test_cases=2, jobs=1)
    return root


@pytest.fixture(scope="session")
def cohort(twin: Path) -> Cohort:
    """The training partition of `twin`."""
    return read_cohort(twin, "training")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def cached(cohort: Cohort, cache: Path) -> list[CachedCase]:
    """Every training case of `twin`, preprocessed."""
    entries = build_cache(cohort.cases, cohort.images, cache)
    return [open_entry(case, entry) for case, entry in zip(cohort.cases, entries, strict=True)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a toy method and a suite."""
    return make_project(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def tree(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases (2 slices each, four patients) of the twin."""
    root = tmp_path_factory.mktemp("tree")
    for number in (18, 19, 20, 21, 22, 24):
        shutil.copytree(twin / "TRAINING" / f"case_{number}", root / "TRAINING" / f"case_{number}")
    return root
