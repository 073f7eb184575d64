import shutil

import pytest

from leaderboard.cohort.formats import FORMATS, find_format, read_cohort, scan_cohort
from leaderboard.errors import InputError

KINDS_2018 = ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT")


def test_kind_is_what_stands_between_dots(isles_tree):
    ids = {"CT": 5, "CT_4DPWI": 3, "CT_CBF": 9, "CT_CBV": 1, "CT_MTT": 7, "CT_Tmax": 2, "OT": 4}
    paths = isles_tree.case(isles_tree.folder / "TRAINING" / "case_1", ids)
    case = read_cohort(isles_tree.folder).cases[0]
    assert dict(case.images) == {kind: path for kind, path in paths.items() if kind != "OT"}
    assert case.reference == paths["OT"]
    assert dict(case.ids) == ids


def test_channels_come_in_one_order_whatever_the_ids(isles_tree):
    root = isles_tree.folder
    isles_tree.case(root / "TRAINING" / "case_1", dict(zip(KINDS_2018, (9, 8, 7, 6, 5, 4), strict=True)))
    cohort = read_cohort(root)
    assert tuple(cohort.cases[0].images) == cohort.channels == ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")


def test_time_series_may_be_missing(isles_tree):
    assert "CT_4DPWI" not in read_cohort(isles_tree()).cases[0].images


@pytest.mark.parametrize("old", [{"MTT", "Tmax", "4DPWI"}, {"Tmax"}, {"MTT"}])
def test_names_of_the_first_release_are_those_of_the_others(isles_tree, old):
    kinds = {name: f"{'MR' if name in old else 'CT'}_{name}" for name in ("MTT", "Tmax", "4DPWI")}
    ids = dict(zip(["CT", "CT_CBF", "CT_CBV", *kinds.values(), "OT"], range(1, 8), strict=True))
    paths = isles_tree.case(isles_tree.folder / "TRAINING" / "case_18", ids)
    cohort = read_cohort(isles_tree.folder)
    assert cohort.format.name == "isles2018"
    (case,) = cohort.cases
    assert set(case.images) == {*cohort.channels, "CT_4DPWI"}
    assert {name: case.images[f"CT_{name}"] for name in kinds} == {name: paths[kind] for name, kind in kinds.items()}


def test_an_image_of_no_known_kind_is_to_be_moved_and_never_removed(isles_tree):
    root = isles_tree([1])
    isles_tree.case(root / "TRAINING" / "case_1", {"MR_DWI": 5})
    (problem,) = scan_cohort(root).problems
    assert problem.text.endswith("MR_DWI is no image of ISLES 2018: move it elsewhere")


def test_both_names_of_tmax_are_one_kind_twice(isles_tree):
    root = isles_tree([1])
    isles_tree.case(root / "TRAINING" / "case_1", {"MR_Tmax": 5})
    with pytest.raises(InputError, match="CT_Tmax is there 2 times"):
        read_cohort(root)


def test_leftovers_of_archives_and_systems_are_ignored(isles_tree):
    root = isles_tree([1])
    before = read_cohort(root)
    case = root / "TRAINING" / "case_1"
    (root / ".DS_Store").write_bytes(b"x")
    (root / "TRAINING" / ".DS_Store").write_bytes(b"x")
    (root / "TRAINING" / "Thumbs.db").write_bytes(b"x")
    (root / "TRAINING" / "._case_1").write_bytes(b"x")
    (case / ".DS_Store").write_bytes(b"x")
    image = before.cases[0].images["CT"]
    (case / f"._{image.parent.name}").write_bytes(b"x")
    (image.parent / f"._{image.name}").write_bytes(b"x")
    (image.parent / ".DS_Store").write_bytes(b"x")
    shutil.copytree(root / "TRAINING", root / "__MACOSX" / "TRAINING")
    shutil.copytree(case, root / "TRAINING" / "__MACOSX" / "case_1")
    shutil.copytree(case, root / "__MACOSX" / "case_1")
    assert read_cohort(root) == before


def test_cases_come_in_natural_order_of_unpadded_numbers(isles_tree):
    names = [case.name for case in read_cohort(isles_tree([10, 2, 1, 94])).cases]
    assert names == ["case_1", "case_2", "case_10", "case_94"]


def test_padded_folder_names_mean_the_same_number(isles_tree):
    root = isles_tree([7])
    (root / "TRAINING" / "case_7").rename(root / "TRAINING" / "case_007")
    assert [case.name for case in read_cohort(root).cases] == ["case_7"]


def test_one_case_number_in_two_folders_is_refused(isles_tree):
    root = isles_tree([7])
    shutil.copytree(root / "TRAINING" / "case_7", root / "TRAINING" / "case_07")
    with pytest.raises(InputError, match="same case number as") as error:
        read_cohort(root)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("kind", KINDS_2018)
def test_each_kind_is_needed(isles_tree, kind):
    root = isles_tree([1, 2])
    folder = next((root / "TRAINING" / "case_2").glob(f"*.{kind}.*"))
    shutil.rmtree(folder)
    with pytest.raises(InputError) as error:
        read_cohort(root)
    assert error.value.problems == [f"{folder.parent}: {kind} is missing: unpack the archive again"]


