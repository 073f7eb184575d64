"""The threshold rules on phantoms whose low-flow region is known."""

from __future__ import annotations

import numpy as np
import pytest
from phantom import dice, phantom
from scipy import ndimage

from benchmark.methods.components import drop_small
from benchmark.methods.perfusion_threshold import rules
from benchmark.methods.perfusion_threshold.module import CANDIDATES


def test_csf_vessels_and_the_skulls_margin_are_left_out() -> None:
    head = phantom()
    valid = rules.valid_tissue(head.maps[0], head.maps[1], head.brain, head.spacing_mm)
    for name in ("ventricles", "vessel"):
        assert not valid[head.regions[name]].any()
    rim_mm = ndimage.distance_transform_edt(head.brain[0], sampling=head.spacing_mm[:2])
    assert not valid[0][(rim_mm > 0) & (rim_mm < 2)].any()
    assert valid[head.regions["core"]].all()
    assert not head.predict(rcbf_below=0.38)[head.regions["ventricles"]].any()


@pytest.mark.parametrize(("pixel", "pixels"), [(0.80, 3), (0.88, 3), (1.04, 3), (1.8, 1), (3.5, 1)])
def test_skull_margin_is_three_pixels_of_isles_and_fewer_coarse_ones(pixel: float, pixels: int) -> None:
    outside = np.zeros((1, 40, 40), dtype=bool)
    outside[:, :, 0] = True
    grown = rules.within(outside, rules.SKULL_MARGIN_MM, (pixel, pixel, 5.0))
    assert np.count_nonzero(grown[0, 20]) - 1 == pixels


def test_opposite_hemisphere_is_the_reference() -> None:
    head = phantom(core=1.0, rim=1.0)
    x = np.arange(128) > 63.5
    cbf = np.where(head.brain, np.where(x, 0.5, 1.0), 0.0)
    ratio = rules.relative_to_opposite(cbf, head.brain, np.broadcast_to(x, (128, 128)))
    np.testing.assert_allclose(ratio[head.brain & x], 0.5)
    np.testing.assert_allclose(ratio[head.brain & ~x], 2.0)
    assert np.isinf(ratio[~head.brain]).all()


@pytest.mark.parametrize(("dz", "kept"), [(4.0, False), (10.0, False), (10.2, True), (12.0, True)])
def test_components_are_dropped_by_millilitres_not_by_voxels(dz: float, kept: bool) -> None:
    small = np.zeros((3, 30, 30), dtype=bool)
    small[1, 5:15, 5:15] = True  # 100 voxels of 1.1 x 0.9 mm: 0.99 mL at 10 mm, 1.0098 mL at 10.2 mm
    assert drop_small(small, 1.0, (1.1, 0.9, dz)).any() == kept


def test_only_the_small_component_is_dropped() -> None:
    mask = np.zeros((2, 40, 40), dtype=bool)
    mask[:, 5:15, 5:15] = True
    mask[0, 20:24, 20:24] = True
    kept = drop_small(mask, 1.0, (1.0, 1.0, 6.0))
    np.testing.assert_array_equal(kept, mask & (np.arange(40) < 16))
    np.testing.assert_array_equal(drop_small(mask, 0.0, (1.0, 1.0, 6.0)), mask)


def test_single_pixels_are_opened_away_slice_by_slice() -> None:
    rcbf = np.ones((3, 20, 20))
    rcbf[:, 5, 5] = 0.1  # a column through all slices, one pixel wide
    rcbf[1, 11:14, 12] = rcbf[1, 12, 11:14] = 0.1  # a cross
    flow = rules.Flow(rcbf, np.zeros_like(rcbf), np.ones(rcbf.shape, dtype=bool))
    mask = rules.segment(flow, (1, 1, 5), rcbf_below=0.38)
    assert not mask[:, 5, 5].any()
    assert not mask[[0, 2]].any()
    assert np.count_nonzero(mask[1]) == 5
    assert mask[1, 12, 12]


def test_a_head_of_64_pixels_is_not_eroded_away() -> None:
    head = phantom(64)
    valid = rules.valid_tissue(head.maps[0], head.maps[1], head.brain, head.spacing_mm)
    assert np.count_nonzero(valid) > 0.75 * np.count_nonzero(head.brain)
    assert dice(head.predict(rcbf_below=0.38), head.regions["core"] | head.regions["rim"]) > 0.8


def noisy_flow(seed: int) -> tuple[rules.Flow, np.ndarray]:
    """Rough rCBF with values on the candidates themselves, and a reference that belongs to one of them."""
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.random((2, 40, 40)), (0, 1.5, 1.5))
    rcbf = np.round((rough - rough.min()) / np.ptp(rough), 2)
    valid = rng.random(rcbf.shape) > 0.02
    reference = ndimage.gaussian_filter(rcbf, (0, 1, 1)) < rng.uniform(0.3, 0.5)
    return rules.Flow(np.where(valid, rcbf, np.inf), np.zeros_like(rcbf), valid), reference


@pytest.mark.parametrize("seed", range(4))
def test_dice_of_all_thresholds_at_once_is_that_of_each_by_brute_force(seed: int) -> None:
    flow, reference = noisy_flow(seed)
    expected = [dice(rules.segment(flow, (1, 1, 5), rcbf_below=t), reference) for t in CANDIDATES]
    np.testing.assert_allclose(rules.dice_by_threshold(flow, reference, CANDIDATES), expected)
    assert np.ptp(expected) > 0.2


def test_two_empty_masks_have_dice_one() -> None:
    flow = rules.Flow(np.full((1, 5, 5), np.inf), np.zeros((1, 5, 5)), np.zeros((1, 5, 5), dtype=bool))
    assert (rules.dice_by_threshold(flow, np.zeros((1, 5, 5)), CANDIDATES) == 1).all()


def test_best_threshold_takes_the_smallest_of_equals_despite_rounding() -> None:
    sums = np.array([0.5, 0.3 + 0.6, 0.6 + 0.3 + 1e-13])
    assert rules.best_threshold(sums, 2, np.array([0.2, 0.3, 0.4])) == 0.3
