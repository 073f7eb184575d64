"""The exported dataset against nnU-Net's description of its format, and against the cohort that it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import trees

from benchmark.cli import main
from benchmark.cohort.folds import make_folds, measure_cohort, read_fold_file, write_fold_file
from benchmark.commands.export_nnunet import export_nnunet
from leaderboard.cli import main as leaderboard
from leaderboard.cohort.formats import Cohort, read_cohort


@pytest.fixture(scope="module")
def folds_file(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folds") / "folds.csv"
    write_fold_file(path, make_folds(measure_cohort(cohort), 3, 0))
    return path


@pytest.fixture(scope="module")
def exported(twin: Path, folds_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("nnunet")
    assert main(["export-nnunet", str(twin), str(out), "--folds", str(folds_file)]) == 0
    return out


def test_every_case_has_an_image_a_channel_and_a_label_with_the_cases_voxels_and_spacing(
    exported: Path, cohort: Cohort
) -> None:
    dataset = exported / "nnUNet_raw" / "Dataset018_ISLES2018"
    content = json.loads((dataset / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT", "1": "CT_CBF", "2": "CT_CBV", "3": "CT_MTT", "4": "CT_Tmax"}
    assert content["labels"] == {"background": 0, "lesion": 1}
    assert (content["numTraining"], content["file_ending"]) == (24, ".nii.gz")
    assert len(list((dataset / "imagesTr").iterdir())) == 24 * 5
    assert len(list((dataset / "labelsTr").iterdir())) == 24
    for case in cohort.cases[::7]:
        sources = {f"imagesTr/{case.name}_0004": case.images["CT_Tmax"], f"labelsTr/{case.name}": case.reference}
        for name, source in sources.items():
            image, original = nib.load(dataset / f"{name}.nii.gz"), nib.load(source)
            assert np.array_equal(image.get_fdata(), original.get_fdata())
            # nnU-Net reads the spacing through the affine; in ISLES files that is the identity.
            assert np.allclose(np.diag(image.affine)[:3], original.header["pixdim"][1:4])


def test_the_splits_are_the_folds_and_hold_every_case_once(exported: Path, folds_file: Path, cohort: Cohort) -> None:
    path = exported / "nnUNet_preprocessed" / "Dataset018_ISLES2018" / "splits_final.json"
    splits = json.loads(path.read_text())
    rows = [line.split(",") for line in folds_file.read_text().splitlines()]
    case, fold = rows[0].index("case"), rows[0].index("fold")
    for number, split in enumerate(splits):
        assert set(split["val"]) == {row[case] for row in rows[1:] if row[fold] == str(number)}
        assert set(split["train"]) | set(split["val"]) == {case.name for case in cohort.cases}
        assert not set(split["train"]) & set(split["val"])


def test_validation_predictions_of_nnunet_are_scored_as_they_come(
    exported: Path, twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Perfect predictions, in the geometry that nnU-Net gives them: that of the exported labels.
    labels = exported / "nnUNet_raw" / "Dataset018_ISLES2018" / "labelsTr"
    predictions = tmp_path / "fold_all" / "validation"
    shutil.copytree(labels, predictions)
    (predictions / "summary.json").write_text("{}")  # nnU-Net leaves its own metrics beside them
    arguments = ["--cohort", str(twin), "--predictions", str(predictions), "--out", str(tmp_path / "cases.csv")]
    assert leaderboard(["score", *arguments, "--method", "nnunet", "--partition", "training"]) == 0
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    dice = lines[0].split(",").index("dice")
    assert len(lines) == 25
    assert {float(line.split(",")[dice]) for line in lines[1:]} == {1.0}


def test_wrong_arguments_are_named(
    twin: Path, folds_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-nnunet", str(twin), str(tmp_path), "--folds", str(folds_file), "--number", "1000"]) == 1
    assert "1 to 999" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["export-nnunet", str(twin), str(tmp_path / "file"), "--folds", str(folds_file)]) == 1
    assert "give another OUT" in capsys.readouterr().err


def test_an_export_replaces_an_earlier_one_of_more_cases(twin: Path, folds_file: Path, tmp_path: Path) -> None:
    arguments = ["export-nnunet", str(twin), str(tmp_path / "out"), "--folds", str(folds_file)]
    assert main(arguments) == 0
    dataset = tmp_path / "out" / "nnUNet_raw" / "Dataset018_ISLES2018"
    files = sorted(path.relative_to(dataset) for path in dataset.rglob("*"))
    for stale in ("imagesTr/case_99_0000.nii.gz", "labelsTr/case_99.nii.gz"):
        shutil.copy(dataset / "labelsTr" / "case_1.nii.gz", dataset / stale)
    assert main(arguments) == 0
    assert sorted(path.relative_to(dataset) for path in dataset.rglob("*")) == files


def test_labels_are_whole_numbers_and_lie_where_their_references_do(tmp_path: Path) -> None:
    found = read_cohort(trees.isles2024(tmp_path / "cohort"))
    for case in found.cases:  # as the release stores ones
        trees.write(case.reference, np.where(trees.lesion(), 0.99999999977, 0.0))
    folds = tmp_path / "folds.csv"
    write_fold_file(folds, make_folds(measure_cohort(found), 2, 0))
    export_nnunet(found, read_fold_file(folds), tmp_path / "out")
    labels = sorted((tmp_path / "out").rglob("labelsTr/*.nii.gz"))
    assert len(labels) == len(found.cases)
    for label in labels:
        assert (np.asarray(nib.load(label).dataobj) == trees.lesion()).all()
        assert np.allclose(nib.load(label).affine, trees.affine())


@pytest.mark.parametrize("name", ["isles2022", "isles2024", "isles2026", "nnunet", "manifest"])
def test_images_of_any_format_lie_on_the_references_grid_in_the_files_own_order_of_axes(
    tmp_path: Path, name: str
) -> None:
    root = getattr(trees, name)(tmp_path / "cohort")
    cohort = read_cohort(root)
    for path in (*cohort.cases[0].images.values(), cohort.cases[0].reference):
        trees.turn(path, "LPI")  # cases of a release differ in this
    folds, out = tmp_path / "folds.csv", tmp_path / "out"
    assert main(["folds", str(root), "--out", str(folds), "--number", "2"]) == 0
    assert main(["export-nnunet", str(root), str(out), "--folds", str(folds), "--format", name]) == 0
    dataset = out / "nnUNet_raw" / f"Dataset018_{name.upper()}"
    for case in cohort.cases:
        label, reference = nib.load(dataset / "labelsTr" / f"{case.name}.nii.gz"), nib.load(case.reference)
        assert np.array_equal(label.get_fdata(), reference.get_fdata())
        for channel in range(len(cohort.images)):
            image = nib.load(dataset / "imagesTr" / f"{case.name}_{channel:04d}.nii.gz")
            assert image.shape == reference.shape
            assert np.array_equal(image.affine, label.affine)
            assert np.allclose(image.affine, reference.affine, atol=1e-5)
    # nnU-Net brings them to one order, and its predictions back
    assert (
        json.loads((dataset / "dataset.json").read_text())["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
    )


def test_all_files_of_a_case_share_shape_and_affine_and_are_finite_whatever_the_release_holds(tmp_path: Path) -> None:
    cohort = read_cohort(trees.isles2024(tmp_path / "cohort"))
    case = cohort.cases[0]
    tmax = trees.brain(1)
    tmax[1, 1, 1] = np.nan
    trees.turn(trees.write(case.images["Tmax"], tmax), "PSL")
    assert case.reference is not None
    trees.turn(case.reference, "ARI")
    folds = tmp_path / "folds.csv"
    write_fold_file(folds, make_folds(measure_cohort(cohort), 2, 0))
    export_nnunet(cohort, read_fold_file(folds), tmp_path / "out")
    files = [nib.load(path) for path in (tmp_path / "out").rglob(f"{case.name}*.nii.gz")]
    assert len(files) == len(cohort.images) + 1
    for file in files:
        assert file.shape == trees.SHAPE
        assert np.allclose(file.affine, trees.affine(), atol=1e-5)
        assert np.isfinite(file.get_fdata()).all()


def test_images_are_exported_as_our_methods_see_them(tmp_path: Path) -> None:
    root = trees.isles2022(tmp_path / "cohort")
    case = read_cohort(root).cases[0]
    trees.write(case.images["ADC"], (trees.brain(1) * 1e-3).astype(np.float32))  # in mm2/s
    folds = tmp_path / "folds.csv"
    assert main(["folds", str(root), "--out", str(folds), "--number", "2"]) == 0
    assert main(["export-nnunet", str(root), str(tmp_path / "out"), "--folds", str(folds)]) == 0
    image = nib.load(tmp_path / "out/nnUNet_raw/Dataset018_ISLES2022/imagesTr" / f"{case.name}_0001.nii.gz")
    assert np.allclose(image.get_fdata(), trees.brain(1), rtol=1e-5)