def test_an_empty_image_folder_is_one_problem_not_two(isles_tree):
    root = isles_tree([1])
    image = read_cohort(root).cases[0].images["CT_MTT"]
    image.unlink()
    assert [problem.text for problem in scan_cohort(root).problems] == [
        f"{image.parent}: holds no .nii file: unpack the archive again"
    ]


def test_a_doubled_kind_is_one_problem_that_names_both(isles_tree):
    root = isles_tree([1])
    image = read_cohort(root).cases[0].images["CT_MTT"]
    shutil.copy(image, image.with_name(f"{image.name}.nii"))
    (problem,) = scan_cohort(root).problems
    assert problem.case == "case_1"
    assert "CT_MTT is there 2 times" in problem.text


def test_images_may_be_compressed_and_lie_loose_in_the_case(isles_tree):
    root = isles_tree([1], suffix=".nii.gz")
    for image in list((root / "TRAINING" / "case_1").glob("*/*.nii.gz")):
        image.rename(image.parents[1] / f"{image.name}.moved")
        image.parent.rmdir()
        (image.parents[1] / f"{image.name}.moved").rename(image.parents[1] / image.name)
    assert set(read_cohort(root).cases[0].images) == {kind.name for kind in FORMATS["isles2018"].images}


def test_testing_partition_needs_no_reference(isles_tree):
    isles_tree([1, 2], partition="TRAINING")
    root = isles_tree([1], partition="TESTING", first_id=1_000_000)
    testing = read_cohort(root, "testing")
    assert [(case.name, case.partition, case.reference) for case in testing.cases] == [("case_1", "testing", None)]
    assert read_cohort(root).partition == "training"
    assert find_format(root)[1] == {"training": root / "TRAINING", "testing": root / "TESTING"}


def test_a_partition_may_be_given_itself(isles_tree, monkeypatch):
    root = isles_tree([1], partition="TESTING")
    monkeypatch.chdir(root / "TESTING")
    for given_root in (root / "TESTING", type(root)(".")):
        assert read_cohort(given_root).partition == "testing"
        with pytest.raises(InputError, match="has no training cases: choose --partition testing"):
            read_cohort(given_root, "training")


def test_a_nameless_folder_of_cases_with_references_is_training(isles_tree):
    root = isles_tree([1])
    (root / "TRAINING").rename(root.parent / "mine")
    assert read_cohort(root.parent / "mine").partition == "training"
    shutil.rmtree(read_cohort(root.parent / "mine").cases[0].reference.parent)
    assert read_cohort(root.parent / "mine").partition == "testing"


@pytest.mark.parametrize("name", ["TRAINING", "training", "Train", "ISLES2017_Training", "ISLES 2018-training"])
def test_partition_names(isles_tree, name):
    assert read_cohort(isles_tree([1], partition=name)).partition == "training"


@pytest.mark.parametrize("name", ["absent", "file", "empty"])
def test_a_folder_without_cases_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        read_cohort(tmp_path / name)
    assert len(error.value.problems) == 1
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_two_training_folders_are_ambiguous(isles_tree):
    isles_tree([1], partition="TRAINING")
    root = isles_tree([1], partition="ISLES_training")
    with pytest.raises(InputError, match="both ISLES_training and TRAINING"):
        read_cohort(root)


def test_isles2017_tree(isles_tree):
    ids = {"MR_4DPWI": 1, "MR_ADC": 8, "MR_MTT": 7, "MR_rCBF": 6, "MR_rCBV": 5, "MR_Tmax": 4, "MR_TTP": 3, "OT": 2}
    for number in (1, 12):
        isles_tree.case(isles_tree.folder / "ISLES2017_Training" / f"training_{number}", ids, prefix="VSD.Brain.XX.O")
    cohort = read_cohort(isles_tree.folder)
    assert cohort.format.name == "isles2017"
    assert cohort.channels == ("MR_ADC", "MR_MTT", "MR_rCBF", "MR_rCBV", "MR_Tmax", "MR_TTP")
    assert [(case.name, case.patient) for case in cohort.cases] == [("case_1", "1"), ("case_12", "12")]
    assert tuple(cohort.cases[0].images) == (*cohort.channels, "MR_4DPWI")
    assert dict(cohort.cases[0].ids) == ids


def test_a_misnamed_case_folder_is_a_problem_of_the_cohort(isles_tree):
    root = isles_tree([1, 2, 3])
    (root / "TRAINING" / "case_2").rename(root / "TRAINING" / "case_zwei")
    (root / "TRAINING" / "notes" / "deeper").mkdir(parents=True)  # holds no images: nobody's business
    (root / "TRAINING" / "__MACOSX" / "case_1").mkdir(parents=True)
    cohort = scan_cohort(root)
    assert [case.name for case in cohort.cases] == ["case_1", "case_3"]
    (problem,) = cohort.problems
    assert problem.case is None
    assert problem.text.startswith(f"{root / 'TRAINING' / 'case_zwei'}: ")
    with pytest.raises(InputError, match="case_zwei: holds a case's images"):
        read_cohort(root)
