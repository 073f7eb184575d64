"""Files that go on for gigabytes behind their image, as a stranger may send them."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from leaderboard.errors import InputError
from leaderboard.io.images import read_geometry, read_volume, refuse_spare_bytes
from leaderboard.scoring.one_case import content_digest, score_files

MASK = np.zeros((5, 4, 3), np.uint8)
MASK[1:3, 2, 0] = 1
#: Of a file in which nothing is stored for them.
LENGTH = 1 << 33


@pytest.fixture(params=["nii", "nii.gz", "mha", "nrrd"])
def endless(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"case_1.{request.param}"
    if request.param.startswith("nii"):
        nib.save(nib.Nifti1Image(MASK, np.eye(4)), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(MASK.T), str(path))
    os.truncate(path, LENGTH)
    return path


def test_it_is_refused_without_being_read(endless: Path) -> None:
    started = time.process_time()
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{endless.name}: goes on far beyond its last voxel: write it again"):
        read_volume(endless)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24
    assert time.process_time() - started < 5
    assert read_geometry(endless)[0] == MASK.shape


def test_scoring_it_neither_reads_nor_digests_it(endless: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.nii"
    nib.save(nib.Nifti1Image(MASK, np.eye(4)), reference)
    started = time.process_time()
    result = score_files((reference, endless))
    assert time.process_time() - started < 5
    assert result.measures["status"] == "missing"
    assert any("goes on far beyond its last voxel" in problem for problem in result.prediction_faults)


def test_what_writers_leave_behind_an_image_is_let_pass(tmp_path: Path) -> None:
    path = tmp_path / "case_1.nii"
    nib.save(nib.Nifti1Image(MASK, np.eye(4)), path)
    os.truncate(path, path.stat().st_size + (1 << 20))
    refuse_spare_bytes(path)
    assert (read_volume(path).data == MASK).all()


def test_the_digest_is_of_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "case_1.nii"
    nib.save(nib.Nifti1Image(MASK, np.eye(4)), path)
    before = content_digest((path, None))
    assert content_digest((path, None)) == before
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert content_digest((path, None)) != before
