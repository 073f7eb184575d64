"""``leaderboard verify`` and ``leaderboard diff``, as a reviewer meets them."""

import csv
import json
import shutil

import pytest

from leaderboard.cases import write_cases
from leaderboard.cli import main

RANK = ["--resamples", "40"]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, build):
    """Two result folders: one with the defaults, one with every option."""
    folder = tmp_path_factory.mktemp("ranked") / "results"
    cases = build({"a": [{"dice": 0.9}, {"dice": 0.2}, {}], "b": [{"dice": 0.4}, {"status": "missing"}, {}]})
    choices = ["--scheme", "mean-then-rank", "--metrics", "dice,avd_ml", "--by", "size", "--latex"]
    for name, more in (("one", []), ("two", [*choices, "--seed", "3", "--published", "isles2018"])):
        (folder / name).mkdir(parents=True)
        table = folder / name / "cases.csv"
        write_cases(table, cases)
        assert main(["rank", str(table), "--out", str(table.with_name("leaderboard.csv")), *RANK, *more]) == 0
    return folder


@pytest.fixture
def results(tmp_path, ranked):
    """A copy of them."""
    return shutil.copytree(ranked, tmp_path / "results")


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    found = capsys.readouterr()
    lines = found.err.splitlines()
    assert all(line.startswith("leaderboard: ") for line in lines)
    return status, found.out, [line.removeprefix("leaderboard: ") for line in lines]


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_rank_wrote_is_verified_with_the_settings_it_was_ranked_with(results, capsys):
    status, out, complaints = run(capsys, "verify", results)
    assert (status, complaints) == (0, [])
    one, two = out.splitlines()
    assert "one: agrees with its cases.csv" in one
    assert "scheme mean-then-rank, policy isles2018, 40 resamples of the patients, seed 3" in two
    for name in ("leaderboard.tex", "leaderboard_by_size.csv", "leaderboard_by_size.md"):
        assert name in two


def test_the_settings_are_known_without_a_leaderboard_json_too(results, capsys):
    for name in ("one", "two"):
        (results / name / "leaderboard.json").unlink()
    assert run(capsys, "verify", results)[0] == 0


def test_one_folder_may_be_given(results, capsys):
    status, out, _ = run(capsys, "verify", results / "one")
    assert status == 0
    assert out.startswith(f"{results / 'one'}: agrees")


def test_a_changed_cell_is_named_with_method_column_and_both_values(results, capsys):
    replace(results / "one" / "leaderboard.csv", "1,a,3,0,0.533333", "1,a,3,0,0.633333")
    status, out, complaints = run(capsys, "verify", results)
    assert status == 1
    path = results / "one" / "leaderboard.csv"
    assert complaints == [f"{path}: a, dice_mean: published 0.633333, its cases.csv gives 0.533333"]
    assert "one: 1 difference (" in out
    assert "two: agrees" in out


def test_a_changed_score_shows_in_every_cell_that_follows_from_it(results, capsys):
    replace(results / "one" / "cases.csv", ",0.9,", ",0.8,")
    status, _, complaints = run(capsys, "verify", results / "one")
    assert status == 1
    cells = {line.removeprefix(f"{results / 'one'}/").partition(": published")[0] for line in complaints}
    assert {f"leaderboard.csv: a, {column}" for column in ("dice_mean", "dice_sd", "score")} <= cells
    assert "leaderboard.md: a, Dice" in cells


@pytest.mark.parametrize("name", ["leaderboard.csv", "leaderboard.md", "leaderboard.tex", "leaderboard_by_size.csv"])
def test_a_missing_file_is_named(results, capsys, name):
    (results / "two" / name).unlink()
    assert run(capsys, "verify", results)[::2] == (1, [f"{results / 'two' / name}: is missing"])


