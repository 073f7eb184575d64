from __future__ import annotations

import numpy as np

from benchmark.pipeline.brain import brain_mask


def test_the_brain_is_the_largest_region_in_which_any_map_is_positive() -> None:
    maps = np.zeros((2, 12, 12, 2))
    maps[0, 2:5, 2:8] = maps[1, 5:8, 2:8] = 3.0  # one region together
    expected = maps.any(axis=0)
    maps[0, 10:, 10:] = 9.0  # a speck
    maps[:, 0, 0] = -1.0
    np.testing.assert_array_equal(brain_mask(maps), expected)


def test_holes_are_filled_slice_by_slice() -> None:
    maps = np.zeros((1, 9, 9, 2))
    maps[0, 1:8, 1:8] = 1.0
    expected = maps[0] > 0
    maps[0, 3:5, 3:5, 0] = 0.0  # open towards the other slice's outside in no slice
    maps[0, 4:, 4, 1] = 0.0  # a bay, open to the outside
    expected[4:, 4, 1] = False
    np.testing.assert_array_equal(brain_mask(maps), expected)


def test_maps_without_anything_have_no_brain() -> None:
    assert not brain_mask(np.zeros((3, 4, 4, 2))).any()
