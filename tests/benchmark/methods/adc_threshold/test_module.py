"""The ADC threshold on volumes whose slow voxels are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trees
import yaml

from benchmark.methods.adc_threshold import ADCThreshold
from benchmark.methods.adc_threshold.module import slow_diffusion
from benchmark.pipeline.cache import build_cache, open_entry
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError

SPACING_MM = (2.0, 2.0, 5.0)  # 0.02 mL a voxel


def brain_with(*values: tuple[tuple[slice, slice, slice], float]) -> tuple[np.ndarray, np.ndarray]:
    """ADC (D, H, W) of 0.8 um2/ms in a box and 0 around it, with other values in places; and the box."""
    brain = np.zeros((6, 12, 12), bool)
    brain[1:5, 1:11, 1:11] = True
    adc = np.where(brain, 0.8, 0.0)
    for place, value in values:
        adc[place] = value
    return adc, brain


def test_what_diffuses_more_slowly_than_the_threshold_is_lesion_and_the_threshold_itself_is_not() -> None:
    slow = (slice(2, 4), slice(3, 6), slice(3, 6))
    adc, brain = brain_with((slow, 0.6199), ((slice(2, 4), slice(7, 10), slice(3, 6)), 0.62))
    expected = np.zeros(adc.shape, bool)
    expected[slow] = True
    np.testing.assert_array_equal(slow_diffusion(adc, brain, SPACING_MM, 0.62, 0.0), expected)


def test_outside_the_brain_and_where_nothing_was_measured_is_no_lesion() -> None:
    adc, brain = brain_with(
        ((slice(0, 1), slice(0, 6), slice(0, 6)), 0.3), ((slice(2, 4), slice(3, 6), slice(3, 6)), 0.0)
    )
    adc[2, 8, 8] = -0.1
    assert not slow_diffusion(adc, brain, SPACING_MM, 0.62, 0.0).any()


def test_components_of_less_than_the_smallest_volume_are_dropped() -> None:
    large, small = (slice(2, 3), slice(2, 3), slice(2, 7)), (slice(4, 5), slice(8, 9), slice(2, 6))  # 0.1 and 0.08 mL
    adc, brain = brain_with((large, 0.5), (small, 0.5))
    mask = slow_diffusion(adc, brain, SPACING_MM, 0.62, 0.1)
    assert mask[large].all()
    assert not mask[small].any()


def test_the_same_mask_comes_of_a_map_in_any_unit_wherever_the_cohort_has_it(tmp_path: Path) -> None:
    masks = []
    for unit in (1e-3, 1.0, 1e3):
        root = trees.isles2022(tmp_path / str(unit))
        cohort = read_cohort(root)
        case = cohort.cases[0]
        adc = trees.brain(1)
        adc[3:6, 3:6, 2:4] = 0.5
        trees.write(case.images["ADC"], (adc * unit).astype(np.float32))
        cached = open_entry(case, build_cache([case], cohort.images, tmp_path / "cache")[0])
        method = ADCThreshold()
        method.trainer = SimpleNamespace(datamodule=SimpleNamespace(cohort=cohort))  # type: ignore[assignment]
        method.setup("predict")
        image = torch.from_numpy(np.array(cached.image.swapaxes(0, 1)))
        batch = {"image": image, "brain": torch.from_numpy(np.array(cached.brain)), "spacing_mm": cached.spacing_mm}
        masks.append(method.rule(batch).numpy().transpose(2, 1, 0))
    assert masks[1][3:6, 3:6, 2:4].all()
    assert masks[1].sum() == 18
    assert all((mask == masks[1]).all() for mask in masks)


def test_the_config_holds_the_published_threshold_and_needs_the_map() -> None:
    config = yaml.safe_load((Path(__file__).parents[4] / "configs" / "methods" / "adc_threshold.yaml").read_text())
    assert ADCThreshold(**config["model"]["init_args"]).below == pytest.approx(620e-6 * 1e3)  # mm2/s to um2/ms
    assert config["needs"] == list(ADCThreshold.maps) == ["ADC"]


@pytest.mark.parametrize("wrong", [{"below": 0.0}, {"below": float("nan")}, {"smallest_ml": -1.0}])
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="correct the config"):
        ADCThreshold(**wrong)
