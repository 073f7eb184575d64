"""Where run directories are, and what they lie in."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.rundir.names import fold_folder, method_folder, run_directories, run_directory


@pytest.mark.parametrize(("seed", "place"), [(None, "net/fold2"), (7, "net/fold2/seed7")])
def test_a_run_directory_lies_in_its_fold_and_its_method(tmp_path: Path, seed: int | None, place: str) -> None:
    run = run_directory(tmp_path, "net", 2, seed)
    assert run == tmp_path / place
    assert fold_folder(run) == tmp_path / "net" / "fold2"
    assert method_folder(run) == tmp_path / "net"


def test_a_fold_with_seeds_is_no_run_directory_itself(tmp_path: Path) -> None:
    runs = [run_directory(tmp_path, *job) for job in [("net", 0, 0), ("net", 0, 11), ("net", 1, 0), ("rule", 0)]]
    for folder in (*runs, tmp_path / "leaderboard"):
        folder.mkdir(parents=True)
    assert run_directories(tmp_path) == runs
