"""A whole suite on a cohort of each format: a rule and a small network for one epoch, from the tree to the page."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import trees
import yaml
from toy import SUITE, run

from benchmark.cli import main
from benchmark.cohort.folds import read_fold_file
from benchmark.suite.config_files import read_yaml
from leaderboard.cohort.formats import FORMATS, read_cohort

#: Rules of both kinds.
RULES = ["adc_threshold", "perfusion_t38", "perfusion_tmax6"]
#: What each format writes, and the rules that have nothing to see in it.
COHORTS: dict[str, tuple[Callable[..., Path], list[str]]] = {
    "isles2022": (lambda root, _: trees.isles2022(root, (1, 2, 3, 4)), RULES[1:]),
    "isles2024": (lambda root, _: trees.isles2024(root, (1, 14, 15, 16)), RULES[:1]),
    "isles2026": (lambda root, _: trees.isles2026(root, [f"R009/sub-r009s00{k}" for k in range(1, 5)]), RULES),
    "nnunet": (lambda root, _: trees.nnunet(root, ("a_1", "a_2", "a_3", "a_4")), RULES[1:]),
    "manifest": (lambda root, _: trees.manifest(root, ("anna", "bert", "carl", "dora")), RULES[1:]),
    "isles2017": (lambda _, tree: tree(range(1, 5), edition="isles2017", patients=None), RULES[1:]),
    "isles2018": (lambda _, tree: tree(range(1, 5), patients=str), RULES[:1]),
}


def test_every_format_is_run() -> None:
    assert set(COHORTS) == set(FORMATS)


#: The others take half a minute each and differ from these in their trees alone.
QUICK = ("isles2022", "manifest")


@pytest.fixture(params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COHORTS])
def done(
    request: pytest.FixtureRequest, tmp_path: Path, project: Path, isles_tree: Any, capfd: pytest.CaptureFixture[str]
) -> SimpleNamespace:
    """A suite that was run on four cases of a format."""
    write, blind = COHORTS[request.param]
    root = write(tmp_path / "cohort", isles_tree)
    suite = SUITE | {"cohort": {"format": request.param}, "methods": [*RULES, "toy"]}
    Path("suite.yaml").write_text(yaml.safe_dump(suite))
    status = run(root, "--folds", "0", "--set", "trainer.max_epochs=1")
    said = capfd.readouterr()
    return SimpleNamespace(
        name=request.param, root=root, cohort=read_cohort(root), blind=blind, status=status, said=said.out + said.err,
        suite=Path("runs/small"),
    )  # fmt: skip


@pytest.mark.usefixtures("drawn")
def test_a_suite_trains_predicts_scores_and_shows_any_format(done: SimpleNamespace) -> None:
    assert done.status == 0, done.said
    seeing = [name for name in RULES if name not in done.blind]
    # what it cannot do is left out, told in a line for all that lack the same maps, before the first job and once more
    # below the table
    told = [line for line in done.said.splitlines() if "left out" in line]
    assert len(told) == 2 * len(set(told))
    assert len(set(told)) == len({name.partition("_")[0] for name in done.blind})
    assert all(any(name in line for line in told) for name in done.blind)
    assert all(f", and {done.root} has only " in line for line in told)
    folds = read_fold_file(done.suite / "folds.csv")
    results = done.suite / "leaderboard-fold0"
    with (results / "cases.csv").open() as file:
        rows = {(row["method"], row["case"]) for row in csv.DictReader(file)}
    assert rows == {(method, case) for method in (*seeing, "toy") for case in folds.validation(0)}
    assert (results / "index.html").stat().st_size > 10_000
    # predictions lie on the grid of the case's own reference, in its order of axes
    for method in (*seeing, "toy"):
        config = read_yaml(done.suite / method / "fold0" / "config.yaml")
        assert config["data"]["format"] == done.name
        for case in (case for case in done.cohort.cases if case.name in folds.validation(0)):
            path = done.suite / method / "fold0" / "predictions" / f"{case.name}.nii.gz"
            predicted, reference = nib.load(path), nib.load(case.reference)
            assert predicted.shape == reference.shape
            assert np.allclose(predicted.affine, reference.affine, atol=1e-4)
            assert predicted.header.get_zooms() == pytest.approx(reference.header.get_zooms())
    # new cases are predicted under the names that the challenge wants
    finished = done.suite / "toy" / "fold0"
    arguments = ["--run", str(finished), "--cohort", str(done.root), "--format", done.name, "--name", "mine", "--trust"]
    assert main(["predict-cohort", *arguments, "--out", "submission"]) == 0
    wanted = {done.cohort.format.submitted_file(case, "mine") for case in done.cohort.cases}
    assert {path.name for path in Path("submission").iterdir()} == wanted
