"""Probability maps as files beside masks: what is read, what is refused, what ends up in cases.csv."""

from __future__ import annotations

import shutil
import zipfile
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from leaderboard.cases import read_cases, write_cases
from leaderboard.cli import main
from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import read_cohort
from leaderboard.columns import OF_PROBABILITIES
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume, write_mask
from leaderboard.scoring.folder import journal_of, score_cases
from leaderboard.scoring.probabilities import measure_map
from leaderboard.scoring.submission import check_predictions


def map_of(case: Case) -> np.ndarray:
    """Random probabilities, higher within the lesion, in steps of 1/65535."""
    lesion = np.asarray(read_volume(case.reference).data) > 0
    values = np.random.default_rng(case.number).random(lesion.shape) * 0.6 + 0.4 * lesion
    return np.round(values * 65535) / 65535


def write_map(path: Path, case: Case, values: np.ndarray, dtype: type = np.uint16, slope: float = 1 / 65535) -> None:
    """Integers with a scale factor, or floats."""
    header = read_volume(case.reference).header.copy()
    header.set_data_dtype(dtype)
    header.set_slope_inter(slope, 0)
    stored = values if slope == 1 else np.round(values / slope)
    image = nib.Nifti1Image(stored.astype(dtype), None, header)
    image.header.set_slope_inter(slope, 0)
    nib.save(image, path)


@pytest.fixture
def cases(isles_tree) -> list[Case]:
    return list(read_cohort(isles_tree(range(1, 5))).cases)


@pytest.fixture
def folders(tmp_path: Path, cases) -> tuple[Path, Path]:
    """Masks, and maps as integers or floats in turn."""
    masks, maps = tmp_path / "masks", tmp_path / "maps"
    masks.mkdir()
    maps.mkdir()
    for case in cases:
        values = map_of(case)
        write_mask(masks / f"{case.name}.nii.gz", values > 0.5, read_volume(case.reference).header)
        kind = {"dtype": np.float32, "slope": 1} if case.number % 2 else {}
        write_map(maps / f"{case.name}.nii.gz", case, values, **kind)
    return masks, maps


def test_the_columns_hold_what_is_measured_on_the_arrays(cases, folders) -> None:
    masks, maps = folders
    frame = score_cases(cases, masks, "me", probabilities=maps).set_index("case")
    for case in cases:
        lesion = np.asarray(read_volume(case.reference).data) > 0
        expected = measure_map(map_of(case).astype(np.float32), lesion)
        assert frame.loc[case.name, list(OF_PROBABILITIES)].to_dict() == pytest.approx(expected, rel=1e-6)


def test_all_else_is_as_without_maps_and_without_maps_there_are_no_columns(tmp_path, cases, folders) -> None:
    masks, maps = folders
    without, with_maps = score_cases(cases, masks, "me"), score_cases(cases, masks, "me", probabilities=maps)
    assert not set(OF_PROBABILITIES) & set(without.columns)
    assert with_maps.drop(columns=list(OF_PROBABILITIES)).equals(without)
    write_cases(tmp_path / "c.csv", with_maps)
    write_cases(tmp_path / "again.csv", read_cases(tmp_path / "c.csv"))
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_a_journal_knows_the_maps(tmp_path, cases, folders) -> None:
    masks, maps = folders
    journal = journal_of(tmp_path / "c.csv")
    first = score_cases(cases, masks, "me", probabilities=maps, journal=journal)
    assert score_cases(cases, masks, "me", probabilities=maps, journal=journal).equals(first)
    write_map(maps / "case_1.nii.gz", cases[0], 1 - map_of(cases[0]))
    again = score_cases(cases, masks, "me", probabilities=maps, journal=journal)
    assert again["pr_auc"].ne(first["pr_auc"]).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values * 255, "a probability map holds 0 to 1: divide by the largest"),
        (lambda values: values - 0.5, "a probability map holds 0 to 1: write probabilities, not logits"),
        (lambda values: np.where(values > 0.5, np.nan, values), "holds NaN or infinite values"),
        (lambda values: values[:-1], "has the shape .*: resample the map to the case's own grid"),
    ],
)
def test_a_map_that_is_none_is_refused_by_name(cases, folders, change, message) -> None:
    masks, maps = folders
    write_map(maps / "case_2.nii.gz", cases[1], change(map_of(cases[1])).astype(np.float32), np.float32, 1)
    with pytest.raises(InputError, match=rf"case_2\.nii\.gz: .*{message}"):
        score_cases(cases, masks, "me", probabilities=maps)
    frame = score_cases(cases, masks, "me", probabilities=maps, lenient=True)
    assert frame["status"].tolist() == ["ok", "missing", "ok", "ok"]


