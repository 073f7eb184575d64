from __future__ import annotations

import numpy as np
import pytest

from benchmark.pipeline.intensity import brain_statistics, smooth, strip, zscore


@pytest.fixture
def image() -> np.ndarray:
    """(C, X, Y, Z) CT with bone, air and background, and a map."""
    image = np.random.default_rng(0).normal(30, 5, (2, 6, 6, 2))
    image[0, 0], image[0, 1, 1], image[0, 2, 2] = -23.0, 900.0, -500.0
    return image


@pytest.fixture
def brain() -> np.ndarray:
    """(X, Y, Z), all but the first row."""
    brain = np.ones((6, 6, 2), dtype=bool)
    brain[0] = False
    return brain


def test_the_ct_image_alone_is_clipped_to_soft_tissue_and_zero_outside_the_brain(
    image: np.ndarray, brain: np.ndarray
) -> None:
    before = image.copy()
    stripped = strip(image, brain, ((0.0, 100.0), None))
    assert not stripped[0, 0].any()
    assert (stripped[0, 1, 1] == 100).all()
    assert (stripped[0, 2, 2] == 0).all()
    np.testing.assert_array_equal(stripped[0, 3:], image[0, 3:].astype(np.float32))
    np.testing.assert_array_equal(stripped[1], image[1].astype(np.float32))
    np.testing.assert_array_equal(image, before)


def test_statistics_look_at_the_brain_alone(image: np.ndarray, brain: np.ndarray) -> None:
    mean, sd = brain_statistics(image, brain)
    assert mean == pytest.approx([image[0, 1:].mean(), image[1, 1:].mean()])
    assert sd == pytest.approx([image[0, 1:].std(), image[1, 1:].std()])


def test_a_map_that_is_constant_in_the_brain_does_not_divide_by_zero(image: np.ndarray, brain: np.ndarray) -> None:
    image[1] = 7.0
    mean, sd = brain_statistics(image, brain)
    assert sd[1] == pytest.approx(1e-3)
    assert (zscore(image, mean, sd)[1] == 0).all()


def test_z_scores_have_mean_0_and_sd_1_in_the_brain_and_the_background_keeps_its_distance(
    image: np.ndarray, brain: np.ndarray
) -> None:
    stripped = strip(image, brain, ((0.0, 100.0), None))
    mean, sd = brain_statistics(stripped, brain)
    scored = zscore(stripped, mean, sd)
    assert scored[:, brain].mean(axis=1) == pytest.approx([0, 0], abs=1e-5)
    assert scored[:, brain].std(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (scored[0, 0] == np.float32(-mean[0] / sd[0])).all()


def test_smoothing_keeps_a_constant_up_to_the_masks_edge_and_takes_nothing_from_outside() -> None:
    brain = np.zeros((2, 30, 40), dtype=bool)
    brain[:, 5:20, 10:35] = True
    values = np.where(brain, 7.0, 1e6)
    np.testing.assert_allclose(smooth(values, brain, 2.0, (0.9, 1.1, 6.0))[brain], 7.0)


def test_smoothing_has_the_width_asked_for_in_mm_along_both_axes() -> None:
    point = np.zeros((1, 81, 81))
    point[0, 40, 40] = 1
    spread = smooth(point, np.ones_like(point, dtype=bool), 5 / 2.3548, (0.5, 1.0, 6.0))[0]
    assert spread[40, 45] == pytest.approx(spread[40, 40] / 2, rel=0.02)  # 2.5 mm along x is half the FWHM
    assert np.sqrt(spread[40, 43] * spread[40, 42]) > spread[43, 40]
    assert spread[42, 40] > spread[40, 40] / 2 > spread[43, 40]
