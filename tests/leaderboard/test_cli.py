"""The commands, as a user meets them."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard import cli
from leaderboard.cli import main
from leaderboard.cohort.banner import SYNTHETIC
from leaderboard.ranking.arguments import ranking_options
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.scoring.references import mixed_patients

SHAPE = (8, 9, 2)


@pytest.fixture
def cohort(isles_tree):
    return isles_tree(range(1, 4))


@pytest.fixture
def predictions(tmp_path, isles_tree):
    for number in range(1, 4):
        isles_tree.image(tmp_path / "predictions" / f"case_{number}.nii.gz", isles_tree.values(SHAPE, "OT", 0))
    return tmp_path / "predictions"


def score(cohort, predictions, out, method="me", *more):
    return main(
        [
            "score",
            "--cohort",
            str(cohort),
            "--predictions",
            str(predictions),
            "--method",
            method,
            "--out",
            str(out),
            *more,
        ]
    )


def complaints(capsys):
    """Lines on stderr; each is one problem of this program."""
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("leaderboard: ") for line in lines)
    return [line.removeprefix("leaderboard: ") for line in lines]


def test_score_then_rank(cohort, predictions, tmp_path, capsys, isles_tree):
    assert score(cohort, predictions, tmp_path / "a.csv", "a") == 0
    (predictions / "case_2.nii.gz").unlink()
    assert score(cohort, predictions, tmp_path / "b.csv", "b") == 0
    assert "3 training cases of b; 1 has no prediction and counts as missing (case_2)" in capsys.readouterr().out
    out = tmp_path / "new" / "leaderboard.csv"
    assert main(["rank", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(out)]) == 0
    assert [line.split(",")[:4] for line in out.read_text().splitlines()[1:]] == [
        ["1", "a", "3", "0"],
        ["2", "b", "3", "1"],
    ]
    assert "| 1 | a |" in out.with_suffix(".md").read_text()
    assert "policy isles2018" in capsys.readouterr().out


def test_scoring_and_ranking_again_gives_the_same_bytes(cohort, predictions, tmp_path):
    for name in ("one", "two"):
        assert score(cohort, predictions, tmp_path / f"{name}.csv") == 0
        assert main(["rank", str(tmp_path / f"{name}.csv"), "--out", str(tmp_path / f"{name}_board.csv")]) == 0
    for end in (".csv", "_board.csv", "_board.md"):
        assert (tmp_path / f"one{end}").read_bytes() == (tmp_path / f"two{end}").read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_scheme_and_policy_runs(cohort, predictions, tmp_path, scheme, policy):
    score(cohort, predictions, tmp_path / "a.csv")
    out = tmp_path / "leaderboard.csv"
    assert main(["rank", str(tmp_path / "a.csv"), "--out", str(out), "--scheme", scheme, "--policy", policy]) == 0
    assert f",{scheme},{policy}," in out.read_text().splitlines()[1]


@pytest.mark.parametrize("command", ["rank", "report"])
def test_without_options_a_command_ranks_as_the_library_does(command):
    words = [command, "a.csv", "--out", "b.csv"]
    arguments = cli._parser(words).parse_args(words)
    assert ranking_options(arguments) == RankingOptions()


def test_rank_by_strata_in_latex_beside_the_published_table(cohort, predictions, tmp_path, capsys):
    (tmp_path / "folds.csv").write_text("case,fold\ncase_1,0\ncase_2,1\ncase_3,1\n")
    score(cohort, predictions, tmp_path / "a.csv", "me", "--folds", str(tmp_path / "folds.csv"))
    out = tmp_path / "board.csv"
    arguments = ["rank", str(tmp_path / "a.csv"), "--out", str(out), "--resamples", "50"]
    assert main([*arguments, "--by", "fold", "--latex", "--published", "isles2018"]) == 0
    printed = capsys.readouterr().out
    assert "Fold 1: Mean (standard deviation) over 2 cases" in printed
    assert "other data" in printed
    assert "songt1" in out.with_suffix(".md").read_text()
    assert "songt1" not in out.read_text()
    assert r"\toprule" in out.with_suffix(".tex").read_text()
    assert (tmp_path / "board_by_fold.csv").read_text().splitlines()[2].startswith("fold 1,1,me,2,")
    assert "## Fold 0" in (tmp_path / "board_by_fold.md").read_text()
    score(cohort, predictions, tmp_path / "a.csv")
    capsys.readouterr()
    assert main([*arguments, "--by", "fold"]) == 1
    assert complaints(capsys) == ["no case has a fold: score with --folds CSV to rank by fold"]


def test_resamples_and_seed_are_taken(cohort, predictions, tmp_path):
    score(cohort, predictions, tmp_path / "a.csv")
    out = tmp_path / "board.csv"
    arguments = ["rank", str(tmp_path / "a.csv"), "--out", str(out)]
    assert main([*arguments, "--resamples", "60", "--seed", "7", "--unit", "case"]) == 0
    assert out.read_text().splitlines()[1].endswith(",case,60,7")
    assert main([*arguments, "--resamples", "0"]) == 0
    assert out.read_text().splitlines()[1].endswith(",dice,isles2018")


def test_folds_and_metrics_are_taken(cohort, predictions, tmp_path):
    (tmp_path / "folds.csv").write_text("case,fold\ncase_1,0\ncase_2,1\ncase_3,2\n")
    assert (
        score(cohort, predictions, tmp_path / "a.csv", "me", "--folds", str(tmp_path / "folds.csv"), "--jobs", "2") == 0
    )
    assert [line.split(",")[3] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]] == ["0", "1", "2"]
    arguments = ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "l.csv"), "--scheme", "mean-then-rank"]
    assert main([*arguments, "--metrics", "dice,lesion_f1"]) == 0
    assert main([*arguments, "--metrics", "dice,beauty"]) == 1


def test_check_accepts_and_refuses(cohort, predictions, capsys, isles_tree):
    arguments = ["check", "--cohort", str(cohort), "--predictions", str(predictions)]
    assert main(arguments) == 0
    assert "3 predictions for training accepted" in capsys.readouterr().out
    isles_tree.image(predictions / "case_1.nii.gz", isles_tree.values((8, 9, 3), "OT", 0))
    (predictions / "case_2.nii.gz").write_text("no image")
    (predictions / "case_3.nii").write_text("twice")
    assert main(arguments) == 1
    problems = complaints(capsys)
    assert [problem.split(": ")[0] for problem in problems] == [
        str(predictions / name) for name in ("case_3.nii", "case_1.nii.gz", "case_2.nii.gz", "case_3.nii")
    ]


def test_a_zip_is_checked_and_scored_as_its_folder(cohort, predictions, tmp_path, capsys):
    shutil.make_archive(str(tmp_path / "masks"), "zip", tmp_path, predictions.name)
    assert main(["check", "--cohort", str(cohort), "--predictions", str(tmp_path / "masks.zip"), "--jobs", "2"]) == 0
    assert "3 predictions for training accepted" in capsys.readouterr().out
    for given, out in ((predictions, "a.csv"), (tmp_path / "masks.zip", "b.csv")):
        assert score(cohort, given, tmp_path / out) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_refused_run_takes_away_what_it_began_and_not_what_was_there(cohort, predictions, tmp_path, capsys):
    sound = (predictions / "case_2.nii.gz").read_bytes()
    (predictions / "case_2.nii.gz").write_text("no image")
    partial = tmp_path / "a.csv.partial"
    before = sorted(tmp_path.iterdir())
    assert score(cohort, predictions, tmp_path / "a.csv") == 1
    assert sorted(tmp_path.iterdir()) == before
    partial.touch()  # an interrupted run was here
    assert score(cohort, predictions, tmp_path / "a.csv") == 1
    assert len(partial.read_text().splitlines()) == 2
    (predictions / "case_2.nii.gz").write_bytes(sound)
    assert score(cohort, predictions, tmp_path / "a.csv") == 0
    assert not partial.exists()
    assert score(cohort, predictions, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_scoring_that_was_killed_continues(cohort, predictions, tmp_path, isles_tree):
    script = (
        "import os, signal\nfrom leaderboard.scoring import folder, one_case\nfrom leaderboard.cli import main\n"
        "def score_files(files, rule):\n"
        "    if 'case_3' in str(files[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return one_case.score_files(files, rule)\n"
        "folder.score_files = score_files\n"
        f"main(['score', '--reference', {str(cohort)!r}, '--predictions', {str(predictions)!r}, '--method', 'me',"
        f" '--out', {str(tmp_path / 'a.csv')!r}])\n"
    )
    assert run("-c", script).returncode == -9
    assert not (tmp_path / "a.csv").exists()
    assert len((tmp_path / "a.csv.partial").read_text().splitlines()) == 2
    for name in ("a.csv", "b.csv"):
        assert score(cohort, predictions, tmp_path / name) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_lenient_warns_and_goes_on(cohort, predictions, tmp_path, capsys):
    (predictions / "case_2.nii.gz").write_text("no image")
    assert score(cohort, predictions, tmp_path / "a.csv") == 1
    assert len(complaints(capsys)) == 1
    assert not (tmp_path / "a.csv").exists()
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--lenient") == 0
    assert complaints(capsys)[0].startswith(f"warning: {predictions / 'case_2.nii.gz'}: ")


def test_wrong_input_of_score_is_one_line_a_problem(cohort, predictions, tmp_path, capsys):
    for folder in ("empty", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    out = tmp_path / "a.csv"
    for wrong, message in [
        ((tmp_path / "none", predictions, out), "none: does not exist"),
        ((tmp_path / "empty", predictions, out), "holds no cases"),
        ((cohort, tmp_path / "none", out), "none: does not exist"),
        ((cohort, tmp_path / "empty", out), "holds no .nii"),
        ((cohort, tmp_path / "file", out), "is not a folder"),
        ((cohort, predictions, tmp_path / "folder.csv"), "is a folder"),
        ((cohort, predictions, tmp_path / "pipe.csv"), "is not a regular file, and is left as it is"),
        ((cohort, predictions, out, "me", "--patients", str(tmp_path / "none.csv")), "none.csv: is no file"),
        ((cohort, predictions, tmp_path / "file" / "a.csv"), "cannot be made"),
        ((cohort, predictions, out, " "), "method's name is empty"),
        ((cohort, predictions, out, "a\nb"), r"the method 'a\nb' holds a line break"),
        ((cohort, predictions, out, "=1+1"), "the method '=1+1' begins a spreadsheet's formula"),
        ((cohort, predictions, out, "me", "--partition", "testing"), "has no testing cases"),
        ((cohort, predictions, out, "me", "--folds", str(tmp_path / "none.csv")), "does not exist"),
    ]:
        assert score(*wrong) == 1
        problems = complaints(capsys)
        assert len(problems) == 1
        assert message in problems[0]


def test_wrong_input_of_rank_is_one_line_a_problem(cohort, predictions, tmp_path, capsys):
    score(cohort, predictions, tmp_path / "a.csv")
    (tmp_path / "text.csv").write_text("hello")
    out = str(tmp_path / "leaderboard.csv")
    for wrong, message in [
        (["none.csv", "--out", out], "none.csv: does not exist"),
        ([str(tmp_path / "text.csv"), "--out", out], "lacks the columns method, case"),
        ([str(tmp_path), "--out", out], "cannot be read"),
    ]:
        assert main(["rank", *wrong]) == 1
        problems = complaints(capsys)
        assert len(problems) == 1
        assert message in problems[0]
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")
    assert main(["rank", str(tmp_path / "a.csv"), str(tmp_path / "a.csv"), "--out", out]) == 1
    assert complaints(capsys) == [f"{tmp_path / 'a.csv'}: is given twice: name it once"]
    assert main(["rank", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", out]) == 1
    assert complaints(capsys) == [
        f"{tmp_path / 'a.csv'}, {tmp_path / 'b.csv'}: each has me for the same 3 cases: rename the method in one of "
        "them, or leave one out"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["score"],
        ["rank", "a.csv"],
        ["rank", "a.csv", "--out", "a.csv"],
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "dice", "--metrics", "recall"],
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "dice", "--metrics", "dice,recall"],
        ["rank", "a.csv", "--out", "b.csv", "--colour"],
        ["rank", "a.csv", "-o", "b.csv"],
        ["rank", "a.csv", "--out", "b.csv", "--latex=yes"],
        ["-x"],
        ["diff", "a", "b", "c"],
        ["score", "--cohort", "r", "--predictions", "p", "--method", "m", "--out", "a.csv", "--lenient", "--complete"],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert len(complaints(capsys)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "best"],
        ["rank", "a.csv", "--out", "b.csv", "--policy", "best"],
        ["rank", "a.csv", "--out", "b.md"],
        ["rank", "a.csv", "--out", "b.csv", "--resamples", "-1"],
        ["rank", "a.csv", "--out", "b.csv", "--resamples", "1000001"],
        ["rank", "a.csv", "--out", "b.csv", "--resamples", "999999999"],
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "mean-then-rank", "--metrics", ","],
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "mean-then-rank", "--metrics", "dice,"],
        ["rank", "a.csv", "--out", "b.csv", "--by", "age"],
        ["score", "--cohort", "r", "--predictions", "p", "--method", "m", "--out", "a.txt"],
        ["score", "--cohort", "r", "--predictions", "p", "--method", "m", "--out", "o.csv", "--jobs", "0"],
        ["score", "--cohort", "r", "--predictions", "p", "--method", "m", "--out", "o.csv", "--partition", "all"],
    ],
)
def test_a_value_at_fault_is_one_line_and_status_1_whichever_option_has_it(arguments, capsys):
    assert main(arguments) == 1
    (complaint,) = complaints(capsys)
    assert complaint.startswith("--")


def test_older_words_are_taken(cohort, predictions, tmp_path, capsys):
    for number, word in enumerate(("--cohort", "--reference")):
        out = tmp_path / f"{number}.csv"
        common = ["--predictions", str(predictions), word, str(cohort)]
        assert main(["score", *common, "--method", "m", "--out", str(out)]) == 0
        assert main(["check", *common]) == 0
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    for command in ("score", "check", "report"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        assert "--cohort COHORT" in shown
        assert "--reference" not in shown
        assert "--images" not in shown


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rnak"], "rank"),
        (["score", "--refrence", "r"], "--cohort"),
        (["rank", "a.csv", "--scheem", "dice"], "--scheme"),
        (["rank", "a.csv", "--scheme", "mean-than-rank"], "mean-then-rank"),
        (["rank", "a.csv", "--policy", "ISLES-2018"], "isles2018"),
        (["rank", "a.csv", "--published", "isles18"], "isles2018"),
    ],
)
def test_the_nearest_name_is_suggested(arguments, meant, capsys):
    with contextlib.suppress(SystemExit):
        main(arguments)
    (complaint,) = complaints(capsys)
    assert f"did you mean {meant}?" in complaint


def test_a_metric_is_known_without_its_unit_and_the_nearest_is_suggested(cohort, predictions, tmp_path, capsys):
    score(cohort, predictions, tmp_path / "a.csv")
    rank = ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv"), "--scheme", "mean-then-rank"]
    assert main([*rank, "--resamples", "0", "--metrics", "hd95,avd"]) == 0
    assert (tmp_path / "b.csv").read_text().splitlines()[1].endswith(",hd95_mm;avd_ml")
    capsys.readouterr()
    assert main([*rank, "--metrics", "lesion_f2"]) == 1
    assert "did you mean lesion_f1? " in complaints(capsys)[0]


def run(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_module_runs_and_help_is_fast():
    started = time.perf_counter()
    done = run("-m", "leaderboard", "--help")
    assert time.perf_counter() - started < 2  # 0.1 s on an idle machine
    assert done.returncode == 0
    assert "rank" in done.stdout


def test_version_is_printed():
    done = run("-m", "leaderboard", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("leaderboard ")


def test_help_imports_nothing_heavy_and_no_command_imports_torch(cohort, predictions, tmp_path):
    script = (
        "import sys; from leaderboard.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'pandas', 'rich', 'nibabel'} & set(sys.modules)\n"
        f"main(['score', '--reference', {str(cohort)!r}, '--predictions', {str(predictions)!r}, '--method', 'm',"
        f" '--out', {str(tmp_path / 'a.csv')!r}])\n"
        f"main(['rank', {str(tmp_path / 'a.csv')!r}, '--out', {str(tmp_path / 'b.csv')!r}])\n"
        "assert not {'torch', 'benchmark'} & set(sys.modules)\n"
    )
    done = run("-c", script)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_is_full_is_one_line(cohort, predictions, tmp_path):
    score(cohort, predictions, tmp_path / "a.csv")
    for arguments in (
        ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv")],
        ["check", "--cohort", str(cohort), "--predictions", str(predictions)],
    ):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "leaderboard", *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert done.returncode == 1
        assert done.stderr.decode().splitlines() == [
            "leaderboard: the output: cannot be read or written (No space left on device): check the path, the disk "
            "and the permissions"
        ]


def test_a_name_that_the_terminal_cannot_show_is_shown_somehow(cohort, predictions, tmp_path):
    score(cohort, predictions, tmp_path / "a.csv", "méthode")
    done = run(
        *["-m", "leaderboard", "rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv")],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert r"m\xe9thode" in done.stdout
    assert "méthode" in (tmp_path / "b.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "said"), [("score", "interrupted; the same command continues"), ("check", "interrupted")]
)
def test_an_interrupt_is_one_line(monkeypatch, cohort, predictions, tmp_path, capsys, command, said):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("leaderboard.scoring.against_cohort.score_cases", interrupt)
    monkeypatch.setattr("leaderboard.scoring.submission.check_predictions", interrupt)
    if command == "score":
        assert score(cohort, predictions, tmp_path / "a.csv") == 130
    else:
        assert main(["check", "--cohort", str(cohort), "--predictions", str(predictions)]) == 130
    assert complaints(capsys) == [said]


def test_too_little_memory_is_one_line(monkeypatch, cohort, predictions, tmp_path, capsys):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr("leaderboard.scoring.against_cohort.score_cases", refuse)
    assert score(cohort, predictions, tmp_path / "a.csv") == 1
    assert complaints(capsys)[0].startswith("there is too little memory")


def test_a_table_is_written_through_a_link(cohort, predictions, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "a.csv")
    (tmp_path / "board.csv").symlink_to(tmp_path / "real" / "b.csv")
    for _ in range(2):
        assert score(cohort, predictions, tmp_path / "link.csv") == 0
        assert main(["rank", str(tmp_path / "link.csv"), "--out", str(tmp_path / "board.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "board.csv").is_symlink()
    assert (tmp_path / "real" / "a.csv").read_text().startswith("method,case")
    assert (tmp_path / "real" / "b.csv").read_text().startswith("rank,method")


def test_an_archive_is_no_table(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in "ab":
            file.writestr(f"{name}.csv", "method,case\n")
    assert main(["rank", str(tmp_path / "x.zip"), "--out", str(tmp_path / "y.csv")]) == 1
    (problem,) = complaints(capsys)
    assert problem.startswith(f"{tmp_path / 'x.zip'}: ")


def test_folds_must_cover_the_cases_and_may_hold_more(cohort, predictions, tmp_path, capsys):
    folds = tmp_path / "folds.csv"
    folds.write_text("case,fold\ncase_1,0\n")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--folds", str(folds)) == 1
    assert complaints(capsys) == [f"{folds}: gives no fold to case_2, case_3: add them"]
    folds.write_text("case,fold\n" + "".join(f"case_{number},0\n" for number in range(1, 11)))
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--folds", str(folds)) == 0
    assert complaints(capsys) == [
        f"note: {folds}: case_4, case_5, case_6, case_7, case_8 and 2 more are not among the 3 cases that are scored, "
        "and are left aside"
    ]


def test_patients_may_be_given_and_are_missed_where_they_are_unknown(predictions, tmp_path, capsys):
    unknown = "3 cases have no known patient, each counts as a patient of its own"
    references = shutil.copytree(predictions, tmp_path / "references")
    assert score(references, predictions, tmp_path / "a.csv") == 0
    found = capsys.readouterr()
    assert found.err == f"leaderboard: note: {unknown}: give --patients CSV where cases share a patient\n"
    assert "a.csv: 3 cases of me" in found.out
    assert main(["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv"), "--resamples", "30"]) == 0
    assert complaints(capsys) == [f"note: {unknown}: score with --patients CSV where cases share a patient"]
    patients = tmp_path / "p.csv"
    patients.write_text("case,patient\ncase_1,A\n2,A\n")
    assert score(references, predictions, tmp_path / "a.csv", "me", "--patients", str(patients)) == 1
    assert complaints(capsys) == [f"{patients}: gives no patient to case_3: add it"]
    patients.write_text("case,patient\ncase_1,A\n2,A\n3,B\n")
    assert score(references, predictions, tmp_path / "a.csv", "me", "--patients", str(patients)) == 0
    assert complaints(capsys) == []
    assert [line.split(",")[2] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]] == ["A", "A", "B"]


def test_patients_that_are_given_come_before_those_of_the_cohort(cohort, predictions, tmp_path):
    (tmp_path / "p.csv").write_text("case,patient\ncase_1,new\ncase_2,b\ncase_3,b\n")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--patients", str(tmp_path / "p.csv")) == 0
    assert [line.split(",")[2] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]] == ["new", "b", "b"]


def test_patients_that_are_given_for_some_cases_do_not_mix_with_those_of_the_cohort(
    cohort, predictions, tmp_path, capsys
):
    patients = tmp_path / "p.csv"
    patients.write_text("case,patient\ncase_1,new\n")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--patients", str(patients)) == 1
    assert complaints(capsys) == [f"{patients}: gives no patient to case_2, case_3: add them"]


def test_cases_that_the_patients_of_the_cohort_leave_out_are_told(tmp_path, capsys):
    """Cases of the public data have patients of their own, which the cohort's table overrides case by case."""
    from leaderboard.cohort.case import Case

    mask = tmp_path / "TRAINING" / "case_1" / "OT.nii"
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\n1,A\n2,A\n")
    cases = [Case(f"case_{n}", n, "training", p, {}, mask) for n, p in ((1, "A"), (2, "A"), (3, "2"))]
    assert mixed_patients(tmp_path, cases) == [
        f"{table}: case_3 is not in it and keeps patient 2: add it if that mixes two namings"
    ]
    assert mixed_patients(tmp_path, cases[:2]) == []
    others = [replace(case, patient="9") for case in cases]  # the table speaks for another partition
    assert mixed_patients(tmp_path, others) == []


