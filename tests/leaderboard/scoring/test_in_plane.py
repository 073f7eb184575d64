"""Distances in the plane: what thin slabs, slices of one mask alone, and the order of axes do to them."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.scoring.metrics import measure, slice_axis

SPACING = (1.0, 1.0, 6.0)
IN_PLANE = ("inplane_nsd", "inplane_hd95_mm", "inplane_assd_mm")


def disk(slices: int, radius: float, shift: int = 0) -> np.ndarray:
    """The same disk in every slice."""
    x, y = np.ogrid[:40, :40]
    return np.repeat((np.hypot(x - 18 - shift, y - 20) <= radius)[:, :, None], slices, axis=2)


def in_plane(prediction: np.ndarray, reference: np.ndarray, spacing=SPACING) -> dict[str, float]:
    found = measure(prediction, reference, spacing)
    return {name: found[name] for name in IN_PLANE}


def test_the_number_of_slices_changes_nothing_in_the_plane_and_much_in_space() -> None:
    shifted = {slices: measure(disk(slices, 9, shift=5), disk(slices, 9), SPACING) for slices in (1, 2, 16)}
    for name in IN_PLANE:
        assert len({round(found[name], 12) for found in shifted.values()}) == 1
    assert shifted[16]["assd_mm"] > 2 * shifted[2]["assd_mm"]
    assert shifted[2]["inplane_assd_mm"] > 2 * shifted[2]["assd_mm"]


def test_a_slice_is_compared_with_itself_though_another_is_nearer() -> None:
    prediction, reference = disk(2, 4), disk(2, 4)
    prediction[:, :, 0] = disk(1, 4, shift=15)[:, :, 0]
    found = measure(prediction, reference, (1.0, 1.0, 1.0))
    assert found["inplane_hd95_mm"] > 10
    assert found["hd95_mm"] < found["inplane_hd95_mm"]


def test_a_slice_that_one_mask_alone_has_counts_as_far_as_the_nearest_slice_of_the_other() -> None:
    reference, prediction = disk(3, 4), disk(3, 4)
    prediction[:, :, 1:] = False
    found = in_plane(prediction, reference)
    # the border voxels of the three slices of the reference, and of the one of the prediction
    assert found["inplane_nsd"] == 2 / 4
    assert found["inplane_assd_mm"] == (0 + 0 + 6 + 12) / 4
    assert found["inplane_hd95_mm"] == 12
    assert found == in_plane(reference, prediction)


def test_two_millimetres_are_within_the_tolerance_and_more_is_not() -> None:
    reference, prediction = np.zeros((2, 9, 9, 1), bool)
    reference[4, 4], prediction[4, 6] = True, True
    assert in_plane(prediction, reference, (1.0, 1.0, 5.0))["inplane_nsd"] == 1
    assert in_plane(prediction, reference, (1.0, 1.01, 5.0))["inplane_nsd"] == 0
    # a third of a millimetre six times is two, whatever a float makes of it
    reference, prediction = np.zeros((2, 9, 9, 1), bool)
    reference[4, 1], prediction[4, 7] = True, True
    assert in_plane(prediction, reference, (1 / 3, 1 / 3, 5.0))["inplane_nsd"] == 1


def test_slices_lie_across_the_largest_voxels_wherever_that_axis_is() -> None:
    assert [slice_axis(sizes) for sizes in ((1, 1, 6), (6, 1, 1), (0.9, 3, 0.9), (1, 1, 1), (1.001, 1, 1))] == [
        2, 0, 1, 2, 2,
    ]  # fmt: skip
    prediction, reference = disk(3, 6, shift=2), disk(3, 6)
    expected = in_plane(prediction, reference)
    turned = [mask.transpose(2, 0, 1) for mask in (prediction, reference)]
    assert in_plane(*turned, (6.0, 1.0, 1.0)) == pytest.approx(expected, rel=1e-12)


def test_equal_masks_are_perfect_in_the_plane() -> None:
    assert in_plane(disk(2, 5), disk(2, 5)) == {"inplane_nsd": 1, "inplane_hd95_mm": 0, "inplane_assd_mm": 0}
