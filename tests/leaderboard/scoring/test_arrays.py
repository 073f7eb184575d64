"""Arrays are refused for what files are refused for."""

import nibabel as nib
import numpy as np
import pytest

import leaderboard
from leaderboard.errors import InputError
from leaderboard.scoring.one_case import score_files

SPACING = (1.0, 1.5, 5.0)
REFERENCE = np.zeros((6, 5, 4))
REFERENCE[2:4, 1:3, 1:3] = 1


def with_value(value, of=REFERENCE):
    changed = of.copy()
    changed[0, 0, 0] = value
    return changed


SOUND = {"reference": REFERENCE, "prediction": np.roll(REFERENCE, 1, axis=0), "probabilities": REFERENCE * 0.75}
FAULTS = [
    *(("prediction", with_value(value)) for value in (np.nan, np.inf, -1, 2, 0.5)),
    ("prediction", np.full((6, 5, 4), 255, dtype=np.uint8)),
    ("prediction", np.zeros((6, 5, 3))),
    ("reference", with_value(np.nan)),
    ("reference", with_value(3)),
    *(("probabilities", with_value(value)) for value in (np.nan, -0.25, 1.5)),
    ("probabilities", np.zeros((6, 4, 4))),
]


def problems_of_files(folder, arrays):
    paths = {name: folder / f"{name}.nii" for name in SOUND}
    for name, data in arrays.items():
        image = nib.Nifti1Image(data.astype(np.float32), np.eye(4))
        image.header.set_zooms(SPACING[: data.ndim])
        nib.save(image, paths[name])
    found = score_files((paths["reference"], paths["prediction"], paths["probabilities"]))
    problems = [*found.reference_faults, *found.prediction_faults, *found.map_faults]
    return [problem.replace(f"{folder}/", "").replace(".nii: ", ": ", 1) for problem in problems], found.measures


@pytest.mark.parametrize(("name", "data"), FAULTS)
def test_an_array_is_refused_as_its_file_is(tmp_path, name, data):
    arrays = SOUND | {name: data}
    expected, _ = problems_of_files(tmp_path, arrays)
    with pytest.raises(InputError) as caught:
        leaderboard.score(arrays["prediction"], arrays["reference"], SPACING, arrays["probabilities"])
    assert caught.value.problems == expected


def test_what_rounds_to_a_label_counts_as_one_as_in_files(tmp_path):
    arrays = {name: np.float32(data + 0.0004) for name, data in SOUND.items()}
    problems, measures = problems_of_files(tmp_path, arrays)
    assert problems == []
    found = leaderboard.score(arrays["prediction"], arrays["reference"], SPACING, arrays["probabilities"])
    assert found.pop("status") == measures.pop("status") == "ok"
    assert found == pytest.approx(measures, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("spacing", [(1, 1, -5), (1, 0, 5), (float("nan"), 1, 1), (1, float("nan"), 1), (1, 1, 1e3)])
def test_a_voxel_size_that_no_scan_has_is_refused(spacing):
    with pytest.raises(InputError, match=r"^reference: has voxels of .* where 0.05 to 20 mm are possible"):
        leaderboard.score(REFERENCE, REFERENCE, spacing)


@pytest.mark.parametrize(
    "spacing", [1.0, None, "1 1 5", "115", (1, 1, "x"), (1, 1, None), [[1, 1, 5]] * 3, np.array(2)]
)
def test_a_voxel_size_that_is_no_three_numbers_is_a_line(spacing):
    with pytest.raises(InputError) as caught:
        leaderboard.score(REFERENCE, REFERENCE, spacing)
    [problem] = caught.value.problems
    assert problem.startswith("spacing_mm: is ")
    assert problem.endswith("give the size of a voxel along each axis in mm, as in (1.0, 1.0, 5.0)")


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("value", ["mask.nii", 3, {}, [[0, 1], [0]], np.float64(1)])
def test_what_is_no_array_is_a_line(name, value):
    arrays = SOUND | {name: value}
    with pytest.raises(InputError) as caught:
        leaderboard.score(arrays["prediction"], arrays["reference"], SPACING, arrays["probabilities"])
    [problem] = caught.value.problems
    assert problem.startswith(f"{name}: is ")
    assert problem.endswith("which is no array: give a NumPy array of three axes")


def test_all_arguments_of_wrong_types_are_told_at_once():
    with pytest.raises(InputError) as caught:
        leaderboard.score("a.nii", None, 5)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "reference", "prediction", "spacing_mm"
    ]  # fmt: skip


def test_lists_and_numpy_sizes_are_taken():
    found = leaderboard.score(REFERENCE.tolist(), REFERENCE.astype(int).tolist(), np.array(SPACING))
    assert found == leaderboard.score(REFERENCE, REFERENCE, SPACING)


def test_other_arrays_are_refused_by_name():
    with pytest.raises(InputError, match="spacing_mm: has 2 numbers"):
        leaderboard.score(REFERENCE, REFERENCE, (1.0, 1.0))
    with pytest.raises(InputError, match="reference: has the shape 6 x 5 where a mask has three axes"):
        leaderboard.score(REFERENCE[:, :, 0], REFERENCE[:, :, 0], SPACING)
    with pytest.raises(InputError, match="prediction: holds no numbers, but the type <U1"):
        leaderboard.score(np.full((6, 5, 4), "1"), REFERENCE, SPACING)
    with pytest.raises(InputError, match="reference: holds no voxels"):
        leaderboard.score(None, REFERENCE[:0], SPACING)
    assert leaderboard.score(None, REFERENCE, SPACING)["status"] == "missing"
