"""The interface for programs: documented, light to import, typed, and what the commands call."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import leaderboard
from leaderboard.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.io.images import read_volume, write_mask

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path, isles_tree, monkeypatch) -> Path:
    """A folder with a cohort and two methods' masks, as the page supposes."""
    cohort = isles_tree(range(1, 7))
    assert cohort == tmp_path / "cohort"
    for method, shift in (("mine", 0), ("other", 1)):
        folder = tmp_path / "masks" / method
        folder.mkdir(parents=True)
        for case in read_cohort(cohort).cases:
            volume = read_volume(case.reference)
            moved = np.roll(np.asarray(volume.data), shift * (case.number % 3), axis=0)
            write_mask(folder / f"{case.name}.nii.gz", moved, volume.header)
    (tmp_path / "board").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_and_print_what_stands_below_them(workplace) -> None:
    assert len(EXAMPLES) == 9
    known: dict[str, object] = {}
    for example in EXAMPLES:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(example, str(PAGE), "exec"), known)  # our own page
        expected = re.findall(r"^# (.+)$", example, re.MULTILINE)
        assert not expected or printed.getvalue().splitlines() == expected
    assert (workplace / "page" / "index.html").is_file()
    assert (workplace / "board" / "leaderboard.md").read_text().startswith("# Leaderboard")


def test_commands_and_functions_write_the_same_bytes(workplace, capsys) -> None:
    base = ["--cohort", "cohort", "--predictions", "masks/other", "--method", "other"]
    assert main(["score", *base, "--out", "command.csv"]) == 0
    leaderboard.write_cases("function.csv", leaderboard.score_folder("cohort", "masks/other", "other"))
    assert Path("command.csv").read_bytes() == Path("function.csv").read_bytes()
    assert main(["rank", "command.csv", "--preset", "isles2024", "--out", "command_board.csv"]) == 0
    options = leaderboard.RankingOptions.of_preset("isles2024")
    leaderboard.write_leaderboard(
        "function_board.csv", leaderboard.rank(leaderboard.read_cases("function.csv"), options)
    )
    for ending in ("csv", "md", "json"):
        assert Path(f"command_board.{ending}").read_bytes() == Path(f"function_board.{ending}").read_bytes()
    assert main(["report", "command.csv", "--resamples", "100", "--out", "command_page"]) == 0
    few = leaderboard.RankingOptions(resamples=100)
    page = leaderboard.report(leaderboard.read_cases("function.csv"), "function_page", few)
    assert page.read_bytes() == Path("command_page/index.html").read_bytes()


def test_importing_it_imports_nothing_heavy_and_every_name_is_there() -> None:
    code = """
import sys
import leaderboard
heavy = {"numpy", "pandas", "scipy", "SimpleITK", "nibabel", "medpy", "matplotlib", "rich", "torch", "benchmark"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert set(leaderboard.__all__) <= set(dir(leaderboard))
print(*(name for name in leaderboard.__all__ if getattr(leaderboard, name).__doc__ is None))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_the_report_can_be_called_whatever_was_imported_before() -> None:
    code = """
import leaderboard.report.published
import leaderboard
from leaderboard.errors import InputError
import pandas
try:
    leaderboard.report(pandas.DataFrame({"x": [1]}), "page")
except InputError as error:
    print(error.problems[0])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs the columns method, case" in run.stdout


def test_a_name_that_is_not_there_is_said_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'leaderboard' has no attribute 'scores'"):
        leaderboard.scores  # noqa: B018


@pytest.mark.slow
def test_a_type_checker_knows_what_the_functions_take_and_give(tmp_path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "import numpy as np\nimport leaderboard\n\n"
        "mask = np.zeros((2, 2, 2), bool)\n"
        "reveal_type(leaderboard.score(mask, mask, (1.0, 1.0, 1.0)))\n"
        "cases = leaderboard.read_cases('cases.csv')\n"
        "reveal_type(leaderboard.report(cases, 'page', leaderboard.RankingOptions.of_preset('isles2022')))\n"
        "leaderboard.rank(3)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PAGE.parents[1])
    assert "dict[str, float | str]" in run.stdout.replace("builtins.", "")
    assert 'Revealed type is "pathlib.Path"' in run.stdout
    assert 'program.py:8: error: Argument 1 to "rank' in run.stdout
