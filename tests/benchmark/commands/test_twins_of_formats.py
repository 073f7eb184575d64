"""A suite whose synthetic cohort is in the tree of another format, from end to end."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from toy import SUITE

from benchmark.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.report import SYNTHETIC


@pytest.mark.parametrize("name", ["isles2022", pytest.param("isles2024", marks=pytest.mark.slow)])
def test_a_suite_on_a_twin_of_a_format_predicts_on_each_cases_own_grid_and_says_synthetic(
    project: Path, name: str
) -> None:
    twin = {"cases": 4, "size": 32, "seed": 0, "format": name}
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"cohort": {"twin": twin}}))
    assert main(["run", "--config", "suite.yaml", "--out", "runs", "--set", "trainer.max_epochs=1"]) == 0
    suite = project / "runs" / "small"
    cohort = read_cohort(suite / "cohort")
    assert cohort.format.name == name
    for case in cohort.cases:
        (path,) = suite.glob(f"toy/fold*/predictions/{case.name}.nii.gz")
        prediction, grid = (nib.Nifti1Image.from_filename(each) for each in (path, case.grid_file))
        assert prediction.shape == grid.shape
        np.testing.assert_allclose(prediction.affine, grid.affine, atol=1e-4)
    tables = suite / "leaderboard"
    assert set(pd.read_csv(tables / "cases.csv")["case"]) == {case.name for case in cohort.cases}
    assert (tables / "banner.txt").read_text().startswith(SYNTHETIC)
    assert (tables / "twin.json").read_bytes() == (suite / "cohort" / "twin.json").read_bytes()


def test_the_twin_command_takes_a_format(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["twin", str(out), "--cases", "1", "--size", "32", "--jobs", "1", "--format", "isles2022"]) == 0
    assert read_cohort(out).format.name == "isles2022"


def test_an_unknown_format_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["twin", str(tmp_path / "out"), "--cases", "1", "--size", "32", "--format", "isles2023"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "choose among isles2018, isles2022, isles2024" in line
