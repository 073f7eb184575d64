"""Tidy tables of other programs are ranked by the metrics that they have; features that need more columns name them."""

import pandas as pd
import pytest

from leaderboard.cases import read_cases, write_cases
from leaderboard.cli import main
from leaderboard.columns import CASE_COLUMNS
from leaderboard.errors import InputError
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse, rank_methods
from leaderboard.ranking.reading import without_patient
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.strata import rank_strata
from leaderboard.report.leaderboard_files import LEADERBOARD_COLUMNS, leaderboard_latex
from leaderboard.report.page import render_page

TIDY = "case,dice,method\nx1,0.5,a\nx2,0.7,a\nx1,0.9,b\nx2,0.8,b\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "t.csv").write_text(TIDY)
    return tmp_path / "t.csv"


def frame(**columns):
    return pd.DataFrame({"method": list("aabb"), "case": [1, 2, 1, 2], **columns})


@pytest.mark.parametrize("options", [[], ["--metrics", "dice"], ["--scheme", "rank-then-mean"]])
def test_method_case_and_dice_are_enough_from_the_command_line(path, tmp_path, options, capsys):
    assert main(["rank", str(path), "--out", str(tmp_path / "o.csv"), "--resamples", "30", "--latex", *options]) == 0
    table = pd.read_csv(tmp_path / "o.csv")
    assert list(table.columns[:16]) == list(LEADERBOARD_COLUMNS)
    assert table[["method", "rank", "dice_mean"]].to_numpy().tolist() == [["b", 1, 0.85], ["a", 2, 0.6]]
    assert table[["hausdorff_mm_mean", "recall_sd"]].isna().all(axis=None)
    assert "| 1 | b | 1-2 |" in (tmp_path / "o.md").read_text()
    assert "Hausdorff" not in (tmp_path / "o.md").read_text() + capsys.readouterr().out


@pytest.mark.parametrize("scheme", SCHEMES)
def test_method_case_and_dice_are_enough_from_python(scheme):
    cases = frame(dice=[0.5, 0.7, 0.9, 0.8])
    table = rank_methods(cases, RankingOptions(scheme=scheme, resamples=20)).set_index("method")
    assert table["dice_mean"].to_dict() == {"a": 0.6, "b": 0.85}
    assert table.loc["b", "rank"] == 1
    found = analyse(cases, RankingOptions(scheme=scheme, metrics=["dice"], resamples=20))
    compared = ("dice", "mean-then-rank", "rank-then-mean", "test-then-rank")
    variant = "test-then-rank-challenger"
    assert found.agreement.schemes == (*compared, *([variant] if scheme == variant else []))
    assert without_patient(cases) == ["1", "2"]


def test_a_column_of_ones_own_is_enough(path, tmp_path):
    path.write_text(TIDY.replace("dice", "seconds"))
    assert main(["rank", str(path), "--out", str(tmp_path / "o.csv"), "--metrics", "seconds:lower"]) == 0
    table = pd.read_csv(tmp_path / "o.csv")
    assert table["method"].tolist() == ["a", "b"]
    assert set(table["scheme"]) == {"mean-then-rank"}
    found = analyse(read_cases(path), RankingOptions(scheme="mean-then-rank", metrics=["seconds:lower"], resamples=0))
    assert found.agreement.schemes == ("mean-then-rank", "rank-then-mean", "test-then-rank")


def test_distances_alone_are_ranked_and_shown(path):
    table = rank_methods(frame(hausdorff_mm=[9.0, 9.0, 3.0, 4.0]), RankingOptions(scheme="mean-then-rank", resamples=0))
    assert table["method"].tolist() == ["b", "a"]
    assert r"Method & Missing & Hausdorff [mm] \\" in leaderboard_latex(table)


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"recall": [0.1] * 4}, {}, "the scheme dice needs the column dice, which the tables lack"),
        ({"recall": [0.1] * 4}, {"scheme": "mean-then-rank", "metrics": ["dice"]}, "the metric dice is not among"),
        ({"seconds": [1] * 4}, {"scheme": "mean-then-rank"}, r"none of the metrics dice, .*\(but seconds"),
        (
            {"inplane_nsd": [0.5] * 4, "seconds": [1] * 4},
            {"scheme": "mean-then-rank"},
            r"\(but inplane_nsd, seconds\): say what to rank by, as in --metrics inplane_nsd",
        ),
        (
            {"volume_difference_ml": [0.5] * 4},
            {"scheme": "mean-then-rank"},
            "but volume_difference_ml.: name a column of numbers with its direction",
        ),
        ({"dice": [0.1, None, 0.2, 0.3]}, {}, "row 1: dice cannot be counted, .* column status"),
        ({"dice": [1e308, 0, 0, 0]}, {}, "dice holds a number beyond"),
        ({"dice": ["much", 0, 0, 0]}, {}, "dice holds a value that is not a number"),
        ({"dice": [0.1] * 4, "patient": ["=1", "", "", ""]}, {}, "the patient '=1' begins a spreadsheet's formula"),
    ],
)
def test_what_needs_more_columns_or_other_values_says_so_by_name(columns, options, said):
    with pytest.raises(InputError, match=said):
        rank_methods(frame(**columns), RankingOptions(resamples=0, **options))


