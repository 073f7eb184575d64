"""Folds from and for other programs: nnU-Net's splits, MONAI's datalist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trees

from benchmark.cli import main
from benchmark.cohort.fold_json import read_json_folds
from benchmark.cohort.folds import make_folds, measure_cohort, read_fold_file
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.errors import InputError

NAMES = ("a_1", "a_2", "a_3", "a_4")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Four cases, each a patient of its own."""
    return read_cohort(trees.nnunet(tmp_path / "cohort", NAMES))


def splits(*folds: tuple[str, ...]) -> list[dict[str, list[str]]]:
    """nnU-Net's content of folds that validate these cases."""
    everything = [name for fold in folds for name in fold]
    return [{"train": [name for name in everything if name not in fold], "val": list(fold)} for fold in folds]


def written(folder: Path, content: Any, name: str = "folds.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_nnunets_splits_are_read_with_the_patients_of_the_cohort(tmp_path: Path, cohort: Cohort) -> None:
    folds = read_json_folds(written(tmp_path, splits(("a_3", "a_1"), ("a_2", "a_4"))), cohort)
    assert folds.fold_of == {"a_3": 0, "a_1": 0, "a_2": 1, "a_4": 1}
    assert folds.patient_of == {name: name for name in NAMES}


def test_a_datalist_of_monai_is_read_by_the_names_of_labels_or_images(tmp_path: Path, cohort: Cohort) -> None:
    items = [
        {"image": ["imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz"], "label": "labelsTr/a_1.nii.gz", "fold": 1},
        {"image": "imagesTr/a_2_0000.nii.gz", "fold": 0},
        {"label": "elsewhere/a_3.nii.gz", "fold": 0},
        {"image": ["imagesTr/a_4_0000.nii.gz"], "label": "labelsTr/a_4.nii.gz", "fold": 1},
    ]
    folds = read_json_folds(written(tmp_path, {"training": items}), cohort)
    assert folds.fold_of == {"a_1": 1, "a_2": 0, "a_3": 0, "a_4": 1}


def test_cases_are_known_by_the_names_of_their_files_whatever_the_format(tmp_path: Path) -> None:
    cohort = read_cohort(trees.isles2022(tmp_path / "cohort"))
    items = [{"label": str(case.reference), "fold": place} for place, case in enumerate(cohort.cases)]
    folds = read_json_folds(written(tmp_path, {"training": items}), cohort)
    assert folds.fold_of == {"sub-strokecase0001": 0, "sub-strokecase0002": 1}


@pytest.mark.parametrize("out", ["splits_final.json", "datalist.json", "folds.csv"])
def test_written_folds_are_read_as_they_were(tmp_path: Path, cohort: Cohort, out: str) -> None:
    made = make_folds(measure_cohort(cohort), 2, seed=0)
    path = tmp_path / out
    assert main(["folds", str(cohort.root), "--out", str(path), "--number", "2"]) == 0
    again = tmp_path / "again.csv"
    assert main(["folds", str(cohort.root), "--folds", str(path), "--out", str(again)]) == 0
    assert read_fold_file(again).digest == made.digest


def test_no_fold_file_is_replaced(tmp_path: Path, cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folds.csv").write_text("by hand")
    assert main(["folds", str(cohort.root), "--out", str(tmp_path / "folds.csv")]) == 1
    said = f"benchmark: --out {tmp_path / 'folds.csv'}: is there already: name a new file, or remove it first\n"
    assert capsys.readouterr().err == said
    assert (tmp_path / "folds.csv").read_text() == "by hand"


def test_the_files_of_a_datalist_lie_where_it_says(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "lists").mkdir()
    assert main(["folds", str(cohort.root), "--out", str(tmp_path / "lists" / "d.json"), "--number", "2"]) == 0
    items = json.loads((tmp_path / "lists" / "d.json").read_text())["training"]
    for case, item in zip(cohort.cases, items, strict=True):
        paths = [(tmp_path / "lists" / file).resolve() for file in (*item["image"], item["label"])]
        assert paths == [file.resolve() for file in (*case.images.values(), case.reference)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (splits(("a_1", "a_2"), ("a_2", "a_3", "a_4")), "validates a_2 twice"),
        ([{"train": ["a_1"], "val": ["a_2"]}, {"train": ["a_2", "a_3"], "val": ["a_1"]}], "fold 0 does not train on"),
        ([{"train": ["a_3"], "val": ["a_1"]}, {"train": ["a_1", "a_3"], "val": []}], "fold 1 does not train on"),
        ([{"train": ["a_3", "a_1"], "val": ["a_2"]}, {"train": ["a_3", "a_2"], "val": ["a_1"]}], "validates a_3 in no"),
        (splits(NAMES), "has the folds 0: number two or more"),
        ({"training": [{"image": "a_1_0000.nii.gz"}]}, "item 0 of training needs a fold"),
        ({"training": [{"fold": 0}]}, "item 0 of training needs a fold"),
        ({"validation": []}, "is neither nnU-Net's splits_final.json nor a datalist"),
        (3, "is neither"),
    ],
)
def test_a_file_that_is_no_cross_validation_is_refused(
    tmp_path: Path, cohort: Cohort, content: Any, fault: str
) -> None:
    with pytest.raises(InputError, match=rf"folds.json: .*{fault}"):
        read_json_folds(written(tmp_path, content), cohort)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "folds.json").write_text("case,fold")
    with pytest.raises(InputError, match=r"folds.json: cannot be read \(it is no JSON\)"):
        read_json_folds(tmp_path / "folds.json", cohort)


def test_splits_that_part_a_patient_are_refused_unless_allowed(tmp_path: Path) -> None:
    root = trees.nnunet(tmp_path / "cohort", NAMES)
    (root / "patients.csv").write_text("case,patient\na_1,anna\na_2,anna\n")
    path, cohort = written(tmp_path, splits(("a_1", "a_3"), ("a_2", "a_4"))), read_cohort(root)
    with pytest.raises(InputError, match="splits patient anna"):
        read_json_folds(path, cohort)
    assert read_json_folds(path, cohort, allow_leaky=True).patient_of["a_2"] == "anna"


@pytest.mark.parametrize("other", [["--by", "centre"], ["--folds", "folds.csv"]])
def test_a_number_of_folds_that_would_count_for_nothing_is_wrong_usage(tmp_path, capsys, other) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["folds", str(tmp_path), "--out", str(tmp_path / "f.csv"), "--number", "5", *other])
    assert ended.value.code == 2
    assert "not allowed with argument --number" in capsys.readouterr().err