def test_a_surplus_table_is_named_and_other_files_are_said_not_to_be_compared(results, capsys):
    (results / "one" / "leaderboard_by_age.csv").write_text("x\n")
    (results / "one" / "index.html").write_text("x\n")
    status, out, complaints = run(capsys, "verify", results)
    surplus = results / "one" / "leaderboard_by_age.csv"
    assert (status, complaints) == (1, [f"{surplus}: is surplus: the settings name no such file"])
    assert "not compared: index.html" in out


def test_nothing_in_the_folder_is_changed_and_nothing_is_advised_that_would(results, capsys):
    replace(results / "one" / "leaderboard.csv", "0.533333", "0.633333")
    (results / "two" / "leaderboard.md").unlink()
    before = {path: path.read_bytes() for path in results.rglob("*.*")}
    _, out, complaints = run(capsys, "verify", results)
    assert {path: path.read_bytes() for path in results.rglob("*.*")} == before
    assert "write" not in out + "".join(complaints)


def test_every_difference_goes_to_csv_and_json(results, capsys, tmp_path):
    replace(results / "one" / "leaderboard.csv", "1,a,3,0,0.533333", "1,a,3,0,0.633333")
    files = tmp_path / "d.csv", tmp_path / "d.json"
    assert run(capsys, "verify", results, "--csv", files[0], "--json", files[1])[0] == 1
    expected = [
        {"file": str(results / "one" / "leaderboard.csv"), "row": "a", "column": "dice_mean", "published": "0.633333",
         "rebuilt": "0.533333"}
    ]  # fmt: skip
    with files[0].open(newline="") as file:
        assert list(csv.DictReader(file)) == expected
    assert json.loads(files[1].read_text()) == expected


@pytest.mark.parametrize("command", ["verify", "diff"])
def test_no_cell_of_a_stranger_is_a_formula_in_what_is_written(results, capsys, tmp_path, command):
    shutil.copytree(results / "one", results / "three")
    replace(results / "one" / "leaderboard.csv", "1,a,3,0,0.533333", "1,a,3,0,=HYPERLINK(0)")
    folders = [results] if command == "verify" else [results / "one", results / "three"]
    run(capsys, command, *folders, "--csv", tmp_path / "d.csv")
    with (tmp_path / "d.csv").open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert "'=HYPERLINK(0)" in cells
    assert not [cell for cell in cells if cell.startswith("=")]


def test_a_table_of_many_differences_is_told_in_part_and_written_whole(results, capsys, tmp_path):
    table = results / "one" / "leaderboard.csv"
    table.write_text(table.read_text() + "".join(f"{rank},m{rank}\n" for rank in range(3, 303)))
    _, _, complaints = run(capsys, "verify", results, "--csv", tmp_path / "d.csv")
    assert complaints[-1] == f"{results / 'one'}: 200 more: leaderboard verify --csv FILE lists all"
    assert len(complaints) == 101
    assert len((tmp_path / "d.csv").read_text().splitlines()) == 301


def test_scores_may_lie_elsewhere(results, capsys, tmp_path):
    (results / "one" / "cases.csv").rename(tmp_path / "scores.csv")
    status, _, complaints = run(capsys, "verify", results / "one")
    assert (status, len(complaints)) == (1, 1)
    assert "--cases" in complaints[0]
    assert run(capsys, "verify", results / "one", "--cases", tmp_path / "scores.csv")[0] == 0
    assert "holds 2 leaderboards" in run(capsys, "verify", results, "--cases", tmp_path / "scores.csv")[2][0]


def test_what_cannot_be_made_again_does_not_hide_the_other_folders(results, capsys):
    (results / "one" / "cases.csv").write_text("nonsense\n")
    status, out, complaints = run(capsys, "verify", results)
    assert status == 1
    assert str(results / "one" / "cases.csv") in complaints[0]
    assert "two: agrees" in out


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"colour": "red"}', '{"seed": true}', '{"scheme": "luck"}', '{"by": "age"}', '{"published": "x"}',
     '{"metrics": [1]}', '{"notes": {"a": 1}}', "[" * 100_000],
)  # fmt: skip
def test_a_leaderboard_json_at_fault_is_one_line(results, capsys, text):
    (results / "one" / "leaderboard.json").write_text(text)
    for arguments in (["verify", results / "one"], ["diff", results / "one", results / "two"]):
        status, _, (complaint,) = run(capsys, *arguments)
        assert status == 1
        assert complaint.startswith(f"{results / 'one' / 'leaderboard.json'}: ")


