"""Results that were downloaded become the table that score would have written, and rank ranks them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import platform_trees as trees
import pytest

from leaderboard.cli import main

METHODS = ("early", "late", "nothing_in_one")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of three methods, evaluated on every platform (``<platform>/<method>``) and scored (``<method>.csv``)."""
    root = tmp_path_factory.mktemp("collected")
    references = trees.write_references(root / "references")
    for shift, method in enumerate(METHODS):
        masks = root / "masks" / method
        for number, subject in enumerate(trees.SUBJECTS, start=1):
            mask = np.roll(trees.reference(number), shift, axis=0) * (shift < 2 or number > 1)
            trees.write_nifti(masks / f"{trees.case_of(subject)}.nii.gz", mask.astype(np.uint8))
        common = ["--cohort", str(references)]
        words = ["score", *common, "--predictions", str(masks), "--method", method]
        assert main([*words, "--out", str(root / f"{method}.csv")]) == 0
        for platform in ("grand-challenge", "codabench", "evalai"):
            given = trees.pack(masks, root / f"{method}.zip") if platform == "evalai" else masks
            words = ["evaluate", "--platform", platform, *common, "--input", str(given), "--per-case", "named"]
            assert main([*words, "--out", str(root / platform / method)]) == 0
    return root


def rank(paths: list[Path], out: Path) -> str:
    assert main(["rank", *map(str, paths), "--preset", "isles2022", "--resamples", "500", "--out", str(out)]) == 0
    return out.read_text()


@pytest.mark.parametrize(
    ("platform", "name"),
    [("grand-challenge", "metrics.json"), ("codabench", "per_case.json"), ("evalai", "result.json")],
)
def test_collected_results_rank_as_scored_ones_do(scored: Path, tmp_path: Path, platform: str, name: str) -> None:
    out = tmp_path / "cases.csv"
    results = [str(scored / platform / method / name) for method in METHODS]
    assert main(["collect", *results, "--out", str(out)]) == 0
    lines = [(scored / f"{method}.csv").read_text().splitlines() for method in METHODS]
    assert out.read_text().splitlines() == [lines[0][0], *(line for table in lines for line in table[1:])]
    tables = [scored / f"{method}.csv" for method in METHODS]
    assert rank([out], tmp_path / "a.csv") == rank(tables, tmp_path / "b.csv")


def test_a_list_of_evaluations_gives_the_latest_of_each_team(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluation(team: str, method: str, created: str) -> dict:
        value = json.loads((scored / "grand-challenge" / method / "metrics.json").read_text())
        outputs = [{"interface": {"slug": "metrics-json-file"}, "value": value}]
        return {"pk": created, "created": created, "submission": {"creator": team}, "outputs": outputs}

    listed = [
        evaluation("x", "late", "2027-02-01T10:00"),
        evaluation("x", "early", "2027-01-01T10:00"),
        evaluation("y", "early", "2027-01-01T10:00"),
        {"submission": {"creator": "z"}, "outputs": [], "status": "Failed"},
    ]
    (tmp_path / "evaluations.json").write_text(json.dumps({"count": 4, "results": listed}))
    assert main(["collect", str(tmp_path / "evaluations.json"), "--out", str(tmp_path / "cases.csv")]) == 0
    printed = capsys.readouterr().err
    assert "x has several evaluations" in printed
    assert "evaluation 4 has no metrics-json-file" in printed
    with (tmp_path / "cases.csv").open() as file:
        found = {(row["method"], row["case"]): row["dice"] for row in csv.DictReader(file)}
    for team, method in (("x", "late"), ("y", "early")):
        with (scored / f"{method}.csv").open() as file:
            assert {row["case"]: row["dice"] for row in csv.DictReader(file)} == {
                case: dice for (name, case), dice in found.items() if name == team
            }


def test_evalutils_results_rank_by_renamed_columns(tmp_path: Path) -> None:
    names = {"0": "sub-1_msk.nii.gz", "1": "sub-2_msk.nii.gz"}
    for team, dice in (("a", (0.5, 0.9)), ("b", (0.75, 0.25))):
        case = {"Dice": dict(zip("01", dice, strict=True)), "Speed": {"0": 1.0, "1": None}, "gt_fname": names}
        (tmp_path / team).mkdir()
        (tmp_path / team / "metrics.json").write_text(json.dumps({"case": case, "aggregates": {"Dice": {"mean": 0}}}))
    results = [str(tmp_path / team / "metrics.json") for team in "ab"]
    assert main(["collect", *results, "--rename", "Dice=dice", "--out", str(tmp_path / "cases.csv")]) == 0
    with (tmp_path / "cases.csv").open() as file:
        rows = [(row["method"], row["case"], float(row["dice"])) for row in csv.DictReader(file)]
    assert rows == [
        ("a", "sub-1_msk", 0.5),
        ("a", "sub-2_msk", 0.9),
        ("b", "sub-1_msk", 0.75),
        ("b", "sub-2_msk", 0.25),
    ]
    assert main(["rank", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "l.csv"), "--resamples", "0"]) == 0
    with (tmp_path / "l.csv").open() as file:
        assert [(row["method"], float(row["dice_mean"])) for row in csv.DictReader(file)] == [("a", 0.7), ("b", 0.5)]


