"""What lies beside the masks, and masks in a folder per case."""

import gzip
import shutil
import zipfile

import pytest

from leaderboard.cli import main
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.submission import check_predictions, mask_files, open_submission


@pytest.fixture
def root(isles_tree):
    return isles_tree([1, 2])


@pytest.fixture
def cases(root):
    return list(read_cohort(root).cases)


@pytest.fixture
def sound(cases):
    """Bytes of a mask that scores 1."""
    return cases[0].reference.read_bytes()


def given(tmp_path, kind, members):
    """A folder or a zip with these files."""
    folder = tmp_path / "p"
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if kind == "folder":
        return folder
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return tmp_path / "p.zip"


BESIDE = [
    "case_1.npz", "case_1.pkl", "case_1.json", "case_2.nrrd", "case_2.mha", "case_1.hdr", "case_1.img", "dataset.json",
    "plans.json", "notes.txt",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_what_nnu_net_writes_beside_its_masks_is_told_and_left_aside(
    tmp_path, root, cases, sound, kind, ending, capsys
):
    if ending == "nii.gz":
        sound = gzip.compress(sound)
    masks = {f"case_{number}.{ending}": sound for number in (1, 2)}
    place = given(tmp_path, kind, masks | dict.fromkeys([*BESIDE, ".hidden.npz"], b"x"))
    told = []
    assert list(score_cases(cases, place, "me", on_note=told.append)["dice"]) == [1, 1]
    (note,) = told
    assert note.startswith(f"{place}: 10 files beside the masks are left aside: case_1.hdr, case_1.img, case_1.json, ")
    assert main(["check", "--cohort", str(root), "--predictions", str(place)]) == 0
    assert capsys.readouterr().err == f"leaderboard: note: {note}\n"
    assert [path.name for path in mask_files(place)] == list(masks)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("name", ["case_2.img", "case_2.npz", "case_2.mgz", "case_2.nhdr"])
def test_an_image_that_is_not_read_and_stands_for_no_mask_is_a_problem(tmp_path, cases, sound, kind, name):
    place = given(tmp_path, kind, {"case_1.nii": sound, name: b"x"})
    with pytest.raises(InputError, match=rf"{name}: (is of a format that is not read|keeps its voxels)") as caught:
        check_predictions(cases, place)
    assert len(caught.value.problems) == 1


def test_large_files_beside_the_masks_of_a_zip_are_not_unpacked(tmp_path, cases, sound):
    place = given(tmp_path, "zip", {"case_1.nii": sound, "case_1.npz": bytes(1000)})
    with open_submission(place) as submission:
        (mask,) = submission.files.values()
        assert [path.name for path in mask.parent.iterdir()] == [mask.name]


def test_two_niftis_of_one_case_stay_a_problem(tmp_path, cases, sound):
    place = given(tmp_path, "folder", {"case_1.nii": sound, "SMIR.x.900013.nii": sound})
    with pytest.raises(InputError, match="case_1 is predicted again by"):
        check_predictions(cases, place)


def test_a_zip_with_backslashes_is_read(tmp_path, cases, sound):
    place = given(tmp_path, "zip", {"masks\\": b"", "masks\\case_1.nii": sound, "masks\\deep\\case_2.nii": sound})
    assert check_predictions(cases, place) == []
    assert [str(path.relative_to(place)) for path in mask_files(place)] == ["masks/case_1.nii", "masks/deep/case_2.nii"]


@pytest.mark.parametrize(
    "name", ["..\\case_1.nii", "a\\..\\..\\case_1.nii", "\\\\server\\case_1.nii", "C:\\case_1.nii"]
)
def test_backslashes_that_lead_out_are_refused(tmp_path, cases, sound, name):
    place = tmp_path / "p.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(name, sound)
        archive.writestr("case_2.nii", sound)
    with pytest.raises(InputError, match="leads out of the archive"):
        check_predictions(cases, place)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("mask", ["mask.nii", "prediction.nii", "case_{}.nii"])
def test_a_folder_per_case_is_read(tmp_path, cases, sound, kind, mask):
    members = {f"case_{number}/{mask.format(number)}": sound for number in (1, 2)}
    members |= {"case_1/log.txt": b"x"}
    place = given(tmp_path, kind, members)
    told = []
    assert check_predictions(cases, place, on_note=told.append) == []
    assert told == [f"{place}: 1 file beside the masks is left aside: case_1/log.txt"]
    assert list(score_cases(cases, place, "me")["dice"]) == [1, 1]


def test_the_folder_of_one_case_is_read_as_well(tmp_path, cases, sound):
    place = given(tmp_path, "folder", {"case_1/mask.nii": sound}) / "case_1"
    assert check_predictions(cases, place) == ["case_2"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_mask_with_the_name_of_another_case_does_not_belong_to_its_folder(tmp_path, cases, sound, kind):
    place = given(tmp_path, kind, {"case_1/case_7.nii": sound, "case_2/mask.nii": sound})
    with pytest.raises(InputError, match=r"case_1/case_7.nii: belongs to no case"):
        check_predictions(cases, place)


def test_several_masks_in_a_folder_per_case_are_refused_with_a_hint(tmp_path, cases, sound):
    place = given(tmp_path, "folder", {f"case_{n}/{name}.nii": sound for n in (1, 2) for name in ("mask", "other")})
    with pytest.raises(InputError, match=r"holds no .*: give .*/case_1, which does"):
        check_predictions(cases, place)
    shutil.rmtree(place)
    packed = given(tmp_path, "zip", {f"case_{n}/{name}.nii": sound for n in (1, 2) for name in ("mask", "other")})
    with pytest.raises(InputError, match=r"case_1 is predicted again by other\.nii"):
        check_predictions(cases, packed)
