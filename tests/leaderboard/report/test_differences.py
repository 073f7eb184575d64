"""Which cells of two tables differ: every one that was changed by hand, and no other."""

import csv
from pathlib import Path

import pytest

import leaderboard
from leaderboard.report.differences import Difference, compare, read_sheet

CSV = "rank,method,dice_mean\n1,a,0.9\n2,b,0.8\n"
MARKDOWN = (
    "# Leaderboard\n\nMean over 2 cases.\n\n| Rank | Method | Dice |\n|---:|---|---:|\n| 1 | a\\|x | 0.90 |\n"
    "| 2 | b | 0.80 |\n\nNotes.\n"
)
LATEX = (
    "% Mean\n\\begin{tabular}{rlr}\n\\toprule\nRank & Method & Dice \\\\\n\\midrule\n1 & a & 0.90 \\\\\n"
    "\\bottomrule\n\\end{tabular}\n"
)
TWIN = Path(leaderboard.__file__).parent / "results" / "twin"


def found(name: str, first: str, second: str) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.row, each.column, each.first, each.second) for each in compare(name, first, second)]


@pytest.mark.parametrize(("name", "text"), [("t.csv", CSV), ("t.md", MARKDOWN), ("t.tex", LATEX)])
def test_a_text_does_not_differ_from_itself(name, text):
    assert compare(name, text, text) == []


@pytest.mark.parametrize(
    ("name", "text", "old", "new", "row", "column"),
    [
        ("t.csv", CSV, "0.8", "0.85", "b", "dice_mean"),
        ("t.csv", CSV, "1,a", "2,a", "a", "rank"),
        ("t.md", MARKDOWN, "0.90", "0.95", "a|x", "Dice"),
        ("t.tex", LATEX, "0.90", "0.95", "a", "Dice"),
    ],
)
def test_a_changed_cell_is_named_with_both_values(name, text, old, new, row, column):
    ((found_row, found_column, first, second),) = found(name, text, text.replace(old, new, 1))
    assert (found_row, found_column) == (row, column)
    assert (first, second) == (old.partition(",")[0], new.partition(",")[0])


def test_every_cell_of_a_real_table_is_told_apart_from_all_others():
    with (TWIN / "leaderboard.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    text = (TWIN / "leaderboard.csv").read_text()
    for number, row in enumerate(rows):
        for place, column in enumerate(header):
            if column == "method":
                continue
            changed = [list(fields) for fields in rows]
            changed[number][place] += "9"
            other = "\n".join(",".join(fields) for fields in [header, *changed]) + "\n"
            assert found("t.csv", text, other) == [(row[1], column, row[place], row[place] + "9")]


def test_rows_and_columns_of_one_table_alone_are_named():
    assert found("t.csv", CSV, CSV + "3,c,0.1\n") == [("c", "", None, "there")]
    assert found("t.csv", CSV, CSV.replace("2,b,0.8\n", "")) == [("b", "", "there", None)]
    wider = "rank,method,dice_mean,note\n1,a,0.9,x\n2,b,0.8,y\n"
    assert found("t.csv", CSV, wider) == [("", "column note", None, "there")]


def test_a_method_that_stands_twice_is_a_row_of_its_own():
    assert found("t.csv", CSV, CSV + "3,b,0.1\n") == [("b (2)", "", None, "there")]


def test_a_surplus_field_is_told():
    assert found("t.csv", CSV, CSV.replace("0.8", "0.8,7")) == [("b", "(surplus fields)", None, "7")]


def test_rows_of_a_stratum_are_named_with_it():
    text = "stratum,rank,method\nfold 0,1,a\nfold 1,1,a\n"
    assert found("t.csv", text, text.replace("1,1,a", "1,2,a")) == [("fold 1, a", "rank", "1", "2")]
    markdown = "# By fold\n\n## Fold 1\n\n| Rank | Method |\n|---:|---|\n| 1 | a |\n"
    assert found("t.md", markdown, markdown.replace("| 1 |", "| 2 |")) == [("Fold 1, a", "Rank", "1", "2")]


def test_lines_beside_the_table_are_told_by_number():
    assert found("t.md", MARKDOWN, MARKDOWN.replace("Notes.", "Other notes.")) == [
        ("line 10", "", "Notes.", "Other notes.")
    ]


@pytest.mark.parametrize(
    ("changed", "row", "column"),
    [
        (CSV.replace("\n", "\r\n"), "bytes of line 1", ""),
        (CSV.removesuffix("\n"), "bytes of line 3", ""),
        (CSV.replace("0.8", '"0.8"'), "bytes of line 3", ""),
        ("rank,method,dice_mean\n2,b,0.8\n1,a,0.9\n", "", "order of rows"),
        ("method,rank,dice_mean\na,1,0.9\nb,2,0.8\n", "", "order of columns"),
    ],
)
def test_the_same_cells_in_other_bytes_are_one_difference(changed, row, column):
    (difference,) = compare("t.csv", CSV, changed)
    assert (difference.row, difference.column) == (row, column)
    assert difference.first != difference.second


def test_windows_line_ends_of_a_markdown_table_are_one_difference():
    assert len(compare("t.md", MARKDOWN, MARKDOWN.replace("\n", "\r\n"))) == 1


def test_what_is_no_csv_is_said():
    with pytest.raises(csv.Error):
        read_sheet("t.csv", "a,b\n" + "x" * 200_000)


def test_a_place_reads_as_file_row_and_column():
    assert Difference("t.csv", "b", "rank", "1", "2").place == "t.csv: b, rank"
    assert Difference("t.csv", "", "", "1", None).place == "t.csv"