@pytest.mark.parametrize("command", ["check", "score"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", "does not exist: give the folder or the zip of the probability maps"),
        ("an empty folder", "holds no .nii, .nii.gz, .mha or .nrrd file: put a map for each case into it"),
    ],
)
def test_a_wrong_place_of_maps_is_told_as_that_of_maps(
    cases, folders, tmp_path, capsys, command, kind, message
) -> None:
    place = tmp_path / "nowhere"
    if kind == "an empty folder":
        place.mkdir()
    words = [command, "--cohort", cases[0].reference.parents[3], "--predictions", folders[0], "--probabilities", place]
    words += ["--method", "me", "--out", tmp_path / "c.csv"] if command == "score" else []
    assert main(list(map(str, words))) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"leaderboard: {place}: {message}")
    assert "prediction" not in line


def test_a_map_without_the_header_of_its_case_is_accepted_once_the_advice_is_followed(cases, folders) -> None:
    masks, maps = folders
    values, path = map_of(cases[0]).astype(np.float32), maps / "case_1.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    with pytest.raises(InputError) as caught:
        score_cases(cases, masks, "me", probabilities=maps)
    [problem] = caught.value.problems
    advice = "nib.Nifti1Image(map, ref.affine, ref.header, dtype='float32')"
    assert (
        f"write the map with the case's own header: image.CopyInformation(ref) in SimpleITK, in nibabel {advice}"
        in (problem)
    )
    ref = nib.load(cases[0].reference)
    nib.save(eval(advice, {"nib": nib, "ref": ref, "map": values}), path)  # our own words
    frame = score_cases(cases, masks, "me", probabilities=maps)
    lesion = np.asarray(read_volume(cases[0].reference).data) > 0
    assert frame["brier"].iloc[0] == pytest.approx(measure_map(values, lesion)["brier"], rel=1e-6)


def test_what_scaling_rounds_beyond_one_is_one(cases, folders) -> None:
    masks, maps = folders
    lesion = (np.asarray(read_volume(cases[0].reference).data) > 0).astype(np.float32)
    write_map(maps / "case_1.nii.gz", cases[0], lesion * np.float32(1.0000002), np.float32, 1)
    assert score_cases(cases, masks, "me", probabilities=maps)["brier"].iloc[0] == 0


def test_masks_without_maps_and_maps_without_masks_are_named(cases, folders) -> None:
    masks, maps = folders
    (maps / "case_1.nii.gz").unlink()
    (masks / "case_4.nii.gz").unlink()
    with pytest.raises(InputError) as caught:
        score_cases(cases, masks, "me", probabilities=maps)
    assert caught.value.problems == [
        f"{maps}: holds no probability map of case_1: add one for each mask",
        f"{maps}: case_4 has a probability map and no mask: add the mask",
    ]
    frame = score_cases(cases, masks, "me", probabilities=maps, lenient=True)
    assert frame["status"].tolist() == ["missing", "ok", "ok", "missing"]


def test_the_preset_of_2026_asks_for_maps_and_ranks_by_them(tmp_path, cases, folders, capsys) -> None:
    masks, maps = folders
    base = [
        "score",
        "--cohort",
        str(cases[0].reference.parents[3]),
        "--predictions",
        str(masks),
        "--preset",
        "isles2026",
    ]
    with pytest.raises(SystemExit) as end:
        main([*base, "--method", "a", "--out", str(tmp_path / "a.csv")])
    assert end.value.code == 2
    assert "--probabilities DIR" in capsys.readouterr().err
    for method in ("a", "b"):
        out = str(tmp_path / f"{method}.csv")
        assert main([*base, "--probabilities", str(maps), "--method", method, "--out", out]) == 0
    assert "preset isles2026, the rules of ISLES 2026: Dice, AVD" in capsys.readouterr().out
    tables = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    assert main(["rank", *tables, "--preset", "isles2026", "--out", str(tmp_path / "board" / "leaderboard.csv")]) == 0
    assert "preset isles2026, scheme rank-then-mean" in " ".join(capsys.readouterr().out.split())
    written = (tmp_path / "board" / "leaderboard.md").read_text()
    assert "preset isles2026" in written
    assert "a missing result takes the last rank" in written
    assert '"preset": "isles2026"' in (tmp_path / "board" / "leaderboard.json").read_text()
    write_cases(tmp_path / "board" / "cases.csv", read_cases([Path(table) for table in tables]))
    assert main(["verify", str(tmp_path / "board")]) == 0
    (tmp_path / "board" / "leaderboard.json").unlink()
    assert main(["verify", str(tmp_path / "board")]) == 0
    assert main(["report", *tables, "--preset", "isles2026", "--out", str(tmp_path / "page")]) == 0
    assert "Preset <b>isles2026</b>" in (tmp_path / "page" / "index.html").read_text()


