"""One command turns what teams handed in into tables, page and answers."""

import errno
import itertools
import json
import shutil
import tempfile
import zipfile
from types import SimpleNamespace

import jsonschema
import pytest

from leaderboard.challenge import entries, verdicts
from leaderboard.challenge.answers import grouped
from leaderboard.cli import main
from leaderboard.io import archive, images
from leaderboard.report.results_file import results_schema
from leaderboard.scoring import folder as scoring
from leaderboard.scoring import journal

of_tables = pytest.mark.usefixtures("without_page")
WRITTEN = {
    "cases.csv", "index.html", "leaderboard.csv", "leaderboard.json", "leaderboard.md", "leaderboard.tex",
    "results.json", "teams",
}  # fmt: skip


def test_all_files_are_those_of_score_rank_and_verify(small, tmp_path, capsys):
    for shift, team in enumerate(("anna", "bert", "cleo")):
        small.submit(team, "v1.zip" if team != "bert" else "v1", shift, method=f"net {shift}")
    assert small.run() == 0
    assert capsys.readouterr().out == f"{small.board}: 3 of 3 teams ranked; 3 submissions, 3 scored now\n"
    assert {path.name for path in small.board.iterdir()} == WRITTEN
    tables = []
    for shift, team in enumerate(("anna", "bert", "cleo")):
        path = next((small.folder / "submissions" / team).glob("v1*"))
        tables.append(tmp_path / f"{team}.csv")
        words = ["--cohort", str(small.folder / "references"), "--predictions", str(path)]
        assert main(["score", *words, "--method", f"{team} / net {shift}", "--out", str(tables[-1])]) == 0
    by_hand = tmp_path / "hand" / "leaderboard.csv"
    assert main(["rank", *map(str, tables), "--out", str(by_hand), "--latex", "--resamples", "40"]) == 0
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex"):
        assert (small.board / name).read_bytes() == by_hand.with_name(name).read_bytes()
    rows = [line for table in tables for line in table.read_text().splitlines()[1:]]
    assert (small.board / "cases.csv").read_text().splitlines()[1:] == rows
    assert main(["verify", str(small.board)]) == 0
    content = json.loads((small.board / "results.json").read_text())
    jsonschema.Draft202012Validator(results_schema()).validate(content)
    assert [method["method"] for method in content["methods"]] == ["anna / net 0", "bert / net 1", "cleo / net 2"]
    assert "anna / net 0" in (small.board / "index.html").read_text()


def test_what_is_wrong_with_many_files_alike_is_told_once_with_all_their_names():
    files = [f"v1.zip/case_{number}.nii" for number in range(1, 44)]
    nan, few = "holds NaN: write 0 and 1", "the file is empty: write it again"
    problems = [
        "v1.zip/extra.nii: belongs to no case",
        *(f"{file}: {nan}" for file in files),
        *(f"{file}: {file} is empty: write it again" for file in files[:3]),
        f"{files[0]}: is damaged",
        "no file at all",
    ]
    assert grouped(problems) == [
        problems[0],
        f"each of 43 files: {nan} ({', '.join(files[:40])} and 3 more)",
        f"each of 3 files: {few} ({', '.join(files[:3])})",
        *problems[-2:],
    ]


@pytest.mark.parametrize(
    "problems",
    [
        [f"SMIR.a.{n}1.nii: carries the id of the CT of case_{n}: name it SMIR.<name>.{n}2.nii" for n in (1, 2)],
        [f"case_{n}.nii: case_{n} is predicted again by case_{n}.nii.gz: keep one of them" for n in (1, 2)],
        [f"case_{n}.nii: has voxels of 1 x 1 x {n} mm where the case has 5: write the header" for n in (1, 2)],
        [f"case_1.nii: is of {n} kinds" for n in (2, 3)],
    ],
)
def test_problems_that_differ_in_a_name_or_a_number_stay_apart(problems):
    assert grouped(problems) == problems


