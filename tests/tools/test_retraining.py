"""Sets of trainings of one method, ranked as if of two."""

from __future__ import annotations

import importlib.util
from math import comb
from pathlib import Path

import numpy as np
import pytest

from leaderboard.cases import cases_frame

SCRIPT = Path(__file__).parents[2] / "tools/retraining.py"


@pytest.fixture(scope="module")
def retraining():
    if not SCRIPT.is_file():
        pytest.skip("not a checkout: there is no tools/")
    spec = importlib.util.spec_from_file_location("retraining", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