def test_rows_without_method_or_case_are_refused_by_name():
    with pytest.raises(InputError, match="a table to rank needs the column method, which the table lacks"):
        rank_methods(frame(dice=[0.1] * 4).drop(columns="method"))


def test_strata_by_size_and_the_page_name_the_columns_that_they_need():
    cases = frame(dice=[0.5, 0.7, 0.9, 0.8])
    with pytest.raises(InputError, match="ranking by size needs the column reference_ml"):
        rank_strata(cases, "size", RankingOptions(resamples=0))
    with pytest.raises(InputError, match="the page needs the columns hausdorff_mm"):
        render_page(analyse(cases, RankingOptions(resamples=0)))
    for name in CASE_COLUMNS[6:]:
        cases[name] = None if name == "recall" else 1.0
    with pytest.raises(InputError, match="the page needs values in the columns recall"):
        render_page(analyse(cases, RankingOptions(resamples=0)))


@pytest.mark.parametrize("metric", ["dice:lower", "hausdorff_mm:higher"])
def test_a_known_metric_is_not_ranked_backwards(build, metric):
    with pytest.raises(InputError, match=f"{metric} would rank backwards"):
        rank_methods(build({"a": [{}]}), RankingOptions(scheme="mean-then-rank", metrics=[metric], resamples=0))


def test_a_known_metric_may_be_given_its_own_direction(build):
    options = [RankingOptions(scheme="mean-then-rank", metrics=[name], resamples=0) for name in ("dice", "dice:higher")]
    first, second = (rank_methods(build({"a": [{}], "b": [{"dice": 0.1}]}), option) for option in options)
    assert first.equals(second)


def test_a_table_of_dice_alone_is_ranked_beside_a_full_one_by_what_is_asked_for(path, tmp_path, build, capsys):
    full = build({"z": [{"dice": 0.6, "reference_ml": 1.0}, {"dice": 0.1, "reference_ml": 90.0}]})
    full["case"] = ["x1", "x2"]
    write_cases(tmp_path / "full.csv", full)
    tables, out = [str(path), str(tmp_path / "full.csv")], str(tmp_path / "o.csv")
    asked = ["--metrics", "dice", "--by", "size", "--resamples", "30"]
    assert main(["rank", *tables, "--out", out, *asked]) == 0
    found = pd.read_csv(out)
    assert found[["method", "dice_mean"]].to_numpy().tolist() == [["b", 0.85], ["a", 0.6], ["z", 0.35]]
    assert found["avd_ml_mean"].isna().all()  # no method is shown by what another one lacks
    assert "left out for all methods: hausdorff_mm, precision, recall, avd_ml," in capsys.readouterr().err
    strata = pd.read_csv(tmp_path / "o_by_size.csv")
    assert strata.groupby("stratum", sort=False)["method"].agg(list).to_dict() == {
        "below 5 mL": ["b", "z", "a"], "70 mL and more": ["b", "a", "z"]
    }  # fmt: skip
    for options in ([], ["--metrics", "dice,avd_ml"]):
        assert main(["rank", *tables, "--out", out, *options]) == 1
        assert "a: has no value of avd_ml in any case" in capsys.readouterr().err


def test_a_case_whose_size_no_method_knows_is_in_no_stratum():
    cases = frame(dice=[0.1] * 4, reference_ml=[1.0, None, 1.0, None])
    with pytest.raises(InputError, match=r"^2: no method has a reference_ml"):
        rank_strata(cases, "size")