@of_tables
def test_a_second_run_scores_nothing_and_leaves_every_byte(small, capsys, monkeypatch):
    for shift, team in enumerate(("anna", "bert")):
        small.submit(team, "v1.zip", shift)
    small.submit("bert", "v0.zip", {"case_1.nii.gz": b"no mask"})
    assert small.run() == 0
    before = {path: path.read_bytes() for path in small.board.rglob("*") if path.is_file()}
    capsys.readouterr()
    monkeypatch.setattr(verdicts, "score_cases", lambda *_, **__: pytest.fail("scored again"))
    assert small.run() == 0
    out, err = capsys.readouterr()
    assert out.endswith("2 of 2 teams ranked; 3 submissions, 0 scored now; 1 refused; nothing has changed\n")
    assert err.startswith("leaderboard: bert: v0.zip/case_1.nii.gz: ")
    assert before == {path: path.read_bytes() for path in small.board.rglob("*") if path.is_file()}


@of_tables
def test_a_resubmission_changes_its_team_alone(small, capsys):
    for shift, team in enumerate(("anna", "bert", "cleo")):
        small.submit(team, "v1.zip", shift)
    small.run()
    rows, answers = small.rows(), {team: small.answer(team) for team in ("anna", "bert", "cleo")}
    small.submit("bert", "v2.zip", 3)
    capsys.readouterr()
    assert small.run() == 0
    assert "4 submissions, 1 scored now" in capsys.readouterr().out
    changed = small.rows()
    assert {team for team in rows if rows[team] != changed[team]} == {"bert"}
    assert {team for team, text in answers.items() if small.answer(team) != text} == {"bert"}
    assert "What counts: v2.zip (the latest of those accepted), in the tables as bert" in small.answer("bert")
    assert "v1.zip: accepted; another one counts" in small.answer("bert")


@of_tables
def test_a_refused_resubmission_leaves_the_one_before_it_in_place(small, capsys):
    small.submit("anna", "v1.zip", 0)
    small.submit("bert", "v1.zip", 1)
    small.run()
    rows = small.rows()
    cut = small.submit("anna", "v2.zip", 0)
    cut.write_bytes(cut.read_bytes()[:-30])
    small.at(cut, 9)
    small.submit("bert", "v2.zip", small.masks(1, shape=(slice(None), slice(None), slice(1))))
    capsys.readouterr()
    assert small.run() == 0
    out, err = capsys.readouterr()
    assert small.rows() == rows
    assert "2 refused" in out
    assert err.splitlines() == [
        "leaderboard: anna: v2.zip: is no zip archive, or a damaged one: pack it again",
        *(line for line in err.splitlines() if line.startswith("leaderboard: bert: v2.zip/case_1.nii.gz: ")),
    ]
    assert err.endswith("(and 2 more)\n")
    assert "What counts: v1.zip" in small.answer("bert")
    assert "v2.zip: REFUSED, for this reason\n  - each of 3 files: has the shape" in small.answer("bert")
    assert small.answer("bert").count("has the shape") == 1
    told = " ".join(small.answer("bert").split())
    assert "(v2.zip/case_1.nii.gz, v2.zip/case_2.nii.gz, v2.zip/case_3.nii.gz)" in told


@of_tables
@pytest.mark.parametrize("counts", ["latest", "best"])
def test_the_latest_or_the_best_counts(small, counts):
    small.settings(f"counts: {counts}\n")
    for name, shift in (("v1.zip", 1), ("v2.zip", 0), ("v3.zip", 2)):
        small.submit("anna", name, shift)
    small.run()
    assert f"What counts: {'v3.zip' if counts == 'latest' else 'v2.zip'}" in small.answer("anna")


@of_tables
def test_of_equal_submissions_the_latest_is_the_best_and_of_equal_times_the_last_by_name(small):
    small.settings("counts: best\n")
    for name in ("v10.zip", "v9.zip"):
        small.at(small.submit("anna", name, 1), 3)
    small.run()
    assert "What counts: v10.zip" in small.answer("anna")


