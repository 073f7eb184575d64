"""The interface for programs: documented, light to import, typed, and what the commands call."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import leaderboard
from leaderboard.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.io.images import read_volume, write_mask
from leaderboard.report.origin import Origin, origin_json

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


TABLE = pd.DataFrame({"method": ["a", "b"], "case": ["c", "c"], "dice": [0.5, 0.25]})
OPTIONS = leaderboard.RankingOptions
#: A call with an argument of a wrong type or an unknown value, and how the line begins.
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a scheme of no text": (lambda: OPTIONS(scheme=3), "scheme: is 3: give a name"),
    "resamples as text": (lambda: OPTIONS(resamples="10"), "resamples: is '10': give a whole number"),
    "half a resample": (lambda: OPTIONS(resamples=1.5), "resamples: is 1.5: give a whole number"),
    "true resamples": (lambda: OPTIONS(resamples=True), "resamples: is True: give a whole number"),
    "no seed": (lambda: OPTIONS(seed=None), "seed: is None: give a whole number"),
    "metrics of no list": (lambda: OPTIONS(metrics=3), "metrics: is 3: give a list of names"),
    "metrics as text": (lambda: OPTIONS(metrics="dice"), "metrics must be a list of names"),
    "a metric of no text": (lambda: OPTIONS(metrics=[3]), "metrics must be a list of names"),
    "simultaneous as text": (lambda: OPTIONS(simultaneous="no"), "simultaneous: is 'no': give True or False"),
    "no preset": (lambda: OPTIONS.of_preset(None), "the preset None is unknown"),
    "a list of presets": (lambda: OPTIONS.of_preset(["isles2022"]), "the preset ['isles2022'] is unknown"),
    "a path to rank": (lambda: leaderboard.rank("cases.csv"), "cases: is 'cases.csv': give a data frame"),
    "a preset's name to rank by": (lambda: leaderboard.rank(TABLE, "isles2022"), "options: is 'isles2022': give Rank"),
    "progress of a number": (lambda: leaderboard.rank(TABLE, progress=3), "progress: is 3: give a function or None"),
    "a list to compare": (lambda: leaderboard.compare([], "a", "b"), "cases: is of the type list: give a data frame"),
    "a method of no text": (lambda: leaderboard.compare(TABLE, "a", 2), "second: is 2: give a method's name"),
    "strata of no text": (lambda: leaderboard.compare(TABLE, "a", "b", by=3), "the strata 3 are unknown"),
    "parts without names": (lambda: leaderboard.rank_parts([TABLE], {}, OPTIONS()), "parts: is of the type list"),
    "a part of no rows": (lambda: leaderboard.rank_parts({"a": 1}, {"a": 1}, OPTIONS()), "the part a: cases: is 1:"),
    "a weight of no number": (
        lambda: leaderboard.rank_parts({"a": TABLE}, {"a": "1"}, OPTIONS()),
        "the weight of a: is '1': give a number above 0",
    ),
    "a weight without end": (
        lambda: leaderboard.rank_parts({"a": TABLE}, {"a": float("inf")}, OPTIONS()),
        "the parts a need weights above 0 and below 1e+100",
    ),
    "a weight of more digits than a float has": (
        lambda: leaderboard.rank_parts({"a": TABLE}, {"a": 10**400}, OPTIONS()), "the parts a need weights above 0 and"
    ),
    "no parts": (lambda: leaderboard.rank_parts({}, {}, OPTIONS()), "parts: there are none: give the rows of at least"),
    "a column twice": (
        lambda: leaderboard.rank(pd.concat([TABLE, TABLE[["dice"]]], axis=1)), "the table has more than one column of "
    ),
    "Dice in percent": (
        lambda: leaderboard.rank(TABLE.assign(dice=[0.5, 62])), "b, c: dice is '62.0': it must be a number be"
    ),
    "half a lesion": (
        lambda: leaderboard.rank(TABLE.assign(reference_lesions=0.5)), "a, c: reference_lesions is '0.5': it must be a"
    ),
    "a status that is none": (
        lambda: leaderboard.rank(TABLE.assign(status="OK")), "a, c: status is 'OK': it must be ok, empty_prediction"
    ),
    "a missing case with a Dice": (
        lambda: leaderboard.rank(TABLE.assign(status=["ok", "missing"])), "b, c: has the status missing, but a dice: "
    ),
    "a row without a method": (
        lambda: leaderboard.rank(TABLE.assign(method=["a", ""])), ", c: method is '': it must be a name"
    ),
    "a part with a wrong value": (
        lambda: leaderboard.rank_parts({"hidden": TABLE.assign(dice=[0.5, 62])}, {"hidden": 1}, OPTIONS()),
        "the part hidden: b, c: dice is '62.0'",
    ),
    "an array with masked elements": (
        lambda: leaderboard.score(np.ma.masked_equal(np.ones((2, 2, 2)), 1), np.ones((2, 2, 2)), (1.0, 1.0, 1.0)),
        "prediction: is a masked array: fill it, as with prediction.filled(0)",
    ),
    "predictions for a page without a cohort": (
        lambda: leaderboard.report(TABLE, "page", predictions={"a": "."}), "predictions need a cohort: give the cohort"
    ),
    "no path to read": (lambda: leaderboard.read_cases(None), "paths: is None: give the path of a table"),
    "numbers to read": (lambda: leaderboard.read_cases([3]), "paths: is 3: give the path of a table"),
    "rows for a path": (lambda: leaderboard.write_cases(TABLE, TABLE), "path: is of the type DataFrame"),
    "rows without cases": (lambda: leaderboard.write_cases("a.csv", TABLE[["method"]]), "cases.csv needs the column"),
    "rows for a leaderboard": (lambda: leaderboard.write_leaderboard("a.csv", TABLE), "a leaderboard needs the"),
    "no leaderboard": (lambda: leaderboard.write_leaderboard("a.csv", None), "table: is None: give a data frame"),
    "a title of no text": (lambda: leaderboard.report(TABLE, "page", title=3), "title: is 3: give a text"),
    "a list of predictions": (
        lambda: leaderboard.report(TABLE, "page", predictions=["masks"]),
        "predictions: is of the type list: give the folder of each method's masks by its name",
    ),
    "predictions of no path": (
        lambda: leaderboard.report(TABLE, "page", predictions={"a": 3}, cohort="c"),
        "predictions of a: is 3: give the folder or zip",
    ),
    "an unknown rule": (lambda: leaderboard.report(TABLE, "page", grid="indx"), "grid: 'indx' is unknown: did you"),
    "no cohort": (lambda: leaderboard.score_folder(None, "masks", "a"), "cohort: is None: give a path"),
    "a method without a name": (lambda: leaderboard.score_folder("c", "m", None), "method: is None: give the method"),
    "processes as text": (lambda: leaderboard.score_folder("c", "m", "a", jobs="2"), "jobs: is '2': give a number"),
    "no process": (lambda: leaderboard.score_folder("c", "m", "a", jobs=0), "jobs: is 0: give a number of at least 1"),
    "a partition that is none": (
        lambda: leaderboard.score_folder("c", "m", "a", partition="test"), "partition: 'test' is unknown: did you mean"
    ),
    "a format that is none": (
        lambda: leaderboard.score_folder("c", "m", "a", format_name=3), "format_name: '3' is unknown: choose"
    ),
    "progress of no function": (
        lambda: leaderboard.score_folder("c", "m", "a", progress=True), "progress: is True: give a function or None"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_an_argument_of_a_wrong_type_is_a_line_that_names_it(kind: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, begins = WRONG[kind]
    with pytest.raises(leaderboard.InputError) as refused:
        call()
    [problem] = refused.value.problems
    assert problem.startswith(begins)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_options_and_are_written() -> None:
    options = OPTIONS(resamples=np.int64(20), seed=np.uint8(3), simultaneous=np.bool_(True))
    assert options == OPTIONS(resamples=20, seed=3, simultaneous=True)
    assert origin_json(Origin(options)) == origin_json(Origin(OPTIONS(resamples=20, seed=3, simultaneous=True)))
    assert leaderboard.rank(TABLE, options)["sets"].tolist() == ["simultaneous"] * 2


def test_the_predictions_of_a_method_are_one_place_or_several(workplace) -> None:
    cases = leaderboard.score_folder("cohort", "masks/mine", "mine")
    one, several = (
        leaderboard.report(cases, out, leaderboard.RankingOptions(resamples=0), cohort="cohort", predictions=given)
        for out, given in (("one", {"mine": "masks/mine"}), ("several", {"mine": [Path("masks/mine")]}))
    )
    assert one.read_bytes() == several.read_bytes()
    assert "data:image" in one.read_text()


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
