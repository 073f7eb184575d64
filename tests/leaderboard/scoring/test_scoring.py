"""From files to rows."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as itk

from leaderboard.cases import write_cases
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume, write_mask
from leaderboard.scoring.folder import journal_of, score_cases
from leaderboard.scoring.one_case import score_case, score_files
from leaderboard.scoring.references import find_cases, find_references, partition_of, read_case_folds
from leaderboard.scoring.submission import check_predictions

SHAPE = (8, 9, 2)
SPACING = (0.9, 0.9, 6.0)


def predict(folder, cases, change=lambda mask: mask, name="{case.name}.nii.gz"):
    """Write the reference of each case, changed, as its prediction."""
    folder.mkdir(exist_ok=True)
    for case in cases:
        volume = read_volume(case.reference)
        write_mask(folder / name.format(case=case), change(np.array(volume.data)), volume.header)
    return folder


@pytest.fixture
def cases(isles_tree):
    return list(read_cohort(isles_tree(range(1, 13))).cases)


def test_a_prediction_that_equals_the_reference_is_perfect(tmp_path, cases):
    frame = score_cases(cases, predict(tmp_path / "p", cases), "me")
    assert set(frame["status"]) == {"ok"}
    assert frame[["dice", "precision", "recall"]].eq(1).all(axis=None)
    assert frame[["hausdorff_mm", "avd_ml"]].eq(0).all(axis=None)
    assert list(frame["case"]) == [f"case_{number}" for number in range(1, 13)]
    assert list(frame["patient"][:4]) == ["P1", "P1", "P2", "P2"]


def test_volumes_come_from_the_zooms_and_not_from_the_identity_affine(tmp_path, cases):
    frame = score_cases(cases[:1], predict(tmp_path / "p", cases[:1], lambda mask: mask * 0), "me")
    voxel_ml = float(np.float32(0.9)) ** 2 * 6.0 / 1000
    assert frame["reference_ml"].iloc[0] == pytest.approx(6 * voxel_ml, rel=1e-12)
    assert frame["avd_ml"].iloc[0] == pytest.approx(6 * voxel_ml, rel=1e-12)


def test_statuses_and_undefined_values():
    empty, full = np.zeros(SHAPE), np.ones(SHAPE)
    distances = {"hausdorff_mm", "hd95_mm", "assd_mm", "inplane_nsd", "inplane_hd95_mm", "inplane_assd_mm"}
    of_small, of_large = {"lesion_recall_below_1ml"}, {"lesion_recall_1_to_10ml", "lesion_recall_from_10ml"}
    undefined = {
        "ok": (full, full, of_large),
        "empty_prediction": (empty, full, {"precision"} | distances | of_large),
        "empty_reference": (full, empty, {"recall", "relative_volume_error"} | distances | of_large | of_small),
        "both_empty": (
            empty,
            empty,
            {"dice", "precision", "recall", "lesion_f1", "lesion_f1_iou20", "lesion_f1_iou25", "relative_volume_error"}
            | distances | of_large | of_small,
        ),
    }  # fmt: skip
    for status, (prediction, reference, expected) in undefined.items():
        found = score_case(prediction, reference, SPACING)
        assert found["status"] == status
        assert {name for name, value in found.items() if value != value} == expected


def test_a_missing_prediction_keeps_what_its_reference_says(tmp_path, cases):
    frame = score_cases(cases, predict(tmp_path / "p", cases[1:]), "me").set_index("case")
    row = frame.loc["case_1"]
    assert row["status"] == "missing"
    assert row["reference_ml"] == frame.loc["case_2", "reference_ml"]
    assert row[["dice", "hausdorff_mm", "precision", "recall", "avd_ml", "predicted_ml"]].isna().all()
    assert row["diagonal_mm"] == frame.loc["case_2", "diagonal_mm"]
    assert row["reference_lesions"] == frame.loc["case_2", "reference_lesions"] == 1
    known = {"method", "patient", "status", "reference_ml", "reference_lesions", "reference_lesions_6", "diagonal_mm"}
    assert set(row.index[row.notna()]) == known


def test_processes_change_nothing(tmp_path, cases):
    folder = predict(tmp_path / "p", cases, lambda mask: np.roll(mask, 1, axis=0))
    calls = []
    one = score_cases(cases, folder, "me", jobs=1)
    two = score_cases(cases, folder, "me", jobs=2, progress=lambda done, total: calls.append((done, total)))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert calls[-1] == (12, 12)


class Killed(Exception):
    """The exception that stands for an interruption in these tests."""


def interrupt(after):
    def progress(done, total):
        if done == after:
            raise Killed

    return progress


def scored_with(monkeypatch):
    """The names of the predictions that are measured from now on."""
    measured = []

    def watched(files, rule):
        measured.append(files[1].name if files[1] else None)
        return score_files(files, rule)

    monkeypatch.setattr("leaderboard.scoring.folder.score_files", watched)
    return measured


@pytest.fixture
def interrupted(tmp_path, cases):
    """A folder of predictions of which 5 were scored, and the journal."""
    for case in cases:
        predict(
            tmp_path / "p", [case], lambda mask, number=case.number: np.roll(mask, (number % 7, number % 3), (0, 1))
        )
    folder = tmp_path / "p"
    (folder / "case_12.nii.gz").unlink()
    journal = journal_of(tmp_path / "cases.csv")
    with pytest.raises(Killed):
        score_cases(cases, folder, "me", jobs=1, progress=interrupt(5), journal=journal)
    return folder, journal


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_an_interrupted_scoring_continues_to_the_same_bytes(tmp_path, cases, monkeypatch, interrupted, cut):
    folder, journal = interrupted
    journal.write_bytes(journal.read_bytes()[: -cut or None])
    measured, calls = scored_with(monkeypatch), []
    frame = score_cases(
        cases, folder, "me", jobs=1, journal=journal, progress=lambda done, total: calls.append((done, total))
    )
    assert len(measured) == (8 if cut == 20 else 7)
    assert calls[0] == (12 - len(measured), 12)
    assert calls[-1] == (12, 12)
    write_cases(tmp_path / "continued.csv", frame)
    write_cases(tmp_path / "whole.csv", score_cases(cases, folder, "me"))
    assert (tmp_path / "continued.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_processes_continue_as_one_does(cases, interrupted):
    folder, journal = interrupted
    two = score_cases(cases, folder, "me", jobs=2, journal=journal)
    assert len(journal.read_text().splitlines()) == 12
    pd.testing.assert_frame_equal(two, score_cases(cases, folder, "me"), check_exact=True)


@pytest.mark.parametrize("changed", ["prediction", "reference", "gone", "swapped"])
def test_a_file_that_changed_is_measured_again(cases, interrupted, monkeypatch, changed):
    folder, journal = interrupted
    volume = read_volume(cases[0].reference)
    if changed == "prediction":
        write_mask(folder / "case_1.nii.gz", np.ones(SHAPE), volume.header)
    elif changed == "reference":
        write_mask(cases[0].reference, np.ones(SHAPE), volume.header)
    elif changed == "gone":
        (folder / "case_1.nii.gz").unlink()
    else:
        write_mask(folder / "case_1.nii.gz", np.array(volume.data), volume.header)
    measured = scored_with(monkeypatch)
    continued = score_cases(cases, folder, "me", jobs=1, journal=journal)
    assert ("case_1.nii.gz" if changed != "gone" else None) in measured
    assert "case_2.nii.gz" not in measured
    pd.testing.assert_frame_equal(continued, score_cases(cases, folder, "me"), check_exact=True)


def test_method_folds_and_patients_are_not_what_is_kept(cases, interrupted):
    folder, journal = interrupted
    folds = {case.name: 3 for case in cases}
    continued = score_cases(cases, folder, "another", folds=folds, journal=journal)
    pd.testing.assert_frame_equal(continued, score_cases(cases, folder, "another", folds=folds), check_exact=True)


def test_what_was_refused_is_read_again(tmp_path, cases, isles_tree):
    folder = predict(tmp_path / "p", cases[:3])
    isles_tree.image(folder / "case_1.nii.gz", np.full(SHAPE, 0.5))
    for _ in range(2):
        with pytest.raises(InputError, match="threshold"):
            score_cases(cases[:3], folder, "me", journal=tmp_path / "j")
    assert len((tmp_path / "j").read_text().splitlines()) == 2
    predict(folder, cases[:1])
    assert list(score_cases(cases[:3], folder, "me", journal=tmp_path / "j")["status"]) == ["ok"] * 3


def test_a_result_of_files_that_could_not_be_digested_is_not_kept(tmp_path, cases, monkeypatch):
    folder = predict(tmp_path / "p", cases[:2])

    def unreadable(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("leaderboard.scoring.one_case.file_digest", unreadable)
    assert list(score_cases(cases[:2], folder, "me", jobs=1, journal=tmp_path / "j")["status"]) == ["ok"] * 2
    assert (tmp_path / "j").read_text() == ""


def test_metaimages_and_nrrds_are_predictions_and_references(tmp_path, cases):
    expected = score_cases(cases[:3], predict(tmp_path / "p", cases[:3], lambda mask: np.roll(mask, 1, axis=1)), "me")
    for kind, source in (("references", [case.reference for case in cases[:3]]), ("masks", tmp_path / "p")):
        (tmp_path / kind).mkdir()
        for number, case in enumerate(cases[:3]):
            path = source[number] if kind == "references" else source / f"{case.name}.nii.gz"
            volume = read_volume(path)
            image = itk.GetImageFromArray(np.asarray(volume.data).transpose())
            image.SetSpacing(volume.spacing_mm)
            name = f"{case.name}.{'nrrd' if (kind == 'masks') == bool(number) else 'mha'}"
            itk.WriteImage(image, str(tmp_path / kind / name), useCompression=kind == "masks")
    flat = find_references(tmp_path / "references", tmp_path / "masks")
    found = score_cases(flat, tmp_path / "masks", "me")
    assert found["dice"].lt(1).all()
    pd.testing.assert_frame_equal(found.drop(columns="patient"), expected.drop(columns="patient"), check_exact=True)


def test_folds_are_filled_where_known(tmp_path, cases):
    frame = score_cases(cases[:2], predict(tmp_path / "p", cases[:2]), "me", folds={"case_2": 4})
    assert frame["fold"].isna().tolist() == [True, False]
    assert frame["fold"].iloc[1] == 4


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_problem_is_collected(tmp_path, cases, isles_tree, jobs):
    folder = predict(tmp_path / "p", cases[:3])
    isles_tree.image(folder / "case_1.nii.gz", np.full(SHAPE, 0.5))
    (folder / "case_2.nii.gz").write_text("no image")
    (folder / "case_99.nii.gz").write_text("whose?")
    cases[2].reference.write_text("damaged")
    with pytest.raises(InputError) as caught:
        score_cases(cases[:3], folder, "me", jobs=jobs)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        str(path) for path in (cases[2].reference, *(folder / f"case_{k}.nii.gz" for k in (99, 1, 2)))
    ]


def test_lenient_counts_bad_predictions_as_missing_and_tells(tmp_path, cases, isles_tree):
    folder = predict(tmp_path / "p", cases[:3])
    isles_tree.image(folder / "case_1.nii.gz", np.full(SHAPE, 0.5))
    (folder / "case_99.nii.gz").write_text("whose?")
    told = []
    frame = score_cases(cases[:3], folder, "me", lenient=True, on_problem=told.append)
    assert list(frame["status"]) == ["missing", "ok", "ok"]
    assert len(told) == 2


def test_lenient_does_not_forgive_a_bad_reference(tmp_path, cases):
    folder = predict(tmp_path / "p", cases[:3])
    cases[0].reference.write_text("damaged")
    with pytest.raises(InputError, match="OT"):
        score_cases(cases[:3], folder, "me", lenient=True)


@pytest.mark.parametrize("method", ["", "  ", "a\nb"])
def test_a_method_needs_a_name(tmp_path, cases, method):
    with pytest.raises(InputError, match="name"):
        score_cases(cases, predict(tmp_path / "p", cases), method)


def test_nothing_to_score_is_refused(tmp_path, cases, isles_tree):
    testing = read_cohort(isles_tree([1], partition="TESTING", name="other")).cases
    for some, message in [([], "no cases"), (testing, "case_1: has no reference")]:
        with pytest.raises(InputError, match=message):
            score_cases(some, predict(tmp_path / "p", cases), "me")


def test_the_partition_is_the_one_whose_ids_the_predictions_carry(tmp_path, isles_tree):
    root = isles_tree(range(1, 5))
    isles_tree(range(1, 4), partition="TESTING", first_id=500_000)
    training = read_cohort(root, "training").cases
    by_id = predict(tmp_path / "ids", training[:1], name="SMIR.x.{case.ids[CT_MTT]}.nii")
    assert len(find_cases(root, by_id)) == 4
    (by_id / f"SMIR.x.{training[0].ids['CT_MTT']}.nii").rename(by_id / "SMIR.x.500013.nii")
    assert {case.partition for case in find_cases(root, by_id)} == {"testing"}


@pytest.fixture
def both(isles_tree):
    """A tree with both partitions, whose cases have the same names but, except for case_3, different grids."""
    root = isles_tree(range(1, 4))
    isles_tree([1], partition="TESTING", first_id=500_000, shape=(8, 9, 4))
    isles_tree([2], partition="TESTING", first_id=500_000, spacing=(0.9, 0.9, 5.0))
    isles_tree([3], partition="TESTING", first_id=500_000)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("number", "shape", "spacing", "fits"),
    [
        (1, SHAPE, SPACING, "training"),
        (1, (8, 9, 4), SPACING, "testing"),
        (2, SHAPE, SPACING, "training"),
        (2, SHAPE, (0.9, 0.9, 5.0), "testing"),
        (3, SHAPE, SPACING, None),
        (1, (8, 9, 5), SPACING, None),
    ],
)
def test_where_names_fit_both_partitions_the_grids_decide(
    tmp_path, isles_tree, both, packed, number, shape, spacing, fits
):
    folder = tmp_path / "p"
    isles_tree.image(folder / f"case_{number}.nii.gz", isles_tree.values(shape, "OT", 0), spacing)
    given = Path(shutil.make_archive(str(tmp_path / "p"), "zip", folder)) if packed else folder
    for partition in ("training", "testing"):
        assert {case.partition for case in find_cases(both, given, partition)} == {partition}
    if fits:
        assert {case.partition for case in find_cases(both, given)} == {fits}
    else:
        with pytest.raises(InputError, match="fit training and testing: say --partition training or --partition test"):
            find_cases(both, given)


def test_a_damaged_mask_does_not_hide_which_partition_is_meant(tmp_path, isles_tree, both):
    isles_tree.image(tmp_path / "p" / "case_2.nii.gz", isles_tree.values(SHAPE, "OT", 0), (0.9, 0.9, 5.0))
    (tmp_path / "p" / "case_1.nii.gz").write_text("damaged")
    assert {case.partition for case in find_cases(both, tmp_path / "p")} == {"testing"}


def test_a_folder_of_masks_is_of_no_partition_unless_it_lies_in_a_tree(tmp_path, isles_tree, both):
    for folder in (both / "TESTING_REFERENCES", tmp_path / "masks"):
        isles_tree.image(folder / "case_1.nii", isles_tree.values(SHAPE, "OT", 0))
    told = {
        str(root): partition_of(root, find_cases(root, tmp_path / "masks", given))
        for root, given in ((both, "training"), (both / "TESTING_REFERENCES", None), (tmp_path / "masks", None))
    }
    assert list(told.values()) == ["training", "testing", None]


def test_references_may_lie_in_a_flat_folder_of_the_tree(tmp_path, isles_tree):
    root = isles_tree([1, 2, 10], partition="TESTING")
    folder = root / "TESTING_REFERENCES"
    for number in (1, 2, 10):
        isles_tree.image(folder / f"case_{number}.nii", isles_tree.values(SHAPE, "OT", 0))
    predictions = tmp_path / "p"
    isles_tree.image(predictions / "SMIR.x.900023.nii", isles_tree.values(SHAPE, "OT", 0))
    cases = find_references(folder, predictions)
    assert [case.name for case in cases] == ["case_1", "case_2", "case_10"]
    assert [case.patient for case in cases] == ["P1", "P1", "P5"]
    assert list(score_cases(cases, predictions, "me")["status"]) == ["missing", "ok", "missing"]
    for cohort in (root, root / "TESTING"):  # organisers give their tree, which participants have without that folder
        assert find_references(cohort, predictions, "testing") == cases
    (folder / "case_10.nii").unlink()
    with pytest.raises(InputError, match="case_10: has no reference"):
        score_cases(find_references(root, predictions, "testing"), predictions, "me")
    shutil.rmtree(folder)
    with pytest.raises(
        InputError,
        match=r"hold no reference: give .* or put them into .*TESTING_REFERENCES, named like .* \(case_1\.nii\.gz\)",
    ):
        find_references(root, predictions, "testing")


def test_a_hidden_reference_is_that_of_a_case_of_the_tree_or_refused_by_name(tmp_path, isles_tree):
    root = isles_tree([1, 2], partition="TESTING")
    hidden, predictions = root / "TESTING_REFERENCES", tmp_path / "p"
    for path in (hidden / "case_01.nii", hidden / "SMIR.truth.900023.nii", predictions / "case_1.nii"):
        isles_tree.image(path, isles_tree.values(SHAPE, "OT", 0))
    found = find_references(root, predictions, "testing")
    assert {case.name: case.reference.name for case in found} == {
        "case_1": "case_01.nii",
        "case_2": "SMIR.truth.900023.nii",
    }
    for stray in ("case_7.nii", "notes.nii", "case_2.nii"):
        isles_tree.image(hidden / stray, isles_tree.values(SHAPE, "OT", 0))
    with pytest.raises(InputError) as refused:
        find_references(root, predictions, "testing")
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        str(hidden / name) for name in ("case_7.nii", "notes.nii", "SMIR.truth.900023.nii")
    ]
    assert "case_2 has another reference there (case_2.nii)" in refused.value.problems[-1]


@pytest.mark.parametrize("inside", [True, False])
def test_a_flat_folder_of_references_can_be_checked_against_as_it_can_be_scored(tmp_path, isles_tree, inside):
    root = isles_tree([1, 2], partition="TESTING")
    folder = (root if inside else tmp_path) / "TESTING_REFERENCES"
    for number in (1, 2):
        isles_tree.image(folder / f"case_{number}.nii", isles_tree.values(SHAPE, "OT", 0))
    predictions = tmp_path / "p"
    isles_tree.image(predictions / "case_2.nii", isles_tree.values(SHAPE, "OT", 0))
    assert find_cases(folder, predictions) == find_references(folder, predictions)
    assert check_predictions(find_cases(folder, predictions), predictions) == ["case_1"]
    isles_tree.image(predictions / "case_1.nii", isles_tree.values((8, 9, 3), "OT", 0))
    with pytest.raises(InputError, match="has the shape 8 x 9 x 3 where the case has 8 x 9 x 2"):
        check_predictions(find_cases(folder, predictions), predictions)


def test_every_reference_that_is_there_twice_is_told(tmp_path, isles_tree):
    for name in ("case_1.nii", "case_01.nii", "case_2.nii", "case_2.nii.gz"):
        isles_tree.image(tmp_path / name, isles_tree.values(SHAPE, "OT", 0))
    with pytest.raises(InputError) as caught:
        find_references(tmp_path, tmp_path)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "case_1 is there twice",
        "case_2 is there twice",
    ]


def test_any_folder_of_masks_is_a_reference(tmp_path, isles_tree):
    for name in ("b_2.nii.gz", "b_10.nii.gz"):
        isles_tree.image(tmp_path / "masks" / name, isles_tree.values(SHAPE, "OT", 0))
    (tmp_path / "masks" / "patients.csv").write_text("case,patient\nb_2,P7\n")
    cases = find_references(tmp_path / "masks", tmp_path / "masks")
    assert [(case.name, case.patient) for case in cases] == [("b_2", "P7"), ("b_10", None)]
    assert list(score_cases(cases, tmp_path / "masks", "me")["dice"]) == [1, 1]


def test_a_tree_without_references_says_what_to_give(tmp_path, isles_tree, cases):
    root = isles_tree([1], partition="TESTING", name="blind")
    with pytest.raises(InputError, match="testing cases hold no reference"):
        find_references(root, predict(tmp_path / "p", cases))


def test_a_folder_without_anything_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no cases"):
        find_references(tmp_path, tmp_path)


def test_folds_of_names_with_leading_zeros_are_found(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("case,fold\ncase_001,1\n3,0\n")
    assert read_case_folds(path, ["case_001", "003"]) == {"case_001": 1, "003": 0}


def test_folds_are_read_by_case_name_or_number(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("# seed 0\ncase,patient,fold\ncase_1,1,0\n2,1,0\ncase_03,2,1\n")
    assert read_case_folds(path, ["case_1", "case_2", "case_3"]) == {"case_1": 0, "case_2": 0, "case_3": 1}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("1,x", ":3: fold is 'x': it must be a whole number, 0 to 999999"),
        ("1,1000000", ":3: fold is '1000000': it must be a whole number, 0 to 999999"),
        ("1,", ":3: fold is '': "),
        ("1", ":3: has 1 of 2 fields"),
        ("1,-1", ":3: fold is '-1': "),
        ("1,1.5", ":3: fold is '1.5': "),
        ("1," + "9" * 5000, ":3: fold is '9"),
        (",1", ":3: case is empty: fill it in"),
        ("case_1,0\n1,1", ":4: puts 'case_1' into fold 1, an earlier line into 0: keep one"),
    ],
)
def test_a_fold_that_makes_no_sense_is_told_by_its_line(tmp_path, lines, said):
    path = tmp_path / "folds.csv"
    path.write_text(f"# seed 0\ncase,fold\n{lines}\n2,0\n")
    with pytest.raises(InputError) as caught:
        read_case_folds(path, ["case_1", "case_2"])
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}{said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "lacks the columns case, fold"),
        ("case;fold\n1;2\n", "separated by ';'"),
        ("\0", "cannot be seen"),
    ],
)
def test_a_folds_file_that_is_none_is_refused(tmp_path, content, said):
    path = tmp_path / "folds.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_case_folds(path, ["case_1", "case_2"])
    with pytest.raises(InputError, match="does not exist"):
        read_case_folds(tmp_path / "nothing.csv", [])
