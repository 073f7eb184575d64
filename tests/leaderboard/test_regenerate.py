"""Committed leaderboards follow from their cases.csv to the byte: the tool for maintainers."""

import json

import pytest

from leaderboard.cases import write_cases
from leaderboard.regenerate import main

CHOSEN = {"scheme": "rank-then-mean", "resamples": 40, "metrics": ["dice", "avd_ml"], "published": "isles2018"}


@pytest.fixture
def results(tmp_path, build):
    cases = build({"a": [{"dice": 0.9}, {"dice": 0.2}], "b": [{"dice": 0.4}, {"status": "missing"}]})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_cases(tmp_path / name / "cases.csv", cases)
    (tmp_path / "two" / "leaderboard.json").write_text(json.dumps(CHOSEN))
    (tmp_path / "notes").mkdir()
    assert main([str(tmp_path), "--write"]) == 0
    return tmp_path


def test_what_was_written_agrees(results, capsys):
    assert main([str(results)]) == 0
    assert capsys.readouterr().out.count("agrees with its cases.csv") == 2


def test_settings_are_followed(results):
    text = (results / "two" / "leaderboard.csv").read_text()
    assert ",rank-then-mean,isles2018," in text
    assert text.splitlines()[1].endswith(",40,0,dice;avd_ml")
    assert "songt1" in (results / "two" / "leaderboard.md").read_text()
    assert "songt1" not in (results / "one" / "leaderboard.md").read_text()
    assert (results / "one" / "leaderboard.csv").read_text().splitlines()[1].endswith(",10000,0")


@pytest.mark.parametrize("name", ["leaderboard.csv", "leaderboard.md"])
def test_a_byte_that_differs_fails(results, capsys, name):
    path = results / "one" / name
    content = path.read_bytes()
    for changed in (content[:-2] + b"7\n", content.replace(b"\n", b"\r\n"), content + b"\n", content[:-1]):
        path.write_bytes(changed)
        assert main([str(results)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"regenerate: {path}:")
        assert len(error.splitlines()) == 1
    path.unlink()
    assert main([str(results)]) == 1
    error = capsys.readouterr().err
    assert "is missing" in error
    assert "--write" not in error


def test_a_changed_case_fails(results, capsys):
    path = results / "one" / "cases.csv"
    path.write_text(path.read_text().replace(",0.9,", ",0.8,", 1))
    assert main([str(results)]) == 1
    cells = [line.rpartition("/")[2].partition(": published")[0] for line in capsys.readouterr().err.splitlines()]
    table = [f"leaderboard.csv: a, {column}" for column in ("dice_mean", "dice_sd", "score")]
    assert cells == [*table, "leaderboard.md: a, Dice"]


def test_writing_leaves_what_agrees_and_the_cases_alone(results):
    before = {path: path.read_bytes() for path in results.rglob("*.*")}
    assert main([str(results), "--write"]) == 0
    assert {path: path.read_bytes() for path in results.rglob("*.*")} == before


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"colour": "red"}',
        '{"resamples": "many"}',
        '{"seed": true}',
        '{"scheme": "luck"}',
        '{"metrics": [1]}',
        '{"metrics": "dice"}',
        '{"metrics": ["dice:lower"]}',
        '{"resamples": 1000000000000}',
        '{"seed": -1}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"seed": ' + "9" * 5000 + "}",
    ],
)
def test_settings_at_fault_are_an_input_error(results, capsys, text):
    (results / "two" / "leaderboard.json").write_text(text)
    assert main([str(results)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "leaderboard.json" in line or "dice:lower" in line


def test_a_folder_without_leaderboards_is_an_input_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "holds no leaderboard" in capsys.readouterr().err
