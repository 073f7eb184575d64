"""Cases far larger than those of ISLES: worked on in parts, with the same numbers and in bounded memory."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from leaderboard.scoring import lesions, metrics, surface

SPACINGS = [(1.0, 1.0, 1.0), (0.9, 0.9, 5.0), (0.71, 1.3, 0.37)]
#: Scores a pair of files in a fresh process and prints its peak memory in MB.
SCORE = """
import resource, sys
from pathlib import Path
from leaderboard.scoring.one_case import score_files
result = score_files((Path(sys.argv[1]), Path(sys.argv[2])))
print(result.measures["status"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    mask = rng.random(shape) < rng.choice([0.001, 0.02, 0.3])
    low = [int(rng.integers(size)) for size in shape]
    mask[tuple(slice(start, start + int(rng.integers(1, 9))) for start in low)] = True
    return mask


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("budget", [surface.SEARCH_BUDGET, 0.0])
def test_every_metric_of_a_box_in_parts_is_that_of_the_whole_box_to_the_bit(
    spacing_mm: tuple[float, float, float], budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    monkeypatch.setattr(surface, "SEARCH_BUDGET", budget)
    for trial in range(15):
        shape = tuple(rng.integers(2, 24, 3))
        masks = noise(rng, shape), noise(rng, shape)
        if trial % 3 == 0:
            masks = masks[0], np.roll(np.pad(np.ones((1, 1, 1), bool), [(0, size - 1) for size in shape]), trial)
        whole = metrics.measure(*masks, spacing_mm)
        with monkeypatch.context() as patch:
            patch.setattr(surface, "LARGE_BOX", int(rng.choice([1, 50, 700])))
            patch.setattr(lesions, "LARGE_BOX", surface.LARGE_BOX)
            assert metrics.measure(*masks, spacing_mm) == pytest.approx(whole, rel=0, abs=0, nan_ok=True)


def test_distances_of_a_large_box_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "LARGE_BOX", 10)
    monkeypatch.setattr(surface, "SEARCH_BUDGET", 0.0)
    rng = np.random.default_rng(5)
    spacing = np.array([0.7, 1.1, 3.0])
    prediction, reference = rng.random((2, 9, 7, 5)) < 0.1
    places = [np.argwhere(surface.border(mask)) * spacing for mask in (prediction, reference)]
    apart = np.sqrt(((places[0][:, None] - places[1][None]) ** 2).sum(axis=2))
    expected = np.concatenate([apart.min(axis=1), apart.min(axis=0)])
    found = surface.surface_distances(prediction, reference, spacing.tolist())
    assert np.sort(found) == pytest.approx(np.sort(expected), abs=1e-12)


def write_boxes(path: Path, size: int, boxes: list[tuple[slice, ...]]) -> None:
    """A compressed mask, written slab by slab, so that the test itself takes little memory."""
    header = nib.Nifti1Header()
    header.set_data_shape((size, size, size))
    header.set_data_dtype(np.uint8)
    header.set_zooms((0.7, 0.7, 1.3))
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for z in range(size):
            plane = np.zeros((size, size), np.uint8, order="F")
            for x, y, along in boxes:
                if along.start <= z < along.stop:
                    plane[x, y] = 1
            file.write(plane.tobytes(order="F"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["big", "sparse", "far apart"])
def test_a_case_of_512_cubed_is_scored_within_1200_megabytes(tmp_path: Path, kind: str) -> None:
    size = 512
    rng = np.random.default_rng(0)
    corners = [(slice(0, 1),) * 3, (slice(size - 1, size),) * 3]

    def scattered() -> list[tuple[slice, ...]]:
        starts, sizes = rng.integers(0, size - 8, (1000, 3)), rng.integers(1, 8, (1000, 3))
        boxes = zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
        return [tuple(itertools.starmap(slice, zip(*box, strict=True))) for box in boxes] + corners

    big = [(slice(10 + shift, 490 + shift),) * 3 for shift in (0, 5)]
    first, second = {
        "big": ([big[0], *corners], [big[1]]),
        "sparse": (scattered(), scattered()),
        "far apart": (scattered(), corners[:1]),
    }[kind]
    write_boxes(tmp_path / "reference.nii.gz", size, first)
    write_boxes(tmp_path / "prediction.nii.gz", size, second)
    command = [sys.executable, "-c", SCORE, str(tmp_path / "reference.nii.gz"), str(tmp_path / "prediction.nii.gz")]
    status, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert status == "ok"
    assert int(megabytes) < 1200
