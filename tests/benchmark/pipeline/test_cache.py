from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from benchmark.pipeline.cache import CachedCase, _is_sound, build_cache, case_digest, open_entry
from benchmark.pipeline.midline import estimate_midline
from leaderboard.cohort.formats import Cohort, read_cohort
from leaderboard.cohort.kinds import adc_factor
from leaderboard.errors import InputError


def test_a_cached_case_holds_what_the_files_hold(cohort: Cohort, cached: list[CachedCase]) -> None:
    case, entry = cohort.cases[17], cached[17]
    for index, kind in enumerate(cohort.channels):
        stored = np.asanyarray(nib.load(case.images[kind]).dataobj)
        np.testing.assert_allclose(entry.image[:, index].transpose(2, 1, 0), stored, rtol=1e-6)
    stored = np.asanyarray(nib.load(case.reference).dataobj)
    np.testing.assert_array_equal(np.asarray(entry.reference).transpose(2, 1, 0), stored)
    assert entry.spacing_mm == pytest.approx(nib.load(case.images["CT"]).header.get_zooms())
    assert isinstance(entry.image, np.memmap)


def test_statistics_are_those_of_the_brain(cached: list[CachedCase]) -> None:
    entry = cached[3]
    inside = entry.image.swapaxes(0, 1)[:, np.asarray(entry.brain, bool)].astype(np.float64)
    np.testing.assert_allclose(entry.mean[1:], inside[1:].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(entry.sd[1:], inside[1:].std(axis=1), rtol=1e-5)
    assert entry.mean[0] == pytest.approx(inside[0].clip(0, 100).mean(), rel=1e-5)
    np.testing.assert_array_equal(entry.lowest, entry.zscored().min(axis=(0, 2, 3)))


def test_the_midline_of_a_case_is_kept_with_it(tree: Path, cached: list[CachedCase], tmp_path: Path) -> None:
    """The upright line of a coarse and noisy case, and one that is found, in the CT of a case without noise."""
    shutil.copytree(tree / "TRAINING" / "case_24", tmp_path / "TRAINING" / "case_24")
    (ct,) = tmp_path.glob("TRAINING/*/*.CT.*/*.nii")
    noisy = nib.load(ct)
    smooth = ndimage.gaussian_filter(np.asarray(noisy.dataobj, float).clip(0, 80), (1.5, 1.5, 0))
    nib.Nifti1Image(smooth.round().astype(np.int32), None, noisy.header).to_filename(ct)
    cohort = read_cohort(tmp_path, "training")
    (entry,) = build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    clear = open_entry(cohort.cases[0], entry)
    for case in (cached[3], clear):
        line = estimate_midline(case.zscored()[:, 0], np.array(case.brain), case.spacing_mm)
        assert line.centre_mm == pytest.approx(case.midline.centre_mm)
        assert astuple(line)[1:] == pytest.approx(astuple(case.midline)[1:], abs=1e-4, nan_ok=True)
    assert np.isnan(cached[3].midline.correlation)
    assert clear.midline.correlation > 0.2


def test_slices_are_z_scored_one_by_one_as_all_at_once(cached: list[CachedCase]) -> None:
    np.testing.assert_array_equal(cached[3].zscored([0, 1]), cached[3].zscored()[:2])


def change_image(isles_tree: Any, path: Path, change: Callable[[np.ndarray], np.ndarray], *spacing: float) -> None:
    """Write an image anew with other voxels or another spacing."""
    image = nib.load(path)
    isles_tree.image(path, change(np.array(np.asanyarray(image.dataobj))), spacing or image.header.get_zooms())


@pytest.mark.parametrize(
    "change",
    [
        {"tissue": False}, {"window": (0.0, 3.0)}, {"own_grid": True}, {"repaired": (0.0, 9.0)}, {"to_unit": adc_factor}
    ],
)  # fmt: skip
def test_a_change_of_how_a_format_has_an_image_read_makes_another_key(cohort: Cohort, change: dict[str, Any]) -> None:
    changed = [*cohort.images[:-1], replace(cohort.images[-1], **change)]
    assert case_digest(cohort.cases[0], changed) != case_digest(cohort.cases[0], cohort.images)


def test_another_image_that_gives_the_grid_makes_another_key(cohort: Cohort) -> None:
    other = replace(cohort.cases[0], grid="CT")
    assert case_digest(other, cohort.images) != case_digest(cohort.cases[0], cohort.images)


def with_nan(data: np.ndarray) -> np.ndarray:
    data = data.astype(np.float32)
    data[0, 0, 0] = np.nan
    return data


@pytest.mark.parametrize(
    ("kind", "change", "spacing", "words"),
    [
        ("CT_Tmax", lambda data: data[:-1], (), r"shape \(7, 9, 2\) where CT_MTT has \(8, 9, 2\)"),
        ("CT_Tmax", with_nan, (), "holds NaN or infinite values"),
        ("CT_Tmax", lambda data: data, (1.0, 1.0, 5.0), "spacing .* mm where CT_MTT has"),
        ("OT", lambda data: data[:, :-1], (), "has the shape 8 x 8 x 2 where the case has 8 x 9 x 2"),
        ("OT", lambda data: 2 * data, (), "holds the values 2, a mask holds 0 and 1 alone"),
    ],
    ids=["shape", "NaN", "spacing", "reference's shape", "reference's values"],
)
def test_images_that_do_not_fit_together_are_refused_by_the_files_name(
    isles_tree: Any, tmp_path: Path, kind: str, change: Callable[[np.ndarray], np.ndarray],
    spacing: tuple[float, ...], words: str,
) -> None:  # fmt: skip
    cohort = read_cohort(isles_tree())
    case = cohort.cases[1]
    path = case.reference if kind == "OT" else case.images[kind]
    assert path is not None
    change_image(isles_tree, path, change, *spacing)
    with pytest.raises(InputError, match=f"{path}: {words}") as refused:
        build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    assert len(refused.value.problems) == 1


def test_maps_without_any_tissue_are_refused_and_every_such_case_is_named(isles_tree: Any, tmp_path: Path) -> None:
    cohort = read_cohort(isles_tree())
    for case in cohort.cases[1:]:
        for kind in cohort.channels[1:]:
            change_image(isles_tree, case.images[kind], np.zeros_like)
    with pytest.raises(InputError) as refused:
        build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    assert [problem.partition(": ")[2][:23] for problem in refused.value.problems] == ["every map is zero: repl"] * 2
    assert [Path(problem.partition(": ")[0]).name for problem in refused.value.problems] == ["case_2", "case_3"]


def test_the_second_build_reads_no_image(cohort: Cohort, cached: list[CachedCase], cache: Path, monkeypatch) -> None:
    monkeypatch.setattr("benchmark.pipeline.cache.preprocess", lambda *_: pytest.fail("preprocessed again"))
    build_cache(cohort.cases, cohort.images, cache)


def test_changed_content_gets_another_entry(twin: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(twin / "TRAINING" / "case_20", tmp_path / "tree" / "TRAINING" / "case_20")
    cohort = read_cohort(tree.parents[1])
    (before,) = build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    path = cohort.cases[0].images["CT"]
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)
    (after,) = build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    assert before != after


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "meta"])
def test_a_damaged_entry_is_built_again(twin: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(twin / "TRAINING" / "case_20", tmp_path / "tree" / "TRAINING" / "case_20")
    cohort = read_cohort(tmp_path / "tree")
    (entry,) = build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    sound = (entry / "image.npy").read_bytes()
    if damage == "flip":
        (entry / "image.npy").write_bytes(sound[:-5] + bytes([sound[-5] ^ 255]) + sound[-4:])
    elif damage == "truncate":
        (entry / "image.npy").write_bytes(sound[: len(sound) // 2])
    elif damage == "remove":
        (entry / "reference.npy").unlink()
    else:
        (entry / "meta.json").write_text("{")
    build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    assert (entry / "image.npy").read_bytes() == sound
    assert open_entry(cohort.cases[0], entry).reference is not None


def test_no_byte_of_an_entrys_description_can_change_unnoticed(twin: Path, tmp_path: Path) -> None:
    shutil.copytree(twin / "TRAINING" / "case_20", tmp_path / "tree" / "TRAINING" / "case_20")
    cohort = read_cohort(tmp_path / "tree")
    (entry,) = build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    content = (entry / "meta.json").read_bytes()
    assert _is_sound(entry)
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        (entry / "meta.json").write_bytes(changed)
        # Another seventeenth digit may be the same number.
        assert not _is_sound(entry) or json.loads(changed) == json.loads(content), content[place - 10 : place + 10]


BUILD = """
import sys
from pathlib import Path
from benchmark.pipeline.cache import build_cache
from leaderboard.cohort.formats import read_cohort
cohort = read_cohort(Path(sys.argv[1]), "training")
print(*(entry.name for entry in build_cache(cohort.cases, cohort.images, Path(sys.argv[2]))))
"""


def test_two_processes_may_build_at_once(twin: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(twin), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=120)[0].split() for process in processes)
    assert first == second
    assert len(first) == 24
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted([*first, "digests"])


def test_unreadable_cases_are_all_named(twin: Path, tmp_path: Path) -> None:
    for name in ("case_20", "case_21"):
        shutil.copytree(twin / "TRAINING" / name, tmp_path / "tree" / "TRAINING" / name)
    cohort = read_cohort(tmp_path / "tree")
    for case in cohort.cases:
        case.images["CT_MTT"].write_text("no image")
    with pytest.raises(InputError) as error:
        build_cache(cohort.cases, cohort.images, tmp_path / "cache")
    assert len(error.value.problems) == 2
    assert "CT_MTT" in error.value.problems[0]
