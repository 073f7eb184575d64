"""The folds that a suite's config asks for: by centre, and from the files of other programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import trees
from rich.console import Console

from benchmark.commands.run_plan import _folds
from benchmark.suite.config import SuiteConfig
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.errors import InputError

NAMES = ("anna", "bert", "carl", "dora")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Four cases, of which the second and the third come from Zurich."""
    root = trees.manifest(tmp_path / "cohort", NAMES)
    table = root / "cohort.csv"
    rows = [row.replace("Bern", "Zurich") if row[:4] in ("bert", "carl") else row for row in table.read_text().split()]
    table.write_text("\n".join(rows) + "\n")
    return read_cohort(root)


def folds_of(cohort: Cohort, folder: Path, **settings: Any) -> tuple[dict[str, int], bytes]:
    """The folds that a suite with these settings takes, and what its own fold file is to hold."""
    suite = SuiteConfig(folder / "suite.yaml", "s", ("all_background",), **settings)
    folds, content = _folds(suite, cohort, folder / "runs", False, Console(file=io.StringIO()))
    return dict(folds.fold_of), content


def test_each_centre_is_a_fold(tmp_path: Path, cohort: Cohort) -> None:
    assert folds_of(cohort, tmp_path, folds_by="centre")[0] == {"anna": 0, "bert": 1, "carl": 1, "dora": 0}


def test_folds_that_are_made_spread_each_centre(tmp_path: Path, cohort: Cohort) -> None:
    fold_of = folds_of(cohort, tmp_path, folds_number=2)[0]
    assert {fold_of["anna"], fold_of["dora"]} == {fold_of["bert"], fold_of["carl"]} == {0, 1}


def test_nnunets_splits_beside_the_config_are_taken_and_kept_as_our_csv(tmp_path: Path, cohort: Cohort) -> None:
    splits = [
        {"train": ["bert", "dora"], "val": ["anna", "carl"]},
        {"train": ["anna", "carl"], "val": ["bert", "dora"]},
    ]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    fold_of, content = folds_of(cohort, tmp_path, folds_file="splits_final.json")
    assert fold_of == {"anna": 0, "bert": 1, "carl": 0, "dora": 1}
    assert content.decode().splitlines()[:2] == ["case,patient,fold,lesion_ml", "anna,p-anna,0,"]


def test_folds_by_centre_of_a_cohort_without_centres_are_refused(tmp_path: Path) -> None:
    cohort = read_cohort(trees.isles2022(tmp_path / "cohort"))
    with pytest.raises(InputError, match="the centre of sub-strokecase0001, sub-strokecase0002 is unknown"):
        folds_of(cohort, tmp_path, folds_by="centre")
