"""One rule for names, wherever they come in and whatever is written: no cell that a spreadsheet executes."""

import csv
import io
import re

import pytest

import leaderboard
from leaderboard.cli import main
from leaderboard.errors import InputError
from leaderboard.io.tables import name_fault
from leaderboard.ranking.options import RankingOptions
from leaderboard.report.leaderboard_files import leaderboard_latex, leaderboard_markdown, leaderboard_texts

REFUSED = {
    "=1+1": "begins a spreadsheet's formula",
    "+1": "begins a spreadsheet's formula",
    "-1": "begins a spreadsheet's formula",
    "@x": "begins a spreadsheet's formula",
    "a;=1": "begins a spreadsheet's formula",
    "a\nb": "holds a line break, which cannot be seen",
    "a\u2028b": "holds a line break, which cannot be seen",
    "a\u00a0b": "holds NO-BREAK SPACE (U+00A0), which cannot be seen",
    "a\u202eb": "holds RIGHT-TO-LEFT OVERRIDE (U+202E), which cannot be seen",
    "a\u200db": "holds ZERO WIDTH JOINER (U+200D), which cannot be seen",
    "a\x07b": "holds the character U+0007, which cannot be seen",
    " a": "begins or ends with a space",
}
TAKEN = [
    "a-b",
    "3D (a = 1)",
    "<b>x</b>",
    "a|[b](c)",
    "50 % & $x_{1}$ ~ ^ # \\",
    "🧠 héron",
    "Müller, 'the' \"best\"",
    "a;b",
]
OPTIONS = RankingOptions(resamples=0)

of_refused = pytest.mark.parametrize("name", REFUSED, ids=range(len(REFUSED)))


@of_refused
@pytest.mark.parametrize("kind", ["method", "case", "patient"])
def test_every_way_in_and_out_refuses_a_name_in_the_same_words(build, tmp_path, name, kind):
    cases = build({"a": [{"dice": 0.9}] * 2, "b": [{"dice": 0.5}] * 2})
    cases[kind] = cases[kind].replace({"a": name, "case_1": name, "P1": name})
    assert name in cases[kind].tolist()
    (tmp_path / "cases.csv").write_text(cases.to_csv(index=False), newline="")
    for way in (
        lambda: leaderboard.rank(cases, OPTIONS),
        lambda: leaderboard.report(cases, tmp_path / "page", OPTIONS),
        lambda: leaderboard.write_cases(tmp_path / "out.csv", cases),
        lambda: leaderboard.read_cases(tmp_path / "cases.csv"),
    ):
        with pytest.raises(InputError) as refused:
            way()
        assert all(f"the {kind} {name!r} {REFUSED[name]}" in problem for problem in refused.value.problems)
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "page" / "index.html").exists()


@of_refused
def test_score_refuses_the_name_of_a_method_in_the_same_words(isles_tree, tmp_path, name, capsys):
    for folder in ("references", "masks"):
        isles_tree.image(tmp_path / folder / "case_1.nii", isles_tree.values((8, 9, 2), "OT", 1))
    words = ["--cohort", str(tmp_path / "references"), "--predictions", str(tmp_path / "masks")]
    assert main(["score", *words, f"--method={name}", "--out", str(tmp_path / "out.csv")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"leaderboard: the method {name!r} {name_fault(name)}"
    assert REFUSED[name] in line


@pytest.mark.parametrize("name", TAKEN)
def test_other_names_are_escaped_by_every_writer_and_no_cell_is_a_formula(build, tmp_path, name):
    assert name_fault(name) is None
    cases = build({name: [{"dice": 0.9}] * 2, "other": [{"dice": 0.5}] * 2})
    table = leaderboard.rank(cases, OPTIONS)
    leaderboard.write_cases(tmp_path / "cases.csv", cases)
    texts = [(tmp_path / "cases.csv").read_text(), *leaderboard_texts(tmp_path / "leaderboard.csv", table).values()]
    for text in texts[:2]:
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert name in cells
        assert not [cell for cell in cells if re.match(r"\s*[=+@]|-\D", cell)]
    [row] = [line for line in leaderboard_markdown(table).splitlines() if line.startswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 11
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(", row)
    [row] = [line for line in leaderboard_latex(table).splitlines() if line.startswith("1 & ")]
    assert len(re.findall(r"(?<!\\)&", row)) == 7
    assert not re.search(r"(?<!\\)[%$#_]", row)
