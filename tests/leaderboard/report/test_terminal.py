"""The printed leaderboard, at the width of a terminal."""

import io

import pytest
from rich.console import Console

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.published import read_published
from leaderboard.report.terminal import print_leaderboard, print_strata


@pytest.fixture
def table(build):
    return rank_methods(
        build({"MS-DCNN": [{"dice": 0.5}, {"status": "missing"}], "a|[b]": [{"dice": 0.3}, {"dice": 0.1}]}),
        RankingOptions(resamples=50),
    )


def show(table, width, published=None):
    console = Console(file=io.StringIO(), width=width)
    print_leaderboard(table, console, published)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_the_printed_table_keeps_every_number_whole(table, width):
    text = show(table, width)
    assert max(map(len, text.splitlines())) <= width
    for part in (
        "MS-DCNN", "a|[b]", "1-2", "0.25", "(0.25)", "10.00", "1 undefined", "5.50", "(4.50)", "[mm]", "[mL]",
        "policy isles2018", "resamples of",
    ):  # fmt: skip
        assert part in text


def test_a_wide_terminal_gets_one_line_a_method(table):
    assert "10.00 (0.00), 1 undefined" in show(table, 160)
    assert "10.00 (0.00), 1 undefined" not in show(table, 80)


def test_a_wide_terminal_gets_the_groups(table):
    assert "Group" in show(table, 160).splitlines()[0]
    assert "First in" in show(table, 160).splitlines()[0]


def test_20_methods_with_long_names_fit_80_columns(build):
    names = [f"perfusion_threshold{letter}" for letter in "abcdefghijklmnopqrst"]
    methods = {name: [{"status": "missing"}, {"dice": 0.01 * place}] for place, name in enumerate(names)}
    text = show(rank_methods(build(methods), RankingOptions(resamples=30)), 80)
    assert max(map(len, text.splitlines())) <= 80
    for part in (*names, "1-20"):
        assert part in text
    assert text.count("1 undefined") == 20


def test_without_resamples_no_set_is_shown(build):
    text = show(rank_methods(build({"a": [{}]}), RankingOptions(resamples=0)), 80)
    assert "95 %" not in text
    assert "set" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_published_table_stands_below_with_a_warning(table, width):
    text = show(table, width, read_published("isles2018"))
    assert max(map(len, text.splitlines())) <= width
    assert text.index("a|[b]") < text.index("other data") < text.index("songt1")
    assert "19354857.71" in text
    assert text.count("pengl1") == 2


def test_each_stratum_is_printed(table):
    console = Console(file=io.StringIO(), width=80)
    print_strata({"below 5 mL": table, "fold 1": table}, console)
    text = console.file.getvalue()
    assert "Below 5 mL: Mean (standard deviation) over 2 cases" in text
    assert "Fold 1: " in text
    assert text.count("MS-DCNN") == 2


def test_undefined_distances_are_explained_where_there_are_any(table, build):
    text = " ".join(show(table, 80).split())
    assert "undefined: the distance to or from an empty or missing mask, which counts 100000000 mm" in text
    assert "50000005" not in text
    whole = rank_methods(build({"a": [{"dice": 0.5}, {"dice": 0.4}]}), RankingOptions(resamples=0))
    assert "100000000" not in show(whole, 80)


def test_a_table_of_synthetic_rows_begins_with_the_word(build):
    table = rank_methods(build({"a": [{"data": "synthetic"}]}), RankingOptions(resamples=0))
    assert show(table, 80).startswith("Synthetic twin: ")
    assert "ynthetic" not in show(rank_methods(build({"a": [{}]}), RankingOptions(resamples=0)), 80)