def test_a_folder_without_leaderboards_is_one_line(tmp_path, capsys):
    status, _, (complaint,) = run(capsys, "verify", tmp_path)
    assert status == 1
    assert "holds no leaderboard" in complaint


def test_a_leaderboard_does_not_differ_from_itself(results, capsys):
    status, out, _ = run(capsys, "diff", results / "one", results / "one" / "leaderboard.csv")
    assert status == 0
    assert out.splitlines()[-1] == "no difference"


def test_a_diff_tells_settings_cases_methods_ranks_and_cells(tmp_path, capsys, build):
    before = {"a": [{"dice": 0.9}, {"dice": 0.7}], "b": [{"dice": 0.4}, {}], "old": [{"dice": 0.1}, {"dice": 0.1}]}
    after = {"a": [{"dice": 0.2}, {"dice": 0.2}], "b": [{"dice": 0.4}, {}], "new": [{"dice": 0.1}, {"dice": 0.1}]}
    for name, rows, more in (("A", before, []), ("B", after, ["--policy", "diagonal"])):
        cases = build(rows)
        if name == "B":
            cases["case"] = cases["case"].replace("case_2", "case_9")
            cases.loc[cases["case"] == "case_1", "reference_ml"] = 11.0
        (tmp_path / name).mkdir()
        write_cases(tmp_path / name / "cases.csv", cases)
        table = str(tmp_path / name / "leaderboard.csv")
        assert main(["rank", str(tmp_path / name / "cases.csv"), "--out", table, *RANK, *more]) == 0
    status, out, _ = run(capsys, "diff", tmp_path / "A", tmp_path / "B", "--json", tmp_path / "d.json")
    assert status == 0
    told = [tuple(change.values()) for change in json.loads((tmp_path / "d.json").read_text())]
    assert [change for change in told if change[0] != "cell"] == [
        ("setting", "", "policy", "isles2018", "diagonal"),
        ("cohort", "case_2", "", "there", None),
        ("cohort", "case_9", "", None, "there"),
        ("cohort", "case_1", "reference_ml", "10.0", "11.0"),
        ("method", "old", "", "rank 3", None),
        ("method", "new", "", None, "rank 3"),
        ("rank", "a", "", "1", "2"),
        ("rank", "b", "", "2", "1"),
    ]
    assert ("cell", "a", "dice_mean", "0.8", "0.2") in told
    assert not [change for change in told if change[0] == "cell" and change[1:3] == ("b", "dice_mean")]
    for line in ("  policy: isles2018 -> diagonal", "  old: only in A (rank 3)", "  a: 1 -> 2", "Ranks (2)"):
        assert line in out.splitlines()


def test_a_diff_tells_versions_folds_and_digests_where_they_are_known(results, capsys):
    for name, sums in (("one", "abc"), ("two", "def")):
        path = results / name / "leaderboard.json"
        notes = {"folds": f"2, sha256 {sums}", "version of torch": "2.13.0"}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": notes}))
    out = run(capsys, "diff", results / "one", results / "two")[1]
    assert "  folds: 2, sha256 abc -> 2, sha256 def" in out.splitlines()
    assert "torch" not in out
    (results / "two" / "leaderboard.json").unlink()
    out = run(capsys, "diff", results / "one", results / "two")[1]
    assert f"versions and digests are not compared: no leaderboard.json beside {results / 'two'}" in out


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "a,b\n1,2\n",
        "rank,method\n",
        "rank,method\n" + "x" * 200_000,
        "rank,method\n1,a,b\n",
        "rank,method,cases\n1,a\n",
    ],
)
def test_what_is_no_leaderboard_is_one_line(results, capsys, tmp_path, content):
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_text(content)
    status, _, complaints = run(capsys, "diff", results / "one", path)
    assert status == 1
    assert [line.partition(": ")[0] for line in complaints] == [str(path)]


