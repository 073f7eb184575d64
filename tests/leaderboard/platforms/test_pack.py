"""What `pack` writes is whole: its commands are ours, its settings name what results hold, its files are there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import platform_trees as trees
import pytest

from leaderboard.cli import main
from leaderboard.presets import PRESETS

PLATFORMS = ("grand-challenge", "codabench", "evalai")


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = trees.write_references(tmp_path_factory.mktemp("packed") / "references")
    rows = [f"{trees.case_of(subject)},P{number}" for number, subject in enumerate(trees.SUBJECTS)]
    (folder / "patients.csv").write_text("\n".join(["case,patient", *rows, ""]))
    return folder


def wheel(folder: Path) -> Path:
    """A wheel with nothing but what says which version it is and what it needs."""
    path = folder / "isles_benchmark-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        needs = "Requires-Dist: numpy>=2.0\nRequires-Dist: torch>=2.6; extra == 'train'\nRequires-Dist: matplotlib>=3.9"
        file.writestr(
            "isles_benchmark-9.8.7.dist-info/METADATA", f"Name: isles-benchmark\nVersion: 9.8.7\n{needs}\n\nText"
        )
    return path


def pack(platform: str, out: Path, references: Path, *more: object) -> int:
    words = ["pack", out, "--platform", platform, "--cohort", references, "--image", "example/leaderboard:1", *more]
    return main(list(map(str, words)))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("preset", ["isles2022", "isles2026"])
def test_the_selftest_says_what_came_of_each_submission(
    platform: str, preset: str, references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(platform, tmp_path / "p", references, "--preset", preset, "--selftest") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == [
        "the references", "empty masks", "all references but one", "nothing"
    ]  # fmt: skip
    assert "accepted, 0 missing: dice 1, avd_ml 0," in lines[0]
    assert "accepted, 0 missing: dice 0, " in lines[1]
    assert "accepted, 1 missing: dice 0.666667," in lines[2]
    assert "refused" in lines[3]


def test_a_selftest_fails_where_references_do_not_score_best(
    references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.scoring import one_case

    right = one_case.measure
    monkeypatch.setattr(one_case, "measure", lambda *given: right(*given) | {"dice": 0.9})
    assert pack("codabench", tmp_path / "p", references, "--preset", "isles2022", "--selftest") == 1
    assert "dice not at its best" in capsys.readouterr().err


def test_a_folder_named_like_a_temporary_one_stays(references: Path, tmp_path: Path) -> None:
    own = tmp_path / ".p.tmp" / "own.txt"
    own.parent.mkdir()
    own.write_text("mine")
    assert pack("codabench", tmp_path / "p", references) == 0
    assert own.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".p.tmp", "p"]


def test_complete_refuses_what_leaves_a_case_out(
    references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack("evalai", tmp_path / "p", references, "--complete", "--selftest") == 0
    assert re.search("all references but one: refused: .* has no prediction", capsys.readouterr().out)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_container_installs_the_wheel_and_all_that_it_needs_in_one_version_each(
    platform: str, references: Path, tmp_path: Path
) -> None:
    given = wheel(tmp_path)
    assert pack(platform, tmp_path / "p", references, "--wheel", given) == 0
    folder = tmp_path / "p" / ("evaluation_script" if platform == "evalai" else "")
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert (folder / given.name).read_bytes() == given.read_bytes()
    assert lines[-1] == f"./{given.name}"
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", line) for line in lines[:-1])
    names = {line.partition("==")[0].lower() for line in lines[:-1]}
    assert {"numpy", "matplotlib", "pillow"} <= names
    assert "torch" not in names


@pytest.mark.parametrize("platform", ["grand-challenge", "codabench"])
def test_each_step_of_the_dockerfile_has_what_it_names(platform: str, references: Path, tmp_path: Path) -> None:
    assert pack(platform, tmp_path / "p", references, "--preset", "atlas2", "--wheel", wheel(tmp_path)) == 0
    text = (tmp_path / "p" / "Dockerfile").read_text()
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0][0] == "FROM"
    assert re.fullmatch(r"--platform=linux/amd64 python:3\.\d+-slim", steps[0][1])
    copied = next(rest.split()[:-1] for name, rest in steps if name == "COPY")
    assert all((tmp_path / "p" / name).is_file() for name in copied)
    checked = re.search(r'echo "(\w+)  (\S+)" \| sha256sum --check', text)
    assert checked
    done = subprocess.run(["sha256sum", tmp_path / "p" / checked[2]], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == checked[1]
    assert [name for name, _ in steps].index("USER") > max(n for n, (name, _) in enumerate(steps) if name == "RUN")
    entry = [json.loads(rest) for name, rest in steps if name == "ENTRYPOINT"]
    assert entry == ([] if platform == "codabench" else [
        ["leaderboard", "evaluate", "--platform", "grand-challenge", "--preset", "atlas2"]
    ])  # fmt: skip


def test_the_first_run_of_a_grand_challenge_pack_is_what_its_entrypoint_does(references: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    assert pack("grand-challenge", out, references, "--preset", "isles2026", "--per-case", "named") == 0
    entry = json.loads(re.search(r"ENTRYPOINT (.*)", (out / "Dockerfile").read_text())[1])
    mounts = dict(re.findall(r'--volume "\$PWD/(\S+?):(/[\w/]+)', (out / "do_test_run.sh").read_text()))
    assert mounts == {
        "test/input": "/input", "test/output": "/output", "ground_truth": "/opt/ml/input/data/ground_truth"
    }  # fmt: skip
    given = ["--input", out / "test" / "input", "--out", out / "test" / "output", "--cohort", out / "ground_truth"]
    assert main([*entry[1:], *map(str, given)]) == 0
    content = json.loads((out / "test" / "output" / "metrics.json").read_text())
    assert [row["patient"] for row in content["results"]] == ["P0", "P1", "P2"]
    settings = (out / "README.md").read_text()
    paths = re.findall(r"aggregates\.[\w.]+", settings)
    assert len(paths) == len(PRESETS["isles2026"].metrics) + 1
    for path in paths:
        found = content
        for key in path.split("."):
            found = found[key]
        assert isinstance(found, float)


@pytest.mark.parametrize("platform", ["grand-challenge", "codabench"])
def test_the_scripts_are_shell_scripts(platform: str, references: Path, tmp_path: Path) -> None:
    assert pack(platform, tmp_path / "p", references) == 0
    scripts = sorted((tmp_path / "p").rglob("*.sh"))
    assert len(scripts) == {"grand-challenge": 3, "codabench": 1}[platform]
    for script in scripts:
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", script], check=True)


def test_codabench_columns_are_the_keys_of_scores_json(references: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    out, title = tmp_path / "p", 'Stroke: "a" & <b> #1'
    more = ["--preset", "isles2024", "--title", title, "--start", "2027-01-31", "--case-pattern", r"^(sub \d+)|.*"]
    assert pack("codabench", out, references, *more) == 0
    content = yaml.safe_load((out / "competition.yaml").read_text())
    assert content["version"] == 2
    assert content["title"] == title
    assert content["docker_image"] == "example/leaderboard:1"
    assert content["phases"][0]["start"] == "2027-01-31 00:00:00"
    for name in (content["image"], content["terms"], *(page["file"] for page in content["pages"])):
        assert (out / name).is_file()
    (task,) = content["tasks"]
    assert yaml.safe_load((out / task["scoring_program"] / "metadata.yaml").read_text()) == {
        "command": "sh $program/score.sh"
    }
    words = shlex.split((out / task["scoring_program"] / "score.sh").read_text().splitlines()[-1])
    assert words[:6] == ["exec", "leaderboard", "evaluate", "--platform", "codabench", "--preset"]
    assert words[-1] == r"^(sub \d+)|.*"
    given = ["--input", out / task["reference_data"], "--cohort", out / task["reference_data"], "--out", tmp_path]
    assert main([*words[2:-2], *map(str, given)]) == 0
    columns = content["leaderboards"][0]["columns"]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert {column["key"] for column in columns} <= scores.keys()
    assert [column["sorting"] for column in columns] == ["desc", "asc", "asc", "desc", "asc"]
    assert [column["index"] for column in columns] == [0, 1, 2, 3, 4]


def test_evalai_calls_the_packed_script(references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml")
    out = tmp_path / "p"
    assert pack("evalai", out, references, "--preset", "isles2022", "--split", "hidden") == 0
    config = yaml.safe_load((out / "challenge_config.yaml").read_text())
    (phase,), (board,) = config["challenge_phases"], config["leaderboard"]
    assert config["dataset_splits"][0]["codename"] == "hidden"
    for name in ("description", "evaluation_details", "terms_and_conditions", "submission_guidelines", "image"):
        assert (out / config[name]).is_file()
    assert (out / phase["description"]).is_file()
    given = trees.pack(trees.write_predictions(tmp_path / "masks"), tmp_path / "given.zip", top="team")
    script = out / "evaluation_script"
    assert "from .main import evaluate" in (script / "__init__.py").read_text()
    monkeypatch.syspath_prepend(str(script))
    monkeypatch.delitem(sys.modules, "main", raising=False)
    from main import evaluate  # type: ignore[import-not-found]

    annotations = str(out / phase["test_annotation_file"])
    found = evaluate(annotations, str(given), phase["codename"], submission_metadata={"id": 1})
    monkeypatch.delitem(sys.modules, "main")
    ((split, numbers),) = found["result"][0].items()
    assert split == "hidden"
    assert set(board["schema"]["labels"]) <= numbers.keys()
    assert 0 < numbers["dice_mean"] < 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


FAULTS = {
    "a folder that holds something": (["{out}", "--title", "x"], "holds something"),
    "no title": (["--title", ""], "--title"),
    "a formula": (["--title", "=1+1"], "--title"),
    "no image": (["--image", "A B"], "--image"),
    "no wheel": (["--wheel", __file__], "is no wheel"),
    "no day": (["--start", "tomorrow"], "is no day"),
    "no pattern": (["--case-pattern", "("], "is no regular expression"),
    "no references": (["--cohort", str(Path(__file__).parent)], "holds no cases"),
}


def test_rules_that_contradict_each_other_are_wrong_usage(references: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        pack("grand-challenge", tmp_path / "p", references, "--complete", "--lenient")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("kind", FAULTS)
def test_what_cannot_be_packed_is_refused_in_one_line_and_nothing_is_left(
    kind: str, references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, words = FAULTS[kind]
    out = tmp_path / "p"
    if kind == "a folder that holds something":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
        more = more[1:]
    assert pack("grand-challenge", out, references, *more) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == (["mine.txt", "p"] if out.exists() else [])
