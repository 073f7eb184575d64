"""Sets of trainings of one method, ranked as if of two."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scripts import script

from leaderboard.cases import cases_frame


@pytest.fixture(scope="module")
def retraining():
    with script("retraining") as module:
        yield module


@pytest.mark.parametrize("size", [1, 3])
def test_each_pair_of_sets_that_share_no_seed_comes_once(retraining, size):
    pairs = list(retraining.disjoint(range(8), size))
    assert len({frozenset(map(frozenset, pair)) for pair in pairs}) == len(pairs)
    assert len(pairs) == comb(8, size) * comb(8 - size, size) // 2
    assert not any(set(first) & set(second) for first, second in pairs)


def scores(shift):
    """Four trainings on thirty patients; the last two are better by `shift`."""
    random = np.random.default_rng(0)
    return cases_frame(
        [
            {
                "method": "m", "case": f"case_{k}", "patient": f"P{k}", "fold": 0, "status": "ok", "seed": seed,
                "dice": float(value), "reference_ml": 1.0,
            }
            for seed in range(4)
            for k, value in enumerate(0.4 + shift * (seed > 1) + 0.01 * random.random(30))
        ]
    )  # fmt: skip


@pytest.mark.parametrize(("shift", "apart"), [(0.0, False), (0.3, True)])
def test_trainings_that_differ_are_told_apart_and_like_ones_are_not(retraining, shift, apart):
    assert retraining.told_apart(retraining.two_methods(scores(shift), (0, 1), (2, 3)), "dice") is apart