def test_control_characters_of_a_table_reach_no_terminal(results, capsys):
    table = results / "one" / "leaderboard.csv"
    table.write_text(table.read_text().replace(",b,", ",b\x1b[2J,", 1))
    for arguments in (["verify", results / "one"], ["diff", results / "one", results / "two"]):
        capsys.readouterr()
        main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        assert "\x1b" not in found.out + found.err
        assert "b\\x1b[2J" in found.out + found.err


def refused(capsys, *arguments):
    """The one line of a command that ends as wrong usage."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("option", ["--csv", "--json"])
@pytest.mark.parametrize("name", ["cases.csv", "leaderboard.csv", "leaderboard.md", "leaderboard.json", "new.csv"])
def test_no_output_lies_among_the_files_that_are_examined(results, capsys, option, name):
    folder = results / "one"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    place = folder / ".." / "one" / name
    for examined in ((folder,), (results,)):
        assert "is examined and left as it is" in refused(capsys, "verify", *examined, option, place)
    assert "is examined" in refused(capsys, "diff", results / "two", folder, option, place)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_table_that_is_compared_is_no_output_nor_is_what_stands_beside_it(results, capsys):
    tables = [results / name / "leaderboard.csv" for name in ("one", "two")]
    for name in ("leaderboard.csv", "leaderboard.json", "cases.csv"):
        assert "is a file that this command reads" in refused(capsys, "diff", *tables, "--csv", results / "one" / name)
    other = results / "scores.csv"
    (results / "two" / "cases.csv").rename(other)
    assert "this command reads" in refused(capsys, "verify", results / "two", "--cases", other, "--csv", other)
    same = results.parent / "d"
    assert "is named twice" in refused(capsys, "diff", *tables, "--csv", same, "--json", same)


def test_only_an_earlier_list_of_differences_is_replaced(results, tmp_path, capsys):
    pair = [results / "one", results / "two"]
    for option, other in (("--csv", results / "one" / "cases.csv"), ("--json", results / "one" / "leaderboard.json")):
        place = tmp_path / other.name
        place.write_bytes(other.read_bytes())
        status, _, complaints = run(capsys, "diff", *pair, option, place)
        assert (status, place.read_bytes()) == (1, other.read_bytes())
        assert complaints == [
            f"{place}: holds something else than this command writes, and is left as it is: choose another name, or "
            "remove it"
        ]
        place.unlink()
        assert [run(capsys, "diff", *pair, option, place)[0] for _ in range(2)] == [0, 0]


def test_tables_that_are_given_are_named_in_place_of_the_folders_own(results, tmp_path, capsys):
    scores = tmp_path / "scores.csv"
    (results / "one" / "cases.csv").rename(scores)
    status, out, _ = run(capsys, "verify", results / "one", "--cases", scores)
    assert status == 0
    assert "agrees with the given tables (" in out
    replace(results / "one" / "leaderboard.csv", "1,a,3,0,0.533333", "1,a,3,0,0.633333")
    _, _, complaints = run(capsys, "verify", results / "one", "--cases", scores)
    assert complaints[0].endswith("published 0.633333, the given tables give 0.533333")


def test_settings_may_begin_with_a_byte_order_mark(results, capsys):
    path = results / "one" / "leaderboard.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert run(capsys, "verify", results / "one")[0] == 0


def test_a_hundred_thousand_metrics_in_the_settings_are_one_line(results, capsys):
    path = results / "two" / "leaderboard.json"
    for names in (["dice"] * 100_000, [f"m{number}" for number in range(100_000)]):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": names}))
        status, _, complaints = run(capsys, "verify", results / "two")
        assert (status, complaints) == (
            1, [f"{path}: 100000 metrics are more than the 100 that are allowed: take fewer"]
        )  # fmt: skip
