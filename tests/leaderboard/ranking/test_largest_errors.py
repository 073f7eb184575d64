from __future__ import annotations

import numpy as np
import pytest

from leaderboard.ranking import largest_errors
from leaderboard.ranking.largest_errors import LargestErrors


def challenge(seed: int, closeness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, resampled scores and standard errors of some methods, every third one almost a copy of another."""
    rng = np.random.default_rng(seed)
    methods, units, resamples = int(rng.integers(2, 25)), int(rng.integers(5, 40)), int(rng.integers(40, 700))
    values = rng.random((methods, units)) * 10.0 ** rng.integers(-9, 9)
    values[::3] = values[0] + closeness * values[::3]
    counts = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
    errors = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2)) / units
    errors[errors == 0] = np.inf
    return values.mean(axis=1), values @ counts.T / units, errors


def brute_force(
    estimates: np.ndarray, resampled: np.ndarray, errors: np.ndarray, up: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """The largest error of each resample, all of them in double precision."""
    largest = np.full(resampled.shape[1], -np.inf)
    for method in range(len(estimates)):
        for rival in range(len(estimates)):
            lead = estimates[rival] - estimates[method]
            found = ((resampled[rival] - resampled[method]) - lead) / errors[method, rival]
            if up[method, rival]:
                largest = np.maximum(largest, found)
            if down[method, rival]:
                largest = np.maximum(largest, -found)
    return largest


@pytest.mark.parametrize("closeness", [1.0, 1e-3, 1e-7, 1e-12])
@pytest.mark.parametrize("seed", range(4))
def test_the_quantile_is_that_of_double_precision_to_the_bit_while_fewer_and_fewer_pairs_count(
    seed: int, closeness: float
) -> None:
    given = challenge(seed, closeness)
    count, resamples = given[1].shape
    searched = LargestErrors(*given)
    bounds = searched.bounds.copy()
    rng = np.random.default_rng(seed)
    up, down = np.isfinite(given[2]), np.isfinite(given[2])
    for turn in range(6):
        expected = np.sort(brute_force(*given, up, down))
        for place in (int(np.ceil(0.95 * resamples)), resamples):
            assert searched.quantile(np.arange(count), up, down, bounds, place) == expected[place - 1]
            if turn == 0:
                fresh = searched.quantile(np.arange(count), up, down, searched.bounds.copy(), place, fresh=True)
                assert fresh == expected[place - 1]
        up, down = (counting & (rng.random(counting.shape) < 0.5) for counting in (up, down))


@pytest.mark.parametrize("together", [1, 7, 64, 10**6])
def test_bounds_of_all_pairs_hold_and_do_not_depend_on_the_parts(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    given = challenge(7, 1e-7)
    every = np.isfinite(given[2])
    whole = LargestErrors(*given).bounds
    assert (whole.max(axis=0) >= brute_force(*given, every, every)).all()
    monkeypatch.setattr(largest_errors, "_WIDE", together)
    monkeypatch.setattr(largest_errors, "_CHUNK", 1)
    assert LargestErrors(*given).bounds.tobytes() == whole.tobytes()


def test_where_no_pair_counts_the_quantile_is_minus_infinity() -> None:
    given = challenge(1, 1.0)
    none = np.zeros(given[2].shape, dtype=bool)
    searched = LargestErrors(*given)
    assert searched.quantile(np.arange(len(none)), none, none, searched.bounds.copy(), 30) == -np.inf


def test_progress_is_told_up_to_the_last_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest_errors, "_WIDE", 5)
    monkeypatch.setattr(largest_errors, "_CHUNK", 1)
    told: list[tuple[int, int]] = []
    given = challenge(2, 1.0)
    count, resamples = given[1].shape
    LargestErrors(*given, progress=lambda done, total: told.append((done, total)))
    assert len(told) == -(-resamples // 5)
    assert told == sorted(told)
    assert told[-1] == (count, count)
    assert {total for _, total in told} == {count}
