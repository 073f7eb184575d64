"""Axes of files and of arrays."""

import numpy as np
import pytest

from leaderboard.io.axes import from_itk, slices_first, slices_last

VOLUME = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # X, Y, Z


def test_slices_first_names_a_voxel_by_slice_row_and_column():
    turned = slices_first(VOLUME)
    assert turned.shape == (4, 3, 2)
    assert all(turned[z, y, x] == VOLUME[x, y, z] for x, y, z in np.ndindex(VOLUME.shape))


def test_channels_stay_in_front():
    channels = np.stack([VOLUME, -VOLUME])
    np.testing.assert_array_equal(slices_first(channels), np.stack([slices_first(VOLUME), -slices_first(VOLUME)]))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_there_and_back_is_where_it_began(library):
    volume = VOLUME if library == "numpy" else pytest.importorskip("torch").from_numpy(VOLUME)
    assert (slices_last(slices_first(volume)) == volume).all()
    assert (slices_first(slices_last(volume)) == volume).all()


def test_an_array_of_itk_names_a_voxel_by_frame_slice_row_and_column():
    itk = pytest.importorskip("SimpleITK")
    image = itk.Image([2, 3, 4], itk.sitkInt16)
    image[1, 2, 3] = 7
    turned = from_itk(itk.GetArrayFromImage(image))
    assert turned.shape == (2, 3, 4)
    assert np.argwhere(turned).tolist() == [[1, 2, 3]]
    assert from_itk(np.zeros((5, 4, 3, 2))).shape == (2, 3, 4, 5)