def test_a_folder_that_is_scored_against_itself_is_told(cohort, predictions, tmp_path, capsys):
    assert score(predictions, predictions, tmp_path / "a.csv") == 0
    assert complaints(capsys)[0] == (
        f"note: {predictions}: holds the references of case_1, case_2, case_3: they are compared with themselves"
    )
    assert main(["check", "--cohort", str(predictions), "--predictions", str(predictions)]) == 0
    assert "compared with themselves" in complaints(capsys)[0]


def test_strata_by_fold_without_folds_are_refused_at_once(cohort, predictions, tmp_path, capsys, monkeypatch):
    assert score(cohort, predictions, tmp_path / "a.csv") == 0
    capsys.readouterr()
    monkeypatch.setattr("leaderboard.ranking.ranks.rank_methods", lambda *_: pytest.fail("ranked first"))
    assert main(["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv"), "--by", "fold"]) == 1
    assert complaints(capsys) == ["no case has a fold: score with --folds CSV to rank by fold"]


def test_lenient_says_what_was_refused_and_what_was_absent(cohort, predictions, tmp_path, capsys):
    (predictions / "case_2.nii.gz").write_text("no image")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--lenient") == 0
    assert capsys.readouterr().out.endswith("; 1 counts as missing: 1 refused (case_2), 0 absent\n")
    (predictions / "case_3.nii.gz").unlink()
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--lenient") == 0
    assert capsys.readouterr().out.endswith("; 2 count as missing: 1 refused (case_2), 1 absent (case_3)\n")
    (tmp_path / "a.csv").unlink()
    (predictions / "case_1.nii.gz").write_text("no image")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--lenient") == 1
    assert complaints(capsys)[-1] == f"{predictions}: holds no mask that can be scored: correct the masks"
    assert not (tmp_path / "a.csv").exists()


