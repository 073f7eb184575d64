"""Grids in space, orders of axes, and compressed files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmark.cohort.twin.fields import Grid
from benchmark.cohort.twin.placed import gzipped_nifti, place, turned
from leaderboard.io.images import read_volume
from leaderboard.io.masks import read_mask


def grid() -> Grid:
    """Axes as the anatomy has them: y falls."""
    return Grid(np.arange(-60, 61, 3.0), np.arange(-70, 71, 4.0), np.arange(80, -81, -4.0), (4.0, 4.0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tilted_grid_reads_the_places_that_its_affine_says(axis: int) -> None:
    places = grid()
    mesh = np.meshgrid(places.z_mm, places.x_mm, places.y_mm, indexing="ij")
    to_nifti = (-mesh[1], mesh[2], mesh[0])[axis]  # the scanner's x runs to the left
    placed = place((9, 8, 4), (5.0, 5.0, 9.0), np.array([12.0, -5.0, 7.0]), np.array([3.0, -4.0, 6.0]))
    index = np.moveaxis(np.indices(placed.shape), 0, -1)
    expected = nib.affines.apply_affine(placed.affine, index)[..., axis]
    np.testing.assert_allclose(placed.sample(to_nifti, places), expected, atol=1e-3)


def test_a_thick_slice_is_the_mean_over_its_thickness() -> None:
    places = grid()
    layer = (np.abs(places.z_mm) < 1).astype(float)[:, None, None] * np.ones((1, 36, 41))
    placed = place((4, 4, 3), (4.0, 4.0, 15.0), np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(placed.sample(layer, places)[1, 1], [0, 0.2, 0], atol=1e-6)


def test_it_is_zero_outside_of_the_volume() -> None:
    placed = place((3, 3, 3), (200.0, 5.0, 5.0), np.zeros(3), np.zeros(3))
    values = placed.sample(np.ones((41, 36, 41)), grid())
    assert (values[[0, 2]] == 0).all()
    assert (values[1] == 1).all()


@pytest.mark.parametrize("codes", ["LAS", "RPI", "PSR"])
def test_another_order_of_axes_leaves_every_voxel_in_its_place(codes: str) -> None:
    placed = place((4, 5, 6), (1.0, 2.0, 3.0), np.array([8.0, 2.0, -3.0]), np.array([1.0, 2.0, 3.0]))
    data = np.random.default_rng(0).random(placed.shape)
    other, affine = turned(data, placed.affine, codes)
    assert "".join(nib.aff2axcodes(affine)) == codes
    back = nib.as_closest_canonical(nib.Nifti1Image(other, affine))
    np.testing.assert_array_equal(back.get_fdata(), data)
    np.testing.assert_allclose(back.affine, placed.affine, atol=1e-9)


def test_a_one_may_be_stored_with_a_slope_that_does_not_give_one(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    mask = np.zeros((3, 4, 5), np.uint16)
    mask[1, 2, 3] = 65535
    path.write_bytes(gzipped_nifti(mask, np.eye(4), slope=1 / 65535))
    assert read_volume(path).data[1, 2, 3] == pytest.approx(0.99999999977, abs=1e-11)
    assert read_volume(path).data[1, 2, 3] != 1
    np.testing.assert_array_equal(read_mask(path).voxels, mask > 0)


def test_a_file_holds_no_time() -> None:
    data = np.zeros((2, 2, 2), np.float32)
    assert gzipped_nifti(data, np.eye(4))[4:8] == bytes(4)
