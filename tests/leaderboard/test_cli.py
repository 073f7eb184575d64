"""The commands, as a user meets them."""

import inspect
import shutil
import subprocess
import sys
import time

import pytest

from leaderboard import cli
from leaderboard.cli import main
from leaderboard.policy import POLICIES
from leaderboard.published import PUBLISHED
from leaderboard.ranking import SCHEMES, rank_methods
from leaderboard.resampling import UNITS
from leaderboard.strata import STRATA

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
            "--reference",
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
    assert "3 cases of b; 1 has no prediction and counts as missing (case_2)" in capsys.readouterr().out
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


def test_choices_are_those_of_the_library():
    assert set(cli._SCHEMES) == set(SCHEMES)
    assert set(cli._POLICIES) == set(POLICIES)
    assert cli._UNITS == UNITS
    assert cli._STRATA == STRATA
    assert cli._PUBLISHED == PUBLISHED
    defaults = cli._parser().parse_args(["rank", "a.csv", "--out", "b.csv"])
    chosen = inspect.signature(rank_methods).parameters
    for name in ("scheme", "policy", "metrics", "unit", "resamples", "seed"):
        assert getattr(defaults, name) == chosen[name].default


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
    assert complaints(capsys)[0].startswith("case_1 is in no fold: ")


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


def test_the_partial_file_stays_while_there_is_no_table(cohort, predictions, tmp_path, capsys):
    sound = (predictions / "case_2.nii.gz").read_bytes()
    (predictions / "case_2.nii.gz").write_text("no image")
    partial = tmp_path / "a.csv.partial"
    assert score(cohort, predictions, tmp_path / "a.csv") == 1
    assert len(partial.read_text().splitlines()) == 2
    (predictions / "case_2.nii.gz").write_bytes(sound)
    assert score(cohort, predictions, tmp_path / "a.csv") == 0
    assert not partial.exists()
    assert score(cohort, predictions, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_scoring_that_was_killed_continues(cohort, predictions, tmp_path, isles_tree):
    script = (
        "import os, signal\nfrom leaderboard import scored, scoring\nfrom leaderboard.cli import main\n"
        "def score_files(files):\n"
        "    if 'case_3' in str(files[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return scored.score_files(files)\n"
        "scoring.score_files = score_files\n"
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
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    out = tmp_path / "a.csv"
    for wrong, message in [
        ((tmp_path / "none", predictions, out), "none: does not exist"),
        ((tmp_path / "empty", predictions, out), "holds no ISLES cases"),
        ((cohort, tmp_path / "none", out), "none: does not exist"),
        ((cohort, tmp_path / "empty", out), "holds no .nii"),
        ((cohort, tmp_path / "file", out), "is not a folder"),
        ((cohort, predictions, tmp_path), "is a folder"),
        ((cohort, predictions, tmp_path / "file" / "a.csv"), "cannot be made"),
        ((cohort, predictions, out, "\t"), "method's name"),
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
        ([str(tmp_path / "text.csv"), "--out", out], "lacks the columns"),
        ([str(tmp_path), "--out", out], "cannot be read"),
    ]:
        assert main(["rank", *wrong]) == 1
        problems = complaints(capsys)
        assert len(problems) == 1
        assert message in problems[0]
    assert main(["rank", str(tmp_path / "a.csv"), str(tmp_path / "a.csv"), "--out", out]) == 1
    assert complaints(capsys)[0].startswith(f"{tmp_path / 'a.csv'}:2, {tmp_path / 'a.csv'}:2: me has case_1 2 times")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["score"],
        ["rank", "a.csv"],
        ["rank", "a.csv", "--out", "b.csv", "--scheme", "best"],
        ["rank", "a.csv", "--out", "b.csv", "--policy", "best"],
        ["rank", "a.csv", "--out", "b.md"],
        ["rank", "a.csv", "--out", "a.csv"],
        ["rank", "a.csv", "--out", "b.csv", "--metrics", "dice"],
        ["rank", "a.csv", "--out", "b.csv", "--resamples", "-1"],
        ["rank", "a.csv", "--out", "b.csv", "--by", "age"],
        ["score", "--reference", "r", "--predictions", "p", "--method", "m", "--out", "o", "--jobs", "0"],
        ["score", "--reference", "r", "--predictions", "p", "--method", "m", "--out", "o", "--partition", "all"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


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


def test_a_reader_that_leaves_gets_no_traceback(cohort, predictions, tmp_path):
    score(cohort, predictions, tmp_path / "a.csv")
    command = f"{sys.executable} -m leaderboard rank {tmp_path / 'a.csv'} --out {tmp_path / 'b.csv'} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_an_interrupt_is_quiet(monkeypatch, cohort, predictions, tmp_path, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("leaderboard.scoring.score_cases", interrupt)
    assert score(cohort, predictions, tmp_path / "a.csv") == 130
    assert capsys.readouterr().err == ""