def test_complete_refuses_a_submission_that_leaves_cases_out(cohort, predictions, tmp_path, capsys, isles_tree):
    check = ["check", "--cohort", str(cohort), "--predictions", str(predictions), "--complete"]
    assert main(check) == 0
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--complete") == 0
    (predictions / "case_2.nii.gz").unlink()
    isles_tree.image(predictions / "case_1.nii.gz", isles_tree.values(SHAPE, "OT", 0) * 255)
    capsys.readouterr()
    for refuse in (lambda: main(check), lambda: score(cohort, predictions, tmp_path / "a.csv", "me", "--complete")):
        assert refuse() == 1
        problems = complaints(capsys)
        assert len(problems) == 2
        assert f"{predictions}: 1 of the cases has no prediction (case_2): add it" in problems


def test_metrics_that_no_table_has_are_said_to_be_none(cohort, predictions, tmp_path, capsys):
    score(cohort, predictions, tmp_path / "a.csv")
    capsys.readouterr()
    rank = ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv"), "--scheme", "mean-then-rank"]
    for metric, said in [
        ("seconds:lower", "seconds is not a column of the tables: choose from dice, "),
        ("status:lower", "status:lower is not a metric to rank by, but describes its row: name a column of "),
    ]:
        assert main([*rank, "--metrics", metric]) == 1
        (problem,) = complaints(capsys)
        assert problem.startswith(said)


