"""The threshold rows on phantoms whose low-flow region is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from phantom import Phantom, dice, perfusion, phantom

from benchmark.methods.perfusion_threshold import rules
from benchmark.methods.perfusion_threshold.module import CANDIDATES


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


def test_ventricles_would_be_lesion_but_for_the_csf_mask() -> None:
    head = phantom()
    head.maps[0][head.brain] = 33
    assert head.predict(rcbf_below=0.38)[head.regions["ventricles"]].mean() > 0.7


def test_flow_that_is_low_everywhere_on_one_side_is_found_there_alone() -> None:
    head = phantom(core=1.0, rim=1.0)
    head.maps[1][:, :, 64:] *= 0.3
    mask = head.predict(rcbf_below=0.38)
    assert not mask[:, :, :62].any()
    assert np.count_nonzero(mask) > 0.6 * np.count_nonzero(head.brain[:, :, 66:])


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


def test_half_the_resolution_gives_nearly_the_same_mask() -> None:
    fine, coarse = phantom(256), phantom(128)
    upsampled = coarse.predict(rcbf_below=0.38).repeat(2, axis=1).repeat(2, axis=2)
    assert dice(fine.predict(rcbf_below=0.38), upsampled) > 0.93


def test_maps_of_zeros_give_an_empty_mask() -> None:
    head = phantom()
    assert not replace(head, maps=head.maps * 0).predict(rcbf_below=0.38).any()
    assert not replace(head, brain=head.brain & False).predict(rcbf_below=0.38).any()


def fit(heads: list[Phantom]) -> float:
    method = perfusion(rcbf_below=0.38, fitted=True)
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


def test_checkpoint_holds_the_fitted_threshold() -> None:
    method = perfusion(rcbf_below=0.38, fitted=True)
    method.fit_case(phantom(64, core=0.45, rim=0.8).batch)
    method.fit_finish()
    restored = perfusion(rcbf_below=0.38, fitted=True)
    restored.load_state_dict(method.state_dict())
    assert float(restored.rcbf) == float(method.rcbf) != 0.38


def test_interrupted_epoch_leaves_nothing_behind() -> None:
    method = perfusion(rcbf_below=0.38, fitted=True)
    for _ in range(8):
        method.fit_case(phantom(64, core=0.52, rim=0.95).batch)
    method.on_train_epoch_start()
    for head in training_heads():
        method.fit_case(head.batch)
    method.fit_finish()
    assert float(method.rcbf) == fit(training_heads())


def test_rule_without_a_fit_keeps_its_threshold() -> None:
    method = perfusion(rcbf_below=0.38)
    method.fit_case(phantom(64).batch)
    method.fit_finish()
    assert float(method.rcbf) == 0.38


def test_rows_of_one_process_measure_the_flow_of_a_case_once_and_give_the_masks_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [phantom(64, core=0.23), phantom(64, core=0.27)]  # no other test's: their flow is not known yet
    rows = [{"rcbf_below": 0.38}, {"rcbf_below": 0.30, "tmax_above": 6.0}, {"tmax_above": 6.0}]
    measured = []
    measure_flow = rules.measure_flow
    monkeypatch.setattr(rules, "measure_flow", lambda *arrays: measured.append(1) or measure_flow(*arrays))
    together = [[case.predict(**row) for case in cases] for row in rows]
    fitted = perfusion(rcbf_below=0.38, fitted=True)
    fitted.fit_case(cases[0].batch)
    assert len(measured) == len(cases)
    for place, case in enumerate(cases):
        ct, cbf, _, _, tmax = case.batch["image"].numpy()
        brain, midline = case.batch["brain"].numpy(), case.batch["midline"]
        for row, found in zip(rows, together, strict=True):
            flow = measure_flow(ct, cbf, tmax, brain, case.spacing_mm, midline)
            np.testing.assert_array_equal(found[place], rules.segment(flow, case.spacing_mm, **row))
