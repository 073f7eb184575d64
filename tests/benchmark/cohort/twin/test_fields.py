"""Random fields and filters: against their definition and against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from benchmark.cohort.twin.fields import (
    Field,
    bisect,
    blur,
    correlated_noise,
    gaussian_matrix,
    smoothstep,
    spline_basis,
)


def test_spline_weights_sum_to_one_and_reproduce_a_line():
    positions = np.linspace(-149, 149, 301)
    basis = spline_basis(positions, 7.3)
    lattice = -150 + 7.3 * (np.arange(basis.shape[1]) - 1)
    np.testing.assert_allclose(basis.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(basis @ lattice, positions, atol=1e-3)


@pytest.mark.parametrize("kernel_sd_mm", [4.0, 9.0])
def test_a_field_has_unit_variance_and_the_correlation_of_filtered_white_noise(kernel_sd_mm):
    axis = np.arange(-140, 140, kernel_sd_mm / 2)
    values = Field(np.random.default_rng(0), kernel_sd_mm).on_grid(axis, axis, axis)
    assert values.mean() == pytest.approx(0, abs=0.1)
    assert values.std() == pytest.approx(1, abs=0.05)
    for steps in (1, 2, 4):
        correlation = np.mean(values[:, steps:] * values[:, :-steps]) / values.var()
        assert correlation == pytest.approx(np.exp(-((steps / 2) ** 2) / 4), abs=0.06)


def test_a_field_has_one_value_at_a_place_whatever_the_grid():
    field = Field(np.random.default_rng(1), 6.0)
    coarse, fine = np.arange(-60, 61, 6.0), np.arange(-60, 61, 2.0)
    np.testing.assert_allclose(
        field.on_grid(coarse, coarse, coarse), field.on_grid(fine, fine, fine)[::3, ::3, ::3], atol=1e-5
    )


def test_noise_images_are_independent_and_correlate_as_after_a_gaussian_filter():
    axis = np.arange(-120, 120, 1.0)
    images = correlated_noise(np.random.default_rng(2), axis, axis, 8, 2.0)
    white = np.random.default_rng(3).standard_normal((8, 300, 300))
    filtered = ndimage.gaussian_filter(white, (0, 2.0, 2.0))[:, 30:-30, 30:-30]
    assert images.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.05
    for steps in (1, 3, 5):
        ours, theirs = (np.mean(x[:, steps:] * x[:, :-steps]) / x.var() for x in (images, filtered))
        assert ours == pytest.approx(theirs, abs=0.05)


@pytest.mark.parametrize("sd", [0.4, 1.3, 5.0])
def test_the_gaussian_matrix_filters_as_scipy_does(sd):
    signal = np.random.default_rng(4).standard_normal(60)
    expected = ndimage.gaussian_filter1d(signal, sd, mode="constant", truncate=6)
    np.testing.assert_allclose(gaussian_matrix(60, sd) @ signal, expected, atol=2e-3)


def test_blur_without_width_changes_nothing():
    image = np.random.default_rng(5).standard_normal((2, 8, 9)).astype(np.float32)
    np.testing.assert_array_equal(blur(image, (1.0, 1.0), 0.0), image)


def test_smoothstep_is_a_ramp_from_zero_to_one():
    np.testing.assert_allclose(smoothstep(np.array([-1, 0, 0.25, 0.5, 1, 3])), [0, 0, 0.15625, 0.5, 1, 1])


def test_bisection_reaches_the_volume_asked_for():
    values = np.random.default_rng(6).standard_normal(100_000)
    threshold = bisect(lambda level: float((values < level).sum()), 30_000, -10, 10)
    assert (values < threshold).sum() == pytest.approx(30_000, abs=2)