FAULTS = {
    "aggregates alone": ({"aggregates": {"dice": {"mean": 1}}}, "--per-case"),
    "a list of numbers": ([1, 2], "holds no row a case"),
    "a number": (3, "holds no row a case"),
    "a case twice": ({"results": [{"case": "a", "dice": 1}, {"case": "a", "dice": 1}]}, "twice"),
    "a Dice of 3": ({"results": [{"case": "a", "dice": "=1"}]}, "dice"),
    "a Dice of 1.7": ({"results": [{"case": "a", "dice": 1.7}]}, "team: a: dice is '1.7': it must be"),
    "a negative volume": ({"results": [{"case": "a", "dice": 1, "predicted_ml": -2}]}, "predicted_ml is '-2'"),
    "an unknown status": ({"results": [{"case": "a", "dice": 1, "status": "fine"}]}, "status is 'fine'"),
    "an infinite number": ({"results": [{"case": "a", "dice": float("inf")}]}, "infinite"),
    "a formula for a case": ({"results": [{"case": "=1+1", "dice": 1}]}, "formula"),
    "evaluations without a team": ({"results": [{"outputs": [{"socket": {"slug": "metrics-json-file"}}]}]}, "creator"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_cannot_be_collected_is_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = FAULTS[kind]
    (tmp_path / "team.json").write_text(json.dumps(content))
    out = tmp_path / "cases.csv"
    if kind == "a Dice of 3":  # a column that is no number is left out; rank then says what is lacking
        assert main(["collect", str(tmp_path / "team.json"), "--out", str(out)]) == 0
        assert main(["rank", str(out), "--out", str(tmp_path / "l.csv")]) == 1
    else:
        assert main(["collect", str(tmp_path / "team.json"), "--out", str(out)]) == 1
        assert not out.exists()
    assert words in capsys.readouterr().err


def test_two_files_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.dumps({"results": [{"case": "a", "dice": 1}]})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "team.json").write_text(content)
    (tmp_path / "team.json").write_text(content)
    words = [
        "collect",
        str(tmp_path / "team.json"),
        str(tmp_path / "a" / "team.json"),
        "--out",
        str(tmp_path / "c.csv"),
    ]
    assert main(words) == 1
    assert "name one of them otherwise" in capsys.readouterr().err


RENAMINGS = {
    ("Dice=dice",): "--rename Dice=dice: some results already have dice: drop this renaming, or rename dice as well",
    ("Dice=d", "Speed=d"): "d is the new name of two columns",
    ("Dice=a", "Dice=b"): "Dice is renamed twice",
    ("Dice=case",): "case identifies the rows",
    ("method=Dice2",): "method identifies the rows",
    ("case=Dice",): "case identifies the rows",
    ("Dise=d",): "no result has numbers called Dise: choose from Dice, Speed, case, dice, method",
}


#: A new name that is nearly one of cases.csv, and that one.
MISTYPED = {
    "dise": "dice", "DICE": "dice", "Recall": "recall", "haussdorff_mm": "hausdorff_mm", "hd95": "hd95_mm",
    "AVD": "avd_ml", "lesion_f1_iuo25": "lesion_f1_iou25", "pateint": "patient",
}  # fmt: skip


@pytest.mark.parametrize("name", MISTYPED)
def test_a_mistyped_new_name_is_refused_with_the_nearest_one(name, tmp_path, capsys) -> None:
    (tmp_path / "team.json").write_text(json.dumps({"results": [{"case": "a", "Overlap": 0.5}]}))
    words = ["collect", str(tmp_path / "team.json"), "--out", str(tmp_path / "cases.csv")]
    assert main([*words, "--rename", f"Overlap={name}"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    said = f"--rename Overlap={name}: cases.csv has no column {name}: did you mean {MISTYPED[name]}? write it so, or"
    assert line.startswith(f"leaderboard: {said}")
    assert not (tmp_path / "cases.csv").exists()


@pytest.mark.parametrize("name", ["dice", "speed", "seconds", "lesion_f1_iou50", "jaccard", "volume_error", "hd99_mm"])
def test_another_new_name_is_taken(name, tmp_path) -> None:
    (tmp_path / "team.json").write_text(json.dumps({"results": [{"case": "a", "Overlap": 0.5}]}))
    words = ["collect", str(tmp_path / "team.json"), "--out", str(tmp_path / "cases.csv")]
    assert main([*words, "--rename", f"Overlap={name}"]) == 0
    (found,) = csv.DictReader((tmp_path / "cases.csv").open())
    assert found[name] == "0.5"


@pytest.mark.parametrize("pairs", RENAMINGS)
def test_columns_are_not_merged_and_rows_keep_their_names(pairs, tmp_path, capsys) -> None:
    row = {"case": "a", "method": "of the team", "Dice": 0.5, "dice": 0.25, "Speed": 1.0}
    (tmp_path / "team.json").write_text(json.dumps({"results": [row]}))
    out = tmp_path / "cases.csv"
    words = ["collect", str(tmp_path / "team.json"), "--out", str(out)]
    assert main([*words, *(word for pair in pairs for word in ("--rename", pair))]) == 1
    assert RENAMINGS[pairs] in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, "--rename", "Dice=dice", "--rename", "dice=Dice"]) == 0  # nothing is lost: they swap
    (found,) = csv.DictReader(out.open())
    assert (found["method"], found["dice"], found["Dice"]) == ("team", "0.5", "0.25")