@of_tables
def test_what_comes_after_the_deadline_does_not_count_whatever_the_team_says_within(small, capsys):
    small.settings("deadline: 2026-01-01 14:00:00\n")
    small.at(small.submit("anna", "v1.zip", 1), 2)
    small.at(small.submit("anna", "v2.zip", 0, submitted="2020-01-01"), 2.001)
    assert small.run() == 0
    out, err = capsys.readouterr()
    assert "1 late" in out
    assert err == "leaderboard: anna: v2.zip came after the deadline: it does not count\n"
    assert "What counts: v1.zip (the latest of those accepted in time)" in small.answer("anna")
    late = "v2.zip: came at 2026-01-01 14:00:03 UTC, after the deadline of 2026-01-01 14:00:00 UTC; does not count"
    assert late in " ".join(small.answer("anna").split())
    (small.folder / "submissions" / "anna" / "v2.yaml").write_text("submitted: 2026-01-01T15:00:00+01:00\n")
    assert small.run() == 0
    assert "What counts: v2.zip" in small.answer("anna")


@of_tables
def test_a_folder_that_is_timed_by_its_own_files_is_told_where_there_is_a_deadline(small, capsys):
    small.submit("anna", "v1", 1)
    small.submit("anna", "v2.zip", 1)
    small.run()
    assert capsys.readouterr().err == ""
    small.settings("deadline: 2026-01-02\n")
    small.run()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("leaderboard: note: the time of anna/v1 is that of its files")
    (small.folder / "submissions" / "anna" / "v1.yaml").write_text("submitted: 2026-01-01\n")
    small.run()
    assert capsys.readouterr().err == ""


@of_tables
def test_a_deadline_that_is_a_date_lasts_all_day(small):
    small.settings("deadline: 2026-01-01\n")
    small.at(small.submit("anna", "v1.zip", 1), 11.99)
    small.at(small.submit("anna", "v2.zip", 0), 12)
    small.run()
    assert "What counts: v1.zip" in small.answer("anna")


@of_tables
def test_facts_beside_a_submission_go_before_those_within(small):
    small.submit("anna", "v1.zip", 0, method="inner", facts="{network: U-Net, epochs: 3}")
    small.submit("bert", "v1.zip", 1, method="inner")
    (small.folder / "submissions" / "bert" / "submission.yaml").write_text("method: of all\n")
    small.submit("cleo", "v1.zip", 2, method="inner")
    (small.folder / "submissions" / "cleo" / "submission.yaml").write_text("method: of all\n")
    (small.folder / "submissions" / "cleo" / "v1.yaml").write_text("method: own\n")
    small.run()
    assert list(small.rows()) == ["anna / inner", "bert / of all", "cleo / own"]
    notes = json.loads((small.board / "results.json").read_text())["notes"]
    assert notes["submission of anna"] == "v1.zip; network: U-Net; epochs: 3"
    assert "left aside" not in small.answer("anna")


@of_tables
def test_a_case_left_out_counts_as_missing_or_refuses_the_submission(small):
    small.submit("anna", "v1.zip", small.masks(0, ["case_1.nii.gz", "case_3.nii.gz"]))
    small.submit("bert", "v1.zip", 1)
    small.run()
    assert "1 case has no prediction and counts as missing: case_2" in small.answer("anna")
    assert [line.split(",")[4] for line in small.rows()["anna"]] == ["ok", "missing", "ok"]
    small.settings("complete: true\n")
    small.run()
    assert list(small.rows()) == ["bert"]
    assert "v1.zip: 1 of the cases has no prediction (case_2): add it" in small.answer("anna")