def test_scores_of_a_twin_carry_the_word_synthetic_to_every_table(cohort, predictions, tmp_path, capsys):
    (cohort / "banner.txt").write_text(SYNTHETIC)
    assert score(cohort, predictions, tmp_path / "scored.csv") == 0
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "scored.csv", tmp_path / "elsewhere" / "a.csv")
    out = tmp_path / "elsewhere" / "board.csv"
    capsys.readouterr()
    assert main(["rank", str(tmp_path / "elsewhere" / "a.csv"), "--out", str(out), "--resamples", "0"]) == 0
    assert capsys.readouterr().out.startswith("Synthetic twin: ")
    assert SYNTHETIC in out.with_suffix(".md").read_text()
    assert out.read_text().splitlines()[1].endswith(",synthetic")


def test_patients_of_5000_digits_are_taken_or_refused_in_a_line(cohort, predictions, tmp_path, capsys):
    number = "9" * 5000
    table = tmp_path / "p.csv"
    table.write_text(f"case,patient\ncase_1,{number}\ncase_2,{number}\ncase_3,1\n{number},1\n")
    assert score(cohort, predictions, tmp_path / "a.csv", "me", "--patients", str(table)) == 0
    rank = ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv"), "--resamples", "30"]
    assert main(rank) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--folds", "--patients"])
