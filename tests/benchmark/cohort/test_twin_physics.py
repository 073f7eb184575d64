"""From true perfusion to maps: against convolution by hand and against known truths."""

import numpy as np
import pytest

from benchmark.cohort.twin.maps import inverse_of, perfusion_maps
from benchmark.cohort.twin.perfusion import TABLE_STEP_S, arterial_input, enhancement

TIMES = np.arange(46.0)
AIF = arterial_input(1.0)[0][np.round(TIMES / TABLE_STEP_S).astype(int)]


def curve(cbf, mtt, delay, vessel=0.0):
    one = np.array([1.0], dtype=np.float32)
    return enhancement(cbf * one, mtt * one, delay * one, vessel * one, TIMES, 1.0)[0]


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


def test_without_truncation_deconvolution_returns_the_residue_function():
    residue = np.zeros(92)
    residue[3:11] = 0.01
    pulse = np.zeros(46)
    pulse[2:6] = [100, 300, 200, 50]
    tissue = np.convolve(pulse, residue)[:46]
    np.testing.assert_allclose(inverse_of(pulse, 1.0, truncation=1e-6) @ tissue, residue, atol=1e-5)


@pytest.mark.parametrize("delay", [0.0, 2.0, 5.0])
@pytest.mark.parametrize(("cbf", "mtt"), [(12.0, 10.0), (15.0, 12.0), (8.0, 14.0)])
def test_noise_free_maps_recover_a_long_box_residue(cbf, mtt, delay):
    maps = perfusion_maps(curve(cbf, mtt, delay)[:, None], AIF, 1.0)
    assert maps.cbv[0] == pytest.approx(cbf * mtt / 60, rel=0.2)
    assert maps.cbf[0] == pytest.approx(cbf, rel=0.3)
    assert maps.mtt_s[0] == pytest.approx(mtt, rel=0.3)
    assert delay <= maps.tmax_s[0] <= delay + mtt


def test_flow_does_not_depend_on_the_delay_and_tmax_follows_it():
    maps = perfusion_maps(np.stack([curve(40.0, 4.0, delay) for delay in (0.0, 2.0, 4.0, 6.0)], axis=1), AIF, 1.0)
    np.testing.assert_allclose(maps.cbf, maps.cbf[0], rtol=0.05)
    np.testing.assert_array_equal(np.diff(maps.tmax_s), 2.0)


def test_maps_are_linear_in_flow_and_blind_to_it_in_time():
    low, high = (perfusion_maps(curve(cbf, 6.0, 1.0)[:, None], AIF, 1.0) for cbf in (10.0, 40.0))
    assert high.cbf[0] == pytest.approx(4 * low.cbf[0], rel=1e-3)
    assert high.cbv[0] == pytest.approx(4 * low.cbv[0], rel=1e-3)
    assert high.mtt_s[0] == pytest.approx(low.mtt_s[0], rel=1e-3)
    assert high.tmax_s[0] == low.tmax_s[0]


def test_a_maximum_late_in_the_scan_counts_as_none():
    late = np.zeros((46, 1), dtype=np.float32)
    late[44] = 50.0
    pulse = np.zeros(46)
    pulse[0] = 100.0
    assert perfusion_maps(late, pulse, 1.0).tmax_s[0] == 0
    assert perfusion_maps(np.roll(late, -20, axis=0), pulse, 1.0).tmax_s[0] == 24