@of_tables
def test_equal_content_is_scored_once_and_each_copy_is_told_by_its_own_name(small, monkeypatch):
    scored = []
    score = verdicts.score_cases
    monkeypatch.setattr(verdicts, "score_cases", lambda *words, **more: scored.append(words) or score(*words, **more))
    small.submit("anna", "v1.zip", 0)
    small.submit("anna", "wrong.zip", {"case_1.nii.gz": b"no mask"})
    for team, name in (("bert", "again.zip"), ("cleo", "third.zip")):
        (small.folder / "submissions" / team).mkdir()
        shutil.copy(small.folder / "submissions" / "anna" / "wrong.zip", small.folder / "submissions" / team / name)
    small.run()
    assert len(scored) == 2
    assert "  - again.zip/case_1.nii.gz: " in small.answer("bert")
    assert "wrong" not in small.answer("bert") + small.answer("cleo")


@of_tables
def test_another_reference_patient_or_rule_scores_all_again_and_a_title_none(small, capsys, isles_tree):
    small.submit("anna", "v1.zip", 0)
    small.submit("bert", "v1.zip", 1)
    small.run()
    patients = small.folder / "patients.csv"
    patients.write_text("case,patient\ncase_1,P1\ncase_2,P1\ncase_3,P2\n")
    for settings, again in (("# title\n", 0), ("grid: index\n", 2), ("grid: index\npatients: patients.csv\n", 2)):
        small.settings(settings)
        capsys.readouterr()
        assert small.run() == 0
        assert f", {again} scored now" in capsys.readouterr().out
    assert [line.split(",")[2] for line in small.rows()["anna"]] == ["P1", "P1", "P2"]


@of_tables
def test_a_damaged_verdict_is_made_again(small, capsys):
    small.submit("anna", "v1.zip", 0)
    small.run()
    before = (small.board / "cases.csv").read_bytes()
    [kept] = [path for path in (small.folder / "scores").iterdir() if path.name != "board.json"]
    for damaged in (kept.read_bytes()[:-30], b"[]", b"", b'{"rows": [{"method": 1}]}', b'{"problems": [], "rows": []}'):
        kept.write_bytes(damaged)
        capsys.readouterr()
        assert small.run() == 0
        assert "1 scored now" in capsys.readouterr().out
        assert (small.board / "cases.csv").read_bytes() == before


@of_tables
def test_an_interrupted_run_continues_within_a_submission(small, monkeypatch, capsys):
    small.submit("anna", "v1.zip", 0)
    score, calls = scoring.score_files, itertools.count(1)

    def interrupted(*words, **more):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return score(*words, **more)

    monkeypatch.setattr(scoring, "score_files", interrupted)
    assert small.run() == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command continues\n")
    assert not small.board.exists()
    scored = []
    monkeypatch.setattr(scoring, "score_files", lambda *words, **more: scored.append(words) or score(*words, **more))
    assert small.run() == 0
    assert len(scored) == 1
    assert not list((small.folder / "scores").glob("*.partial"))


@of_tables
def test_a_fault_of_the_program_stops_no_other_team_and_is_tried_again(small, monkeypatch, capsys):
    small.submit("anna", "v1.zip", 0)
    small.submit("bert", "v1.zip", 1)
    score = verdicts.score_cases

    def faulty(cases, predictions, *words, **more):
        if predictions.parent.name == "anna":
            raise ZeroDivisionError("by zero")
        return score(cases, predictions, *words, **more)

    monkeypatch.setattr(verdicts, "score_cases", faulty)
    assert small.run() == 1
    assert list(small.rows()) == ["bert"]
    out, err = capsys.readouterr()
    assert "2 submissions, 2 scored now; 1 not judged" in out
    assert err.splitlines() == [
        "leaderboard: anna: v1.zip was not judged: v1.zip: cannot be scored (ZeroDivisionError: by zero): report this "
        "fault",
        f"leaderboard: {small.folder}: 1 submission could not be judged: mend what is said above and repeat",
    ]
    assert "v1.zip: could not be judged: the organisers were told\n" in small.answer("anna")
    assert "REFUSED" not in small.answer("anna")
    assert "ZeroDivision" not in small.answer("anna")
    monkeypatch.setattr(verdicts, "score_cases", score)
    assert small.run() == 0
    assert list(small.rows()) == ["anna", "bert"]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def failing_read(*_, **__):
    raise OSError(errno.EIO, "Input/output error")