def test_a_preset_goes_with_no_scheme_of_its_own(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["rank", "a.csv", "--out", str(tmp_path / "l.csv"), "--preset", "isles2022", "--scheme", "dice"])
    assert end.value.code == 2
    assert "--scheme does not go with --preset" in capsys.readouterr().err


def arrange(place: Path, masks: Path, maps: Path, layout: str) -> tuple[Path, Path]:
    """Masks and maps as a team may hand them in: the places of the two."""
    files = {f"v/{path.name}": path for path in masks.iterdir()}
    inside = {"within": "v/probabilities", "beside": "probabilities", "named": "v.probabilities"}
    where, _, zipped = layout.partition(" ")
    where_maps = inside.get(where, "")
    own = {
        f"{'m.probabilities' if layout == 'own zip of a folder' else 'm'}/{path.name}": path for path in maps.iterdir()
    }
    parts = [("s", files | ({f"{where_maps}/{path.name}": path for path in maps.iterdir()} if where_maps else {}))]
    parts += [] if where_maps else [("s.probabilities", own)]
    places = []
    for name, content in parts:
        if zipped:
            with zipfile.ZipFile(place / f"{name}.zip", "w") as archive:
                for member, path in content.items():
                    archive.write(path, member)
            places.append(place / f"{name}.zip")
            continue
        for member, path in content.items():
            (place / name / member).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / name / member)
        places.append(place / name if where in inside and where != "within" else place / name / next(iter(content))[0])
    return places[0], places[-1]


LAYOUTS = ("own", "own zip", "own zip of a folder", "within", "within zip", "beside", "beside zip", "named zip")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_are_found_wherever_a_team_may_put_them(tmp_path, cases, folders, layout, capsys) -> None:
    expected = score_cases(cases, folders[0], "me", probabilities=folders[1])
    masks, maps = arrange(tmp_path, *folders, layout)
    assert (masks == maps) is not layout.startswith("own")
    assert score_cases(cases, masks, "me", probabilities=maps).equals(expected)
    assert check_predictions(cases, masks, probabilities=maps) == []
    told: list[str] = []
    plain = score_cases(cases, masks, "me", on_note=told.append)
    assert "brier" not in plain.columns
    assert any(
        note.endswith(": 4 probability maps are left aside: give maps with --probabilities DIR") for note in told
    ) is (masks == maps)
    if layout in (
        "beside",
        "within zip",
        "own zip",
    ):  # on a platform they lie within the submission, or in a zip beside it
        references = str(cases[0].reference.parents[3])
        words = ["evaluate", "--platform", "evalai", "--cohort", references, "--input", str(masks)]
        assert main([*words, "--preset", "isles2026", "--out", str(tmp_path / "out")]) == 0
        mean = f"pr_auc {expected['pr_auc'].mean():g}"
        assert mean in capsys.readouterr().out


def test_check_finds_what_score_would_refuse(tmp_path, cases, folders, capsys) -> None:
    masks, maps = folders
    words = ["check", "--cohort", str(cases[0].reference.parents[3]), "--predictions", str(masks)]
    assert main([*words, "--probabilities", str(maps)]) == 0
    assert capsys.readouterr().out.endswith("accepted, with their probability maps\n")
    write_map(maps / "case_1.nii.gz", cases[0], map_of(cases[0]) - 0.5, dtype=np.float32, slope=1)
    write_map(maps / "case_2.nii.gz", cases[1], map_of(cases[1]) * np.nan, dtype=np.float32, slope=1)
    (maps / "case_3.nii.gz").unlink()
    (masks / "case_4.nii.gz").unlink()
    with pytest.raises(InputError) as scored:
        score_cases(cases, masks, "me", probabilities=maps)
    with pytest.raises(InputError) as checked:
        check_predictions(cases, masks, probabilities=maps)
    assert sorted(checked.value.problems) == sorted(scored.value.problems)
    assert len(checked.value.problems) == 4
    assert main(words) == 0
    assert main([*words, "--probabilities", str(maps)]) == 1
    assert "write probabilities, not logits" in capsys.readouterr().err
    given_as_maps = "within it, or give their own folder or zip with --probabilities DIR"
    for refused in (check_predictions, partial(score_cases, method="me")):
        with pytest.raises(InputError, match=f"masks: holds no probability maps: .* probabilities {given_as_maps}$"):
            refused(cases, masks, probabilities=masks)
    only = tmp_path / "only"
    shutil.copytree(maps, only / "probabilities")
    with pytest.raises(InputError, match=r"only: holds no \.nii"):
        check_predictions(cases, only)
