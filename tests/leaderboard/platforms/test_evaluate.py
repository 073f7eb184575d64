"""Each platform's input tree, evaluated in a process without network, gives the numbers of score and rank."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import platform_trees as trees
import pytest

from leaderboard.cli import main

#: Any use of a network fails; `multiprocessing` needs none.
NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise RuntimeError("the network was used")
socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = socket.socket.bind = refuse
"""
RUN = """
import json, sys
from leaderboard.cli import main
for words in json.load(sys.stdin):
    assert main(words) == 0, words
"""
CASES = dict(zip(map(trees.case_of, trees.SUBJECTS), (1, 2, 3), strict=True))
RESULT = {"grand-challenge": "metrics.json", "codabench": "scores.json", "evalai": "result.json"}
LAYOUTS = {
    "socket": ("grand-challenge", "isles2026"),
    "interface": ("grand-challenge", "isles2024"),
    "flat_2022": ("grand-challenge", "isles2022"),
    "uploaded": ("grand-challenge", "isles2022"),
    "codabench": ("codabench", "isles2026"),
    "codabench_zip": ("codabench", "isles2018"),
    "evalai": ("evalai", "isles2022"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each layout under its name, with the results in ``<layout>_out``; and what score and rank say."""
    root = tmp_path_factory.mktemp("platforms")
    references = trees.write_references(root / "references")
    masks, maps = trees.write_predictions(root / "masks"), trees.write_predictions(root / "maps", maps=True)
    trees.write_jobs(root / "socket")
    trees.write_jobs(root / "interface", key="interface", write=trees.write_placed)
    trees.write_flat_jobs(root / "flat_2022")
    trees.write_predictions(root / "uploaded" / "my submission" / "masks")  # a zip with folders on top, unpacked
    trees.write_predictions(root / "codabench" / "top" / "segmentation")
    trees.write_predictions(root / "codabench" / "top" / "probabilities", maps=True)
    (root / "codabench_zip").mkdir()
    trees.pack(masks, root / "codabench_zip" / "submission.zip", top="team")
    trees.pack(masks, root / "evalai", top="team").rename(root / "evalai.zip")
    trees.pack(references, root / "references.zip", top="gt")
    calls = []
    for layout, (platform, preset) in LAYOUTS.items():
        given = root / ("evalai.zip" if layout == "evalai" else layout)
        cohort = root / ("references.zip" if layout == "evalai" else "references")
        words = ["evaluate", "--platform", platform, "--preset", preset, "--input", given, "--cohort", cohort]
        calls.append([*words, "--out", root / f"{layout}_out", "--per-case", "named"])
    without_network(root, calls)
    for preset in {preset for _, preset in LAYOUTS.values()}:
        scored, ranked = root / f"{preset}.csv", root / f"{preset}_ranked.csv"
        with_maps = ["--probabilities", maps] if preset == "isles2026" else []
        words = ["score", "--cohort", references, "--predictions", masks, "--method", "m", "--out", scored, *with_maps]
        assert main(list(map(str, words))) == 0
        assert main(["rank", str(scored), "--preset", preset, "--out", str(ranked), "--resamples", "0"]) == 0
    return root


def without_network(root: Path, calls: list[list[object]]) -> None:
    (root / "site").mkdir()
    (root / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    path = os.pathsep.join([str(root / "site"), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    alone = ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []
    texts = json.dumps([list(map(str, words)) for words in calls])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [*alone, sys.executable, "-c", RUN]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == len(calls), done.stdout  # one line each


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def result(root: Path, layout: str) -> dict:
    return json.loads((root / f"{layout}_out" / RESULT[LAYOUTS[layout][0]]).read_text())


def numbers(root: Path, layout: str) -> dict[str, float]:
    """All numbers of a result under the names of leaderboard.csv."""
    content = result(root, layout)
    if layout.startswith("codabench"):
        return content
    if layout == "evalai":
        return content["result"][0]["test_split"]
    flat = {}
    for name, found in content["aggregates"].items():
        assert found["count"] == 3
        flat |= {f"{name}_mean": found["mean"], f"{name}_sd": found["std"], f"{name}_median": found["median"]}
        flat[f"{name}_undefined"] = found["undefined"]
        assert found["min"] <= found["median"] <= found["max"]
    return flat | {"cases": content["cases"]["count"], "missing": content["cases"]["missing"]}


def per_case(root: Path, layout: str) -> list[dict]:
    if layout.startswith("codabench"):
        return json.loads((root / f"{layout}_out" / "per_case.json").read_text())["results"]
    content = result(root, layout)
    return (content["submission_metadata"] if layout == "evalai" else content)["results"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_aggregate_is_that_of_rank(root: Path, layout: str) -> None:
    preset = LAYOUTS[layout][1]
    (ranked,) = rows(root / f"{preset}_ranked.csv")
    found = numbers(root, layout)
    means = {name.removesuffix("_mean") for name in ranked if name.endswith("_mean") and "_defined_" not in name}
    assert {name.removesuffix("_mean") for name in found if name.endswith("_mean")} == means
    for name in means:
        assert found[f"{name}_mean"] == float(ranked[f"{name}_mean"])
        assert found[f"{name}_sd"] == float(ranked[f"{name}_sd"])
        values = [float(row[name]) for row in rows(root / f"{preset}.csv")]
        assert found[f"{name}_median"] == pytest.approx(median(values), abs=1e-6)
        assert found[f"{name}_undefined"] == 0
    assert found["cases"] == 3
    assert found["missing"] == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_row_is_that_of_score(root: Path, layout: str) -> None:
    expected = rows(root / f"{LAYOUTS[layout][1]}.csv")
    found = per_case(root, layout)
    assert [row["case"] for row in found] == list(CASES) == [row["case"] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert set(ours) == {name for name, value in theirs.items() if value and name != "method"}
        for name, value in ours.items():
            assert value == (theirs[name] if isinstance(value, str) else float(theirs[name]))


def test_results_name_the_rules(root: Path) -> None:
    about = result(root, "flat_2022")["about"]
    assert about["preset"] == "isles2022"
    assert about["scheme"] == "rank-then-mean"
    assert result(root, "evalai")["submission_result"]["preset"] == "isles2022"


@pytest.mark.parametrize("per_case", ["none", "anonymous"])
def test_no_case_is_named_unless_asked_for(root: Path, tmp_path: Path, per_case: str) -> None:
    for layout in ("interface", "evalai"):
        platform, preset = LAYOUTS[layout]
        given = root / ("evalai.zip" if layout == "evalai" else layout)
        words = ["--platform", platform, "--preset", preset, "--input", given, "--cohort", root / "references"]
        words = [*words, "--out", tmp_path / layout, "--per-case", per_case]
        assert main(["evaluate", *map(str, words)]) == 0
        text = (tmp_path / layout / RESULT[platform]).read_text()
        assert not [subject for subject in trees.SUBJECTS if subject in text]
        assert text.count("reference_ml") == (0 if per_case == "none" else 3)
    if per_case == "anonymous":  # the same names in every submission
        ours = json.loads((tmp_path / "interface" / "metrics.json").read_text())["results"]
        theirs = json.loads((tmp_path / "evalai" / "result.json").read_text())["submission_metadata"]["results"]
        assert [row["case"] for row in ours] == [row["case"] for row in theirs]
        assert len({row["case"] for row in ours}) == 3
        real = {row["reference_ml"] for row in per_case_of(root)}
        assert {row["reference_ml"] for row in ours} == real


@pytest.mark.parametrize(("allowed", "jobs"), [("1", 1), ("", None), ("many", None), ("0", None)])
def test_the_platform_bounds_the_number_of_processes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, jobs: int | None
) -> None:
    from leaderboard.platforms import evaluation

    asked = []
    right = evaluation.score_cases
    monkeypatch.setattr(evaluation, "score_cases", lambda *a, **k: asked.append(k["jobs"]) or right(*a, **k))
    monkeypatch.setenv("GRAND_CHALLENGE_MAX_WORKERS", allowed)
    words = ["--platform", "grand-challenge", "--input", root / "interface", "--cohort", root / "references"]
    assert main(["evaluate", *map(str, words), "--out", str(tmp_path)]) == 0
    assert asked == [jobs]


def per_case_of(root: Path) -> list[dict]:
    return per_case(root, "interface")