def failing_of_v2(path, digest=entries.file_digest):
    return failing_read() if path.name == "v2.zip" else digest(path)


def no_memory(*_, **__):
    raise MemoryError


#: What fails, and how.
OF_THE_MACHINE = {
    "a full disk while a zip is unpacked": (archive, "_blocks", full_disk),
    "a zip that cannot be read to its end": (zipfile.ZipExtFile, "read", failing_read),
    "no temporary folder": (tempfile, "TemporaryDirectory", full_disk),
    "too little memory for a mask": (images, "_stored_header", no_memory),
    "a mask that breaks off": (images, "_stored_header", failing_read),
    "a full disk under the journal": (journal, "json", SimpleNamespace(loads=json.loads, dumps=full_disk)),
    "a submission that cannot be read": (entries, "file_digest", failing_of_v2),
}


@of_tables
@pytest.mark.parametrize("kind", OF_THE_MACHINE)
def test_a_fault_of_the_machine_refuses_no_one_and_is_gone_with_its_cause(small, monkeypatch, capsys, kind):
    small.submit("anna", "v1.zip", 0)
    small.run()
    before = small.rows()["anna"]
    small.submit("anna", "v2.zip", 1)
    judge, (place, name, fault) = verdicts.judge, OF_THE_MACHINE[kind]

    def judged_on_a_faulty_machine(*words, **more):
        with monkeypatch.context() as patch:
            patch.setattr(verdicts, "_check_references", lambda _: None)
            patch.setattr(place, name, fault)
            return judge(*words, **more)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(verdicts, "judge", judged_on_a_faulty_machine)
        assert small.run() == 1
    out, err = capsys.readouterr()
    assert "not judged" in out
    assert " was not judged: " in err
    assert small.rows()["anna"] == before
    text = small.answer("anna")
    assert "v2.zip: could not be judged: the organisers were told\n" in text
    assert "REFUSED" not in text
    assert str(small.folder) not in text
    assert small.run() == 0
    assert "What counts: v2.zip" in small.answer("anna")
    assert "judged" not in small.answer("anna")


@of_tables
def test_no_sound_submission_is_one_line_and_the_teams_are_told(small, capsys):
    small.submit("anna", "v1.zip", {"case_1.nii.gz": b"no mask"})
    assert small.run() == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"leaderboard: {small.folder}: no team has a submission that counts: {small.board / 'teams'} says why"
    )
    assert "What counts: nothing yet, so the team is not ranked" in small.answer("anna")
    assert not (small.board / "leaderboard.csv").exists()


@of_tables
def test_a_ranking_that_no_longer_stands_is_withdrawn_and_what_others_wrote_is_left(small):
    small.submit("anna", "v1.zip", small.masks(0))
    assert small.run() == 0
    (small.board / "leaderboard.md").write_text("our own words")
    (small.folder / "submissions" / "anna" / "v1.zip").unlink()
    small.submit("anna", "v2.zip", {"case_1.nii.gz": b"no mask"})
    assert small.run() == 1
    assert [path.name for path in small.board.iterdir() if path.is_file()] == ["leaderboard.md"]
    assert "nothing yet" in small.answer("anna")


@of_tables
def test_answers_tell_no_path_of_the_organisers_and_no_score(small):
    small.submit("anna", "v1.zip", {**small.masks(0), "notes.txt": b"x", "case_9.nii.gz": b"x"})
    small.submit("anna", "v2.zip", small.masks(0, shape=(slice(7),)))
    small.submit("anna", "v3.zip", 1)
    small.run()
    text = small.answer("anna")
    assert "references" not in text
    assert str(small.folder) not in text
    assert "dice" not in text.lower()
    assert len(text) > 300


