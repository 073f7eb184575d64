"""The quoted table: digits as printed, and consistent with the policy's arithmetic."""

import math
from importlib import resources
from pathlib import Path

import pytest

from leaderboard.errors import InputError
from leaderboard.published import PUBLISHED, read_figures, read_published

UNDEFINED = [12, 12, 12, 10, 12]
MISPRINT = {2: 19354856.55}


def test_table_1_is_quoted_digit_for_digit():
    table = read_published("isles2018").table
    assert table["dice_mean"].tolist() == ["0.51", "0.49", "0.47", "0.47", "0.44"]
    assert table["dice_sd"].iloc[4] == "0.30"
    assert table["team"].tolist() == ["songt1", "pengl1", "cheny11", "pengl1", "Liu et al. (MS-DCNN)"]
    assert table.loc[2, "hausdorff_mm_mean"] == "19384856.55"
    assert table.notna().all(axis=None)


@pytest.mark.parametrize("row", range(5))
def test_mean_and_sd_of_the_distances_belong_together(row):
    quoted = read_published("isles2018").table.iloc[row]
    mean, share = MISPRINT.get(row, float(quoted["hausdorff_mm_mean"])), UNDEFINED[row] / 62
    finite = (mean - 1e8 * share) / (1 - share)
    sd = (1e8 - finite) * math.sqrt(share * (1 - share))
    assert sd == pytest.approx(float(quoted["hausdorff_mm_sd"]), abs=0.011)
    assert 5 < finite < 60


def test_every_table_names_its_source_and_data():
    for name in PUBLISHED:
        quoted = read_published(name)
        assert "Table 1" in quoted.source
        assert "62 test cases" in quoted.data
        assert "misprint" in quoted.note


def test_an_unknown_table_is_refused():
    with pytest.raises(InputError, match="no published table is called x"):
        read_published("x")


def test_every_method_of_the_suite_has_its_row():
    text = resources.files("leaderboard.published").joinpath("methods.csv").read_text(encoding="utf-8")
    listed = {line.split(",")[0] for line in text.splitlines()[2:]}
    configs = Path(__file__).parents[2] / "configs" / "methods"
    assert {path.stem for path in configs.glob("*.yaml")} <= listed


def test_figures_are_matched_by_exact_name_and_name_their_source():
    names = ["strokenet", "strokenet_raw", "ms_dcnn", "plain_unet", "perfusion_tfit", "multiscale_resnet"]
    found = read_figures(names)
    assert list(found) == ["strokenet", "ms_dcnn", "multiscale_resnet"]
    assert found["strokenet"].short == "0.52 (5-fold CV)"
    assert found["ms_dcnn"].short == "0.44 (test set)"
    assert found["multiscale_resnet"].short == "none (ISLES 2017 MRI)"
    assert all(figures.source and figures.split for figures in found.values())


def test_ms_dcnn_is_quoted_as_in_table_1():
    own = read_published("isles2018").table.iloc[4]
    figures = read_figures(["ms_dcnn"])["ms_dcnn"].figures
    for name in ("dice", "precision", "recall", "avd_ml"):
        assert f"{own[f'{name}_mean']}±{own[f'{name}_sd']}" in figures


def test_figures_without_any_score_are_none():
    assert read_figures(["fcn3d_crf", "multiscale_resnet", "plain_unet", "mine"]) == {}
