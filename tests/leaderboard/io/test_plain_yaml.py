from __future__ import annotations

import time
from pathlib import Path

import pytest

from leaderboard.io.plain_yaml import MOST_BYTES, load_yaml, parse_yaml


def repeated(first: str, later: str, levels: int = 12) -> str:
    """Each level is nine times the one before."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        names = ",".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {later.format(names)}")
    return "\n".join(lines) + f"\nname: *a{levels - 1}\nmethods: [strokenet]\n"


LAUGHS = repeated("[lol]", "[{}]")
#: What is refused, and a word of the reason.
HOSTILE = {
    "aliases of aliases": (LAUGHS, "aliases"),
    "merges of merges": (repeated("{lol: 1}", "{{<<: [{}]}}"), "merges"),
    "an alias of itself": ("name: &a [*a]\n", "aliases"),
    "a mapping of itself": ("name: &a\n  b: *a\n", "aliases"),
    "many brackets": ("name: " + "[" * 100_000, "nested"),
    "many braces": ("name: " + "{a: " * 20_000, "nested"),
    "many dashes": ("- " * 50_000, "nested"),
    "a date without such a month": ("name: 2026-13-45\n", "'2026-13-45' for a date in line 1, column 7"),
    "an empty whole number": ("name: !!int ''\n", "has '' for a whole number"),
    "no time": ("name: !!timestamp x\n", "has 'x' for a date"),
    "no number": ("name: !!float " + "x" * 10_000 + "\n", "has 'xxx"),
    "neither true nor false": ("name: !!bool x\n", "has 'x' for true or false"),
    "a number of many digits": ("name: 0x" + "f" * 5000 + "\n", "digits"),
    "code": ("name: !!python/object/apply:os.system [id]\n", "YAML"),
    "a key twice": ("methods: [strokenet]\nmethods: [plain_unet]\n", "has methods twice in line 2, column 1"),
    "a key twice within": ("methods: [strokenet]\nfolds: {number: 2, number: 3}\n", "has number twice"),
    "a second document": ("name: a\n---\nname: b\n", "^has a second document in line 2, column 1$"),
    "no text": ("name: \udcff\n", "UTF-8"),
    "more than any config": ("#" * (MOST_BYTES + 1), "longer"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_yaml_is_refused_quickly_in_one_short_line(tmp_path: Path, kind: str) -> None:
    text, word = HOSTILE[kind]
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    started = time.process_time()
    with pytest.raises(ValueError, match=word) as refused:
        load_yaml(path)
    assert time.process_time() - started < 5
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("title: mine: yours\n", "line 1, column 12"),
        ("a: 1\nb: [1, 2\n", "line 2, column 4"),
        ("a: 1\nb: 'open\nc: 3\n", "line 2, column 4"),
        ("a: 1\n\tb: 2\n", "line 2, column 1"),
        ("a: @b\n", "line 1, column 4"),
        ("a: *b\n", "line 1, column 4"),
        ("a: !odd 1\n", "line 1, column 4"),
        ("? [a]\n: 1\n", "line 1, column 3"),
        ("a: \x07\n", "U\\+0007"),
        ('title: "\\UFFFFFFFF"\n', "line 1, column 11.*no such character"),
        ('a: 1\ntitle: "\\U00110000"\n', "line 2, column 11.*no such character"),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", "line 1, column 9.*no such version"),
    ],
)
def test_a_broken_file_is_told_by_its_place_and_in_no_words_of_a_parser(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=f"^is not valid YAML.*{place}") as refused:
        parse_yaml(text)
    said = str(refused.value)
    assert said.isprintable()
    assert not [word for word in ("while", "expected", "token", "unicode", "construct", "block") if word in said]


def test_what_a_merge_brings_may_be_said_again() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a, y: 4}\n"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 4}}


def test_a_setting_of_the_command_line_is_bounded_too() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_yaml("[" * 10_000)


def test_anchors_aliases_and_merges_of_an_honest_config_are_read(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, y: 3}\nc: [*a, *a]\n")
    first = {"x": 1, "y": [1, 2]}
    assert load_yaml(path) == {"a": first, "b": {"x": 1, "y": 3}, "c": [first, first]}
