"""The written and the printed leaderboard."""

import io

import pytest
from rich.console import Console

from leaderboard.errors import InputError
from leaderboard.ranking import rank_methods
from leaderboard.table import leaderboard_csv, leaderboard_markdown, print_leaderboard, printed, write_leaderboard

NAN = float("nan")
CONTRACT = (
    "rank,method,cases,missing,dice_mean,dice_sd,hausdorff_mm_mean,hausdorff_mm_sd,precision_mean,precision_sd,"
    "recall_mean,recall_sd,avd_ml_mean,avd_ml_sd,rank_low,rank_high,"
)


@pytest.fixture
def table(build):
    return rank_methods(
        build({"MS-DCNN": [{"dice": 0.5}, {"status": "missing"}], "a|[b]": [{"dice": 0.3}, {"dice": 0.1}]})
    )


def show(table, width):
    console = Console(file=io.StringIO(), width=width)
    print_leaderboard(table, console)
    return console.file.getvalue()


def test_csv_begins_with_the_contract_columns(table):
    lines = leaderboard_csv(table).splitlines()
    assert lines[0].startswith(CONTRACT)
    assert lines[1].startswith("1,MS-DCNN,2,1,0.25,0.25,50000005.0,49999995.0,0.25,0.25,0.25,0.25,5.5,4.5,,,10.0,1,")
    assert lines[2].startswith("2,a|[b],2,0,0.2,0.1,10.0,0.0,0.5,0.0,0.5,0.0,1.0,0.0,,,10.0,0,")
    assert lines[1].endswith("dice,isles2018")


def test_same_cases_give_the_same_bytes(build):
    methods = {name: [{"dice": (7 * i * len(name) % 11) / 11} for i in range(9)] for name in ("a", "bb", "ccc")}
    texts = {
        leaderboard_csv(rank_methods(build(dict(order)))) for order in (methods.items(), reversed(methods.items()))
    }
    assert len(texts) == 1


def test_markdown_has_the_printed_form_of_the_paper(table):
    lines = leaderboard_markdown(table).splitlines()
    assert lines[2] == "Mean (standard deviation) over 2 cases; scheme dice, policy isles2018."
    assert lines[-2] == (
        "| 1 | MS-DCNN | 2 | 1 | 0.25 (0.25) | 50000005.00 (49999995.00) | 0.25 (0.25) | 0.25 (0.25) | 5.50 (4.50) "
        "| 10.00, 1 undefined |"
    )
    assert lines[-1].startswith("| 2 | a\\|[b] | 2 | 0 | 0.20 (0.10) |")


def test_markdown_of_a_method_without_any_distance(build):
    assert "| 1 undefined |" in leaderboard_markdown(rank_methods(build({"a": [{"status": "missing"}]})))


def test_numbers_are_printed_as_in_the_paper():
    assert printed(0.444, 0.3) == "0.44 (0.30)"
    assert printed(19354857.71, 39507889.77) == "19354857.71 (39507889.77)"


def test_both_files_are_written(table, tmp_path):
    write_leaderboard(tmp_path / "leaderboard.csv", table)
    assert (tmp_path / "leaderboard.csv").read_bytes() == leaderboard_csv(table).encode()
    assert (tmp_path / "leaderboard.md").read_bytes() == leaderboard_markdown(table).encode()


def test_a_folder_that_is_not_there_is_an_input_error(table, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_leaderboard(tmp_path / "none" / "leaderboard.csv", table)


@pytest.mark.parametrize("width", [80, 160])
def test_the_printed_table_keeps_every_number_whole(table, width):
    text = show(table, width)
    assert max(map(len, text.splitlines())) <= width
    for part in (
        "MS-DCNN",
        "a|[b]",
        "0.25",
        "(0.25)",
        "50000005.00",
        "(49999995.00)",
        "5.50",
        "(4.50)",
        "[mm]",
        "[mL]",
        "policy isles2018",
    ):
        assert part in text


def test_a_wide_terminal_gets_one_line_a_method(table):
    assert "50000005.00 (49999995.00)" in show(table, 160)
    assert "50000005.00 (49999995.00)" not in show(table, 80)


def test_a_name_of_20_letters_stays_whole_at_80_columns(build):
    name = "perfusion_threshold2"
    assert name in show(rank_methods(build({name: [{"status": "missing"}, {}]})), 80)
