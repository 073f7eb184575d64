"""Several trainings of a method: a suite with two seeds, in real processes."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from plans import FOLDS
from toy import SUITE, bytes_of, run

from benchmark.commands.run_plan import Plan, _chosen_seeds
from benchmark.rundir.names import BUDGET, run_directories
from benchmark.suite.config import SuiteConfig

SEVERAL = SUITE | {"methods": ["all_background", "toy"], "seeds": [4, 0], "threads": 1, "ensembles": True}


def write_suite(project: Path, content: dict) -> None:
    (project / "suite.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.usefixtures("drawn")
def test_each_seed_is_a_training_of_its_own_with_the_bytes_of_a_suite_that_has_it_alone(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_suite(project, SEVERAL)
    suite, one_fold = project / "runs" / "small", ("--folds", "0")
    (project / "signal").write_text(f"{int(signal.SIGKILL)} step 1")
    assert run(tree, *one_fold, "--seeds", "4") == 1
    assert "toy fold 0 seed 4: failed" in capsys.readouterr().out
    assert run(tree, *one_fold) == 0  # continues seed 4, trains seed 0
    assert "toy fold 0 seed 0: done" in capsys.readouterr().out
    trainings = {seed: suite / "toy" / "fold0" / f"seed{seed}" for seed in (0, 4)}
    ensemble = suite / "toy_ensemble" / "fold0"
    assert run_directories(suite) == [suite / "all_background" / "fold0", *trainings.values(), ensemble]
    found = {seed: bytes_of(folder) for seed, folder in trainings.items()}
    assert found[0].keys() == found[4].keys()
    assert all(found[0][name] != found[4][name] for name in found[0] if name == "metrics.csv" or "weight" in name)

    # The mean of the two maps is a row of its own, without a seed; a rule has no map.
    for name in (path.name for path in (ensemble / "predictions").iterdir()):
        maps = [nib.load(folder / "probabilities" / name).get_fdata() for folder in trainings.values()]
        mask = np.asarray(nib.load(ensemble / "predictions" / name).dataobj)
        assert mask.any()
        np.testing.assert_array_equal(mask, maps[0] + maps[1] > 1)
    with (suite / "leaderboard-fold0" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = [("toy", "0")] * 3 + [("toy", "4")] * 3
    assert [(row["method"], row["seed"]) for row in rows] == [
        *[("all_background", "")] * 3, *trained, *[("toy_ensemble", "")] * 3
    ]  # fmt: skip
    assert [row["brier"] != "" for row in rows] == [False] * 3 + [True] * 9
    page = (suite / "leaderboard-fold0" / "index.html").read_text()
    assert re.search(r"<svg[^>]*>\s*<", page)  # figures are drawn
    assert '<svg role="img"></svg>' not in page
    assert page.split('id="h-calibration"')[1].split("</section>")[0].count('<th scope="row">') == 2
    with (suite / "leaderboard-fold0" / "costs.csv").open() as file:
        assert {(row["seed"], row["folds"]) for row in csv.DictReader(file)} == {("", "1"), ("0", "1"), ("4", "1")}
    provenances = {seed: json.loads((folder / "provenance.json").read_text()) for seed, folder in trainings.items()}
    assert provenances[4]["seed"] == 4
    # An interrupted training counts on where it continues.
    assert [[spent["costs"][name] for name in BUDGET[:2]] for spent in provenances.values()] == [[2, 16]] * 2

    # Run again, a finished suite does nothing.
    made = {path: path.stat().st_mtime_ns for folder in trainings.values() for path in folder.rglob("*")}
    scores = (suite / "leaderboard-fold0" / "cases.csv").read_bytes()
    assert run(tree, *one_fold) == 0
    assert "3 of 3 jobs are done already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for folder in trainings.values() for path in folder.rglob("*")} == made
    assert (suite / "leaderboard-fold0" / "cases.csv").read_bytes() == scores

    assert run(tree, *one_fold, "--seeds", "0,7") == 1
    assert "--seeds 7: suite.yaml does not train with it: choose among 4, 0" in capsys.readouterr().err

    # One seed keeps the paths of a suite without seeds, and its folds are those of `seed`.
    write_suite(project, SEVERAL | {"seeds": [4]})
    assert run(tree, *one_fold, out="alone") == 0
    assert bytes_of(project / "alone" / "small" / "toy" / "fold0") == found[4]
    header = (project / "alone" / "small" / "leaderboard-fold0" / "cases.csv").read_text().splitlines()[0]
    assert "seed" not in header.split(",")


@pytest.mark.parametrize(
    ("seeds", "asked", "folder"),
    [
        ((), None, "leaderboard-fold0"),
        ((), [5], "leaderboard-fold0"),
        ((4, 0), None, "leaderboard-fold0"),
        ((4, 0), [0, 4], "leaderboard-fold0"),
        ((4, 0), [0], "leaderboard-fold0-seed0"),
    ],
)
def test_each_selection_of_seeds_has_results_of_its_own(seeds: tuple[int, ...], asked: list[int], folder: str) -> None:
    suite = SuiteConfig(Path("suite.yaml"), "s", ("toy",), seed=5, seeds=seeds)
    plan: Any = SimpleNamespace(suite=suite, root=Path("runs"), chosen=[0], folds=FOLDS)
    plan.chosen_seeds = _chosen_seeds(suite, asked)
    assert Plan.leaderboard.fget(plan) == Path("runs") / folder  # type: ignore[attr-defined]
