"""The quoted table: digits as printed, and consistent with the policy's arithmetic."""

import csv
import math
import re
from importlib import resources
from pathlib import Path

import pytest

from leaderboard.errors import InputError
from leaderboard.report.published import PUBLISHED, read_published, read_quotes

METHODS = Path(__file__).parents[3] / "benchmark" / "methods"
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
    configs = Path(__file__).parents[3] / "configs" / "methods"
    assert {path.stem for path in configs.glob("*.yaml")} <= {row["method"] for row in raw_rows()}


def raw_rows():
    text = resources.files("leaderboard.report.published").joinpath("methods.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()[1:]))


def test_a_row_quotes_a_source_completely_or_nothing():
    for row in raw_rows():
        assert None not in row.values()
        others = {name for name, value in row.items() if value} - {"method", "dice"}
        assert others in (set(), {"paper", "protocol", "split", "figures", "source"}), row["method"]
        assert row["dice"] == "" or row["dice"] in row["figures"]


def test_figures_are_matched_by_exact_name_and_name_their_source():
    names = [
        "strokenet", "strokenet_raw", "StrokeNet", "ms_dcnn_without_median", "ms_dcnn", "fcn3d_crf_without_crf",
        "plain_unet", "perfusion_tmax6", "multiscale_resnet",
    ]  # fmt: skip
    found = read_quotes(names)
    assert {method: [quoted.short for quoted in sources] for method, sources in found.items()} == {
        "strokenet": ["Hu et al.: 0.52 (5-fold CV, own folds)"],
        "ms_dcnn": ["L. Liu et al.: 0.44 (test set)"],
        "multiscale_resnet": ["Lucas & Heinrich: none published (ISLES 2017 MRI)"],
    }
    assert list(found) == ["strokenet", "ms_dcnn", "multiscale_resnet"]


def test_a_method_may_have_several_sources():
    sources = read_quotes(["perfusion_t38"])["perfusion_t38"]
    assert [quoted.short for quoted in sources] == [
        "PerfusionCT-Net: 0.30 (14 training cases)", "Hakim 2021: 0.3 (test set)"
    ]  # fmt: skip
    assert "AVD 15.3 mL" in sources[1].sentence


def test_ms_dcnn_is_quoted_as_in_table_1():
    own = read_published("isles2018").table.iloc[4]
    (quoted,) = read_quotes(["ms_dcnn"])["ms_dcnn"]
    for name in ("dice", "precision", "recall", "avd_ml"):
        assert f"{own[f'{name}_mean']}±{own[f'{name}_sd']}" in quoted.figures


@pytest.mark.skipif(not METHODS.is_dir(), reason="the leaderboard's tests run without the benchmark's folder")
@pytest.mark.parametrize("row", [row for row in raw_rows() if row["dice"]], ids=lambda row: row["method"])
def test_every_number_stands_in_the_readme_of_its_method(row):
    folder = "perfusion_threshold" if row["method"].startswith("perfusion") else row["method"]
    readme = (METHODS / folder / "README.md").read_text(encoding="utf-8")
    printed, quoted = (set(map(float, re.findall(r"\d+\.\d+", text))) for text in (readme, row["figures"]))
    assert quoted <= printed


def test_figures_without_any_score_are_none():
    assert read_quotes(["fcn3d_crf", "multiscale_resnet", "plain_unet", "mine"]) == {}