def test_no_table_that_score_reads_is_replaced(cohort, predictions, tmp_path, capsys, option):
    given = tmp_path / "given.csv"
    given.write_text("case,patient,fold\n1,a,0\n2,a,0\n3,b,1\n")
    before = given.read_bytes()
    with pytest.raises(SystemExit):
        score(cohort, predictions, given, "me", option, str(given))
    assert "is a file that this command reads" in complaints(capsys)[0]
    assert score(cohort, predictions, given) == 1
    assert complaints(capsys) == [
        f"{given}: is there already and is no table of scores: choose another --out, or remove it"
    ]
    assert given.read_bytes() == before


def test_the_scores_of_another_method_are_not_replaced(cohort, predictions, tmp_path, capsys):
    out = tmp_path / "mine.csv"
    assert score(cohort, predictions, out, "b") == 0
    before = out.read_bytes()
    capsys.readouterr()
    assert score(cohort, predictions, out, "a") == 1
    assert complaints(capsys) == [
        f"{out}: holds the scores of 'b', which 'a' would replace: choose another --out, or remove it"
    ]
    assert out.read_bytes() == before
    assert score(cohort, predictions, out, "b") == 0


@pytest.mark.parametrize("name", ["board_by_size.csv", "board.md", "board.json"])
def test_no_file_beside_the_leaderboard_is_one_of_the_tables_to_rank(cohort, predictions, tmp_path, capsys, name):
    assert score(cohort, predictions, tmp_path / "a.csv") == 0
    (tmp_path / "a.csv").rename(tmp_path / name)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["rank", str(tmp_path / name), "--out", str(tmp_path / "board.csv"), "--by", "size"])
    assert "is a file that this command reads" in complaints(capsys)[0]


@pytest.mark.parametrize("name", ["README.md", "README.csv"])
def test_ranking_replaces_nothing_but_a_leaderboard(cohort, predictions, tmp_path, capsys, name):
    assert score(cohort, predictions, tmp_path / "a.csv") == 0
    (tmp_path / name).write_text("mine")
    capsys.readouterr()
    rank = ["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "README.csv"), "--resamples", "0"]
    assert main(rank) == 1
    assert "holds something else than this command writes" in complaints(capsys)[0]
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    assert [main(rank), main(rank)] == [0, 0]