@of_tables
@pytest.mark.parametrize("grid", ["auto", "affine"])
def test_a_team_is_told_of_no_option_of_a_command(small, capsys, grid):
    small.settings(f"grid: {grid}\n")
    bare = small.submit("anna", "v1.zip", small.masks(0, spacing=(1.0, 1.0, 1.0)))
    small.run()
    capsys.readouterr()
    words = ["check", "--cohort", small.folder / "references", "--predictions", bare, "--grid", grid]
    assert main(list(map(str, words))) == 1
    assert "--grid" in capsys.readouterr().err  # where the one who reads it runs the command
    told = " ".join(small.answer("anna").split())
    assert "write the mask with the case's own header" in told
    assert "--" not in told


@of_tables
def test_a_team_that_handed_in_nothing_is_told_what_to_hand_in(small, capsys):
    small.submit("anna", "v1.zip", 0)
    (small.folder / "submissions" / "bert").mkdir()
    (small.folder / "submissions" / "cleo").mkdir()
    (small.folder / "submissions" / "cleo" / "v1.rar").write_bytes(b"Rar!")
    assert small.run() == 0
    remedy = "hand in a zip or a folder with a mask for each case"
    assert small.answer("bert").endswith(f"\nNothing was handed in: {remedy}\n")
    rar = f"v1.rar: is no zip and no folder, and is left aside: {remedy}"
    assert small.answer("cleo").replace("\n  ", " ").endswith(f"\n{rar}\n")
    assert "Nothing" not in small.answer("anna") + small.answer("cleo")
    assert capsys.readouterr().err == f"leaderboard: cleo: {rar}\n"


@of_tables
def test_the_text_of_a_team_that_left_is_removed_and_other_files_stay(small):
    small.submit("anna", "v1.zip", 0)
    small.submit("bert", "v1.zip", 1)
    small.run()
    (small.board / "teams" / "own.txt").write_text("mine")
    shutil.rmtree(small.folder / "submissions" / "anna")
    small.run()
    assert {path.name for path in (small.board / "teams").iterdir()} == {"bert.txt", "own.txt"}
    (small.board / "leaderboard.md").unlink()
    (small.board / "leaderboard.csv").write_text("not ours")
    assert small.run() == 1
    assert (small.board / "leaderboard.csv").read_text() == "not ours"


@of_tables
def test_a_preset_that_ranks_by_probability_maps_asks_for_them(small, isles_tree):
    small.settings("preset: isles2026\n")
    small.submit("anna", "v1.zip", 0)
    small.submit("bert", "v1.zip", 1)
    maps = {}
    for number, name in enumerate(("case_1.nii.gz", "case_2.nii.gz", "case_3.nii.gz"), start=1):
        data = 0.1 + 0.8 * (isles_tree.values((8, 9, 2), "CBF", number) > 20)
        maps[name] = isles_tree.image(small.folder / "scratch" / name, data.astype("float32")).read_bytes()
    small.submit("bert", "v1.probabilities.zip", maps)
    small.submit("cleo", "v1.zip", small.masks(1) | {f"probabilities/{name}": data for name, data in maps.items()})
    assert small.run() == 0
    rows = small.rows()
    assert list(rows) == ["bert", "cleo"]
    assert [line.partition(",")[2] for line in rows["bert"]] == [line.partition(",")[2] for line in rows["cleo"]]
    assert (
        "v1.zip: holds no probability maps: put one for each mask into a folder probabilities within it, or put "
        "them into v1.probabilities.zip" in " ".join(small.answer("anna").split())
    )
    content = json.loads((small.board / "results.json").read_text())
    assert content["methods"][0]["metrics"]["pr_auc"]["mean"] is not None
