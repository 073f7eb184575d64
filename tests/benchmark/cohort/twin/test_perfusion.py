"""Enhancement against a convolution by hand."""

import numpy as np
import pytest
from tracer import AIF, TIMES, curve

from benchmark.cohort.twin.perfusion import TABLE_STEP_S, arterial_input


def test_the_arterial_input_is_that_of_the_phantom():
    hu, integral = arterial_input(1.0)
    assert hu[round(19 / TABLE_STEP_S)] == 485
    assert hu[round(7 / TABLE_STEP_S)] == 0
    assert hu[round(18 / TABLE_STEP_S)] == pytest.approx((440 + 485) / 2)
    times = np.arange(1, 50, 2)
    assert integral[round(49 / TABLE_STEP_S)] == pytest.approx(
        np.trapezoid(np.interp(times, times, hu[times * 50]), times)
    )


@pytest.mark.parametrize(("cbf", "mtt", "delay"), [(53, 3.7, 0.0), (25, 4.6, 1.3), (7.5, 13.6, 8.0), (5, 24, 14)])
def test_enhancement_is_the_convolution_of_input_and_box_residue(cbf, mtt, delay):
    step = 0.001
    fine = np.arange(0, 46, step)
    hu = np.interp(fine, np.arange(arterial_input(1.0)[0].size) * TABLE_STEP_S, arterial_input(1.0)[0])
    residue = ((fine >= delay) & (fine < delay + mtt)).astype(float)
    size = 2 * fine.size
    expected = np.fft.irfft(np.fft.rfft(hu, size) * np.fft.rfft(residue, size), size)[: fine.size] * step * cbf / 6000
    np.testing.assert_allclose(curve(cbf, mtt, delay), np.interp(TIMES, fine, expected), atol=0.05)


def test_a_vessel_adds_its_share_of_the_delayed_input():
    added = curve(20.0, 5.0, 3.0, vessel=0.25) - curve(20.0, 5.0, 3.0)
    np.testing.assert_allclose(added, 0.25 * np.interp(TIMES - 3.0, TIMES, AIF), rtol=1e-3, atol=1e-2)
