"""Maps from enhancement against known truths."""

import numpy as np
import pytest
from tracer import AIF, curve

from benchmark.cohort.twin.maps import inverse_of, perfusion_maps


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
