"""The threshold rows on phantoms whose low-flow region is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.methods.perfusion_threshold import PerfusionThreshold, rules
from benchmark.methods.perfusion_threshold import module as threshold_module
from benchmark.methods.perfusion_threshold.memo import FlowMemo
from benchmark.methods.perfusion_threshold.module import CANDIDATES
from benchmark.pipeline.datasets import Batch
from benchmark.pipeline.intensity import CT_WINDOW
from benchmark.pipeline.midline import Midline, estimate_midline

FOV_MM = 200.0


@dataclass(frozen=True)
class Phantom:
    """A head with ventricles, a vessel and, at the greater x, a disc of low flow with a deeper part.

    Attributes:
        maps: (5, D, H, W) CT, CBF, CBV, MTT, Tmax.
        brain: (D, H, W).
        regions: masks (D, H, W) by name.
        spacing_mm: x, y, z.
    """

    maps: np.ndarray
    brain: np.ndarray
    regions: dict[str, np.ndarray]
    spacing_mm: tuple[float, float, float]

    @property
    def batch(self) -> Batch:
        return {
            "image": torch.from_numpy(self.maps.astype(np.float32)),
            "brain": torch.from_numpy(self.brain.astype(np.uint8)),
            "reference": torch.from_numpy(self.regions["core"].astype(np.uint8)),
            "spacing_mm": self.spacing_mm,
            "midline": estimate_midline(np.clip(self.maps[0], *CT_WINDOW), self.brain, self.spacing_mm),
        }

    def predict(self, **settings: float) -> np.ndarray:
        return PerfusionThreshold(**settings).rule(self.batch).numpy()  # type: ignore[arg-type]


def phantom(size: int = 128, depth: int = 2, dz: float = 6.0, core: float = 0.2, rim: float = 0.34) -> Phantom:
    pixel = FOV_MM / size
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    y, x = np.meshgrid(axis, axis, indexing="ij")

    def disc(at_x: float, at_y: float, radius: float) -> np.ndarray:
        return np.broadcast_to(np.hypot(x - at_x, y - at_y) < radius, (depth, size, size)).copy()

    brain = np.broadcast_to(np.hypot(x / 68, y / 84) < 1, (depth, size, size)).copy()
    regions = {
        "rim": disc(35, 10, 20) & ~disc(35, 10, 12),
        "core": disc(35, 10, 12),
        "ventricles": disc(-12, -20, 9) | disc(12, -20, 9),
        "vessel": disc(30, 52, 3),
        "late": disc(40, 10, 20),
    }
    noise = np.random.default_rng(0).normal(1, 0.05, brain.shape)
    cbf = np.where(brain, 250 * noise, 0)
    cbf[regions["rim"]] *= rim
    cbf[regions["core"]] *= core
    cbf[regions["ventricles"]] *= 0.05
    cbf[regions["vessel"]] *= 8
    ct = np.where(brain, 33.0, 0.0)
    ct[regions["ventricles"]] = 6
    tmax = np.where(brain, 3.0, 0.0)
    tmax[regions["late"]] = 9
    return Phantom(np.stack([ct, cbf, cbf / 10, tmax, tmax]), brain, regions, (pixel, pixel, dz))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def test_t38_finds_the_low_flow_region_and_t30_its_deeper_part() -> None:
    head = phantom()
    core, whole = head.regions["core"], head.regions["core"] | head.regions["rim"]
    below_38, below_30 = head.predict(rcbf_below=0.38), head.predict(rcbf_below=0.30)
    assert dice(below_38, whole) > 0.8  # smoothing raises the flow along the border
    assert below_38[core].all()
    assert not below_38[~whole].any()
    assert dice(below_30, core) > 0.9
    assert not below_30[~below_38].any()


def test_scale_of_the_flow_does_not_matter() -> None:
    head = phantom()
    scaled = replace(head, maps=head.maps * np.array([1, 10, 10, 1, 1]).reshape(5, 1, 1, 1))
    np.testing.assert_array_equal(scaled.predict(rcbf_below=0.38), head.predict(rcbf_below=0.38))


def test_csf_vessels_and_the_skulls_margin_are_left_out() -> None:
    head = phantom()
    valid = rules.valid_tissue(head.maps[0], head.maps[1], head.brain, head.spacing_mm)
    for name in ("ventricles", "vessel"):
        assert not valid[head.regions[name]].any()
    rim_mm = ndimage.distance_transform_edt(head.brain[0], sampling=head.spacing_mm[:2])
    assert not valid[0][(rim_mm > 0) & (rim_mm < 2)].any()
    assert valid[head.regions["core"]].all()
    assert not head.predict(rcbf_below=0.38)[head.regions["ventricles"]].any()


def test_ventricles_would_be_lesion_but_for_the_csf_mask() -> None:
    head = phantom()
    head.maps[0][head.brain] = 33
    assert head.predict(rcbf_below=0.38)[head.regions["ventricles"]].mean() > 0.7


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


def test_flow_that_is_low_everywhere_on_one_side_is_found_there_alone() -> None:
    head = phantom(core=1.0, rim=1.0)
    head.maps[1][:, :, 64:] *= 0.3
    mask = head.predict(rcbf_below=0.38)
    assert not mask[:, :, :62].any()
    assert np.count_nonzero(mask) > 0.6 * np.count_nonzero(head.brain[:, :, 66:])


def test_smoothing_keeps_a_constant_up_to_the_masks_edge_and_takes_nothing_from_outside() -> None:
    head = phantom()
    values = np.where(head.brain, 7.0, 1e6)
    np.testing.assert_allclose(rules.smooth(values, head.brain, 2.0, head.spacing_mm)[head.brain], 7.0)


def test_smoothing_has_the_width_asked_for_in_mm_along_both_axes() -> None:
    point = np.zeros((1, 81, 81))
    point[0, 40, 40] = 1
    spread = rules.smooth(point, np.ones_like(point, dtype=bool), 5 / 2.3548, (0.5, 1.0, 6.0))[0]
    assert spread[40, 45] == pytest.approx(spread[40, 40] / 2, rel=0.02)  # 2.5 mm along x is half the FWHM
    assert np.sqrt(spread[40, 43] * spread[40, 42]) > spread[43, 40]
    assert spread[42, 40] > spread[40, 40] / 2 > spread[43, 40]


def test_tmax6_marks_late_tissue_whatever_its_flow() -> None:
    head = phantom()
    assert dice(head.predict(tmax_above=6.0), head.regions["late"]) > 0.9


def test_rapid_like_needs_low_flow_and_long_tmax() -> None:
    head = phantom()
    mask = head.predict(rcbf_below=0.38, tmax_above=6.0)
    both = (head.regions["core"] | head.regions["rim"]) & head.regions["late"]
    assert dice(mask, both) > 0.85
    assert not mask[~head.predict(rcbf_below=0.38)].any()
    assert not mask[~head.predict(tmax_above=6.0)].any()
    assert head.predict(rcbf_below=0.38)[~head.regions["late"]].any()


@pytest.mark.parametrize(("dz", "kept"), [(4.0, False), (10.0, False), (10.2, True), (12.0, True)])
def test_components_are_dropped_by_millilitres_not_by_voxels(dz: float, kept: bool) -> None:
    small = np.zeros((3, 30, 30), dtype=bool)
    small[1, 5:15, 5:15] = True  # 100 voxels of 1.1 x 0.9 mm: 0.99 mL at 10 mm, 1.0098 mL at 10.2 mm
    assert rules.drop_small(small, 1.0, (1.1, 0.9, dz)).any() == kept


def test_only_the_small_component_is_dropped() -> None:
    mask = np.zeros((2, 40, 40), dtype=bool)
    mask[:, 5:15, 5:15] = True
    mask[0, 20:24, 20:24] = True
    kept = rules.drop_small(mask, 1.0, (1.0, 1.0, 6.0))
    np.testing.assert_array_equal(kept, mask & (np.arange(40) < 16))
    np.testing.assert_array_equal(rules.drop_small(mask, 0.0, (1.0, 1.0, 6.0)), mask)


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


def test_half_the_resolution_gives_nearly_the_same_mask() -> None:
    fine, coarse = phantom(256), phantom(128)
    upsampled = coarse.predict(rcbf_below=0.38).repeat(2, axis=1).repeat(2, axis=2)
    assert dice(fine.predict(rcbf_below=0.38), upsampled) > 0.93


def test_a_head_of_64_pixels_is_not_eroded_away() -> None:
    head = phantom(64)
    valid = rules.valid_tissue(head.maps[0], head.maps[1], head.brain, head.spacing_mm)
    assert np.count_nonzero(valid) > 0.75 * np.count_nonzero(head.brain)
    assert dice(head.predict(rcbf_below=0.38), head.regions["core"] | head.regions["rim"]) > 0.8


def test_maps_of_zeros_give_an_empty_mask() -> None:
    head = phantom()
    assert not replace(head, maps=head.maps * 0).predict(rcbf_below=0.38).any()
    assert not replace(head, brain=head.brain & False).predict(rcbf_below=0.38).any()


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


def fit(heads: list[Phantom]) -> float:
    method = PerfusionThreshold(rcbf_below=0.38, fitted=True)
    for head in heads:
        method.fit_case(head.batch)
    method.fit_finish()
    return float(method.rcbf)


def training_heads() -> list[Phantom]:
    return [phantom(64, core=core, rim=rim) for core, rim in ((0.2, 0.34), (0.3, 0.5), (0.38, 0.45), (0.25, 0.6))]


def test_tfit_picks_the_threshold_that_brute_force_picks() -> None:
    heads = training_heads()
    means = [
        np.mean([dice(head.predict(rcbf_below=float(t)), head.regions["core"]) for head in heads]) for t in CANDIDATES
    ]
    assert fit(heads) == CANDIDATES[int(np.argmax(np.round(means, 9)))]
    assert 0.2 < fit(heads) < 0.5


def test_tfit_does_not_depend_on_the_order_of_the_cases() -> None:
    heads = training_heads()
    assert fit(heads) == fit(heads[::-1]) == fit(heads[2:] + heads[:2])


def test_best_threshold_takes_the_smallest_of_equals_despite_rounding() -> None:
    sums = np.array([0.5, 0.3 + 0.6, 0.6 + 0.3 + 1e-13])
    assert rules.best_threshold(sums, 2, np.array([0.2, 0.3, 0.4])) == 0.3


def test_checkpoint_holds_the_fitted_threshold() -> None:
    method = PerfusionThreshold(rcbf_below=0.38, fitted=True)
    method.fit_case(phantom(64, core=0.45, rim=0.8).batch)
    method.fit_finish()
    restored = PerfusionThreshold(rcbf_below=0.38, fitted=True)
    restored.load_state_dict(method.state_dict())
    assert float(restored.rcbf) == float(method.rcbf) != 0.38


def test_interrupted_epoch_leaves_nothing_behind() -> None:
    method = PerfusionThreshold(rcbf_below=0.38, fitted=True)
    for _ in range(8):
        method.fit_case(phantom(64, core=0.52, rim=0.95).batch)
    method.on_train_epoch_start()
    for head in training_heads():
        method.fit_case(head.batch)
    method.fit_finish()
    assert float(method.rcbf) == fit(training_heads())


def test_rule_without_a_fit_keeps_its_threshold() -> None:
    method = PerfusionThreshold(rcbf_below=0.38)
    method.fit_case(phantom(64).batch)
    method.fit_finish()
    assert float(method.rcbf) == 0.38


def test_rows_of_one_process_measure_the_flow_of_a_case_once_and_give_the_masks_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [phantom(64), phantom(64, core=0.25)]
    rows = [{"rcbf_below": 0.38}, {"rcbf_below": 0.30, "tmax_above": 6.0}, {"tmax_above": 6.0}]
    alone = []
    for row in rows:
        monkeypatch.setattr(threshold_module, "_FLOWS", FlowMemo())
        alone.append([case.predict(**row) for case in cases])
    measured = []
    real = rules.measure_flow
    monkeypatch.setattr(rules, "measure_flow", lambda *arrays: measured.append(1) or real(*arrays))
    monkeypatch.setattr(threshold_module, "_FLOWS", FlowMemo())
    together = [[case.predict(**row) for case in cases] for row in rows]
    assert len(measured) == len(cases)
    assert np.array_equal(together, alone)
    fitted = PerfusionThreshold(rcbf_below=0.38, fitted=True)
    fitted.fit_case(cases[0].batch)
    assert len(measured) == len(cases)


def test_any_change_of_a_case_is_measured_anew_and_no_more_is_kept_than_fits() -> None:
    case = phantom(32)
    ct, cbf, tmax = (case.maps[place].astype(np.float32) for place in (0, 1, 4))
    brain = case.brain.astype(np.uint8)
    measured = []

    def measure(*arrays: object) -> rules.Flow:
        measured.append(arrays)
        return rules.Flow(np.zeros(10), np.zeros(10), np.zeros(10, dtype=bool))  # 170 bytes

    memo = FlowMemo(capacity=2 * 170)
    other = tmax.copy()
    other[0, 5, 5] += 1e-3
    line = Midline((90.0, 95.0), 1.0, 2.0, 0.5)
    calls = [
        (ct, cbf, tmax, brain, case.spacing_mm, line),
        (ct, cbf, other, brain, case.spacing_mm, line),
        (ct, cbf, tmax, brain, case.spacing_mm, replace(line, angle_deg=3.0)),
    ]
    for expected in (3, 4):  # the third does not fit any more
        for call in calls:
            memo.measured(measure, *call)
        assert len(measured) == expected
