"""Finished cases on disk: which are used again, and which must not be."""

import math
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from leaderboard.errors import InputError
from leaderboard.scoring import journal as module
from leaderboard.scoring.journal import Journal

MEASURES = {"status": "ok", "dice": 1 / 3, "hausdorff_mm": math.nan, "avd_ml": 0.1 + 0.2}


def test_what_was_added_is_found_to_the_last_bit(tmp_path):
    with Journal(tmp_path / "j") as journal:
        assert not journal.holds_any
        journal.add("one", MEASURES)
    with Journal(tmp_path / "j") as journal:
        assert journal.holds_any
        found = journal.find("one")
        assert journal.find("two") is None
    assert math.isnan(found.pop("hausdorff_mm"))
    assert found == {name: value for name, value in MEASURES.items() if name != "hausdorff_mm"}


def test_another_program_finds_nothing(tmp_path, monkeypatch):
    with Journal(tmp_path / "j") as journal:
        journal.add("one", MEASURES)
    monkeypatch.setattr(module, "program_digest", lambda: "a later version")
    assert Journal(tmp_path / "j").find("one") is None


def imported_by_scoring():
    """Modules of this package that a scoring process has imported, except those without arithmetic."""
    code = (
        "import sys, pathlib, leaderboard.scoring.one_case as one\n"
        "files = [pathlib.Path(m.__file__) for name, m in sys.modules.items() if name.startswith('leaderboard.')]\n"
        "print(*(f.relative_to(pathlib.Path(one.__file__).parents[1]) for f in files if f.stem != '__init__'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return set(found) - {"errors.py"}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A copy of the package, which the journal digests as the program."""
    copy = tmp_path / "package"
    shutil.copytree(Path(module.__file__).parents[1], copy, ignore=shutil.ignore_patterns("__pycache__", "results"))
    monkeypatch.setattr(module.resources, "files", lambda name: copy)
    module.program_digest.cache_clear()
    yield copy
    module.program_digest.cache_clear()


def test_a_newer_metric_never_meets_an_old_result(tmp_path, program):
    modules = imported_by_scoring()
    assert {"scoring/metrics.py", "scoring/surface.py", "io/masks.py"} <= modules
    with Journal(tmp_path / "j") as journal:
        journal.add("one", MEASURES)
    module.program_digest.cache_clear()
    assert Journal(tmp_path / "j").find("one")
    for name in sorted(modules):
        code = (program / name).read_text()
        (program / name).write_text(f"{code}\n# newer\n")
        module.program_digest.cache_clear()
        assert Journal(tmp_path / "j").find("one") is None, name
        (program / name).write_text(code)


@pytest.mark.parametrize("package", ["medpy", "nibabel", "numpy", "scipy", "SimpleITK"])
def test_another_version_of_a_package_never_meets_an_old_result(tmp_path, program, monkeypatch, package):
    with Journal(tmp_path / "j") as journal:
        journal.add("one", MEASURES)
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == package else version(name))
    module.program_digest.cache_clear()
    assert Journal(tmp_path / "j").find("one") is None


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_cut_short_is_no_line_and_the_next_stands_alone(tmp_path, cut):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add("one", MEASURES)
        journal.add("two", MEASURES)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.find("one")
        # cut 1 takes the line end alone
        assert bool(journal.find("two")) == (cut == 1)
        journal.add("three", MEASURES)
    assert Journal(path).find("three")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "text",
        "[]",
        "1",
        '{"key": "x"}',
        '{"key": 1, "measures": {"status": "ok"}}',
        '{"key": "x", "measures": []}',
        '{"key": "x", "measures": {"status": 3}}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_what_is_no_entry_is_passed_over(tmp_path, line):
    path = tmp_path / "j"
    path.write_text(line + "\n")
    with Journal(path) as journal:
        assert not journal.holds_any
        journal.add("one", MEASURES)
    assert Journal(path).find("one")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written"), Journal(tmp_path / "none" / "j"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        Journal(tmp_path / "folder")
