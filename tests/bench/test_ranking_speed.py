"""How long ranking takes, and how much memory; targets in the names' comments, never asserted here.

40 methods x 94 cases x 5 metrics with 10,000 resamples in all schemes but test-then-rank: under 5 s on one core, under
1 GB. 1,000 methods x 1,000 cases without uncertainty: under a minute, and with it too.
"""

import resource

import numpy as np
import pandas as pd
import pytest

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.schemes import SCHEMES

pytestmark = pytest.mark.bench


def make_cases(methods, cases):
    random = np.random.default_rng(0)
    count = methods * cases
    reference = random.gamma(1.0, 30.0, cases)
    return pd.DataFrame(
        {
            "method": np.repeat([f"method_{number}" for number in range(methods)], cases),
            "case": np.tile([f"case_{number + 1}" for number in range(cases)], methods),
            # two slabs of every second patient, as in ISLES 2018
            "patient": np.tile([f"P{2 * number // 3}" for number in range(cases)], methods),
            "fold": 0,
            "status": "ok",
            "dice": random.random(count),
            "hausdorff_mm": random.gamma(2.0, 15.0, count),
            "precision": random.random(count),
            "recall": random.random(count),
            "avd_ml": random.gamma(1.0, 10.0, count),
            "reference_ml": np.tile(reference, methods),
            "predicted_ml": random.gamma(1.0, 30.0, count),
        }
    )


def peak_megabytes():
    """Of this process so far, all that was imported and built included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_all_schemes_but_the_tests_with_10000_resamples(benchmark, figure):
    cases = make_cases(40, 94)
    schemes = [scheme for scheme in SCHEMES if scheme != "test-then-rank"]

    def rank():
        return [rank_methods(cases, RankingOptions(scheme=scheme, resamples=10_000)) for scheme in schemes]

    tables = benchmark.pedantic(rank, rounds=3, warmup_rounds=1)
    assert all(table["rank_low"].notna().all() for table in tables)
    figure("ranking 40 methods x 94 cases, 10,000 resamples, 3 schemes [s]", benchmark.stats.stats.median, "<= 5")
    benchmark.extra_info |= {"target_seconds": 5, "peak_megabytes": peak_megabytes(), "target_megabytes": 1024}


@pytest.mark.parametrize("resamples", [0, 10_000])
def test_a_thousand_methods_and_cases(benchmark, figure, resamples):
    cases = make_cases(1000, 1000)
    table = benchmark.pedantic(rank_methods, args=(cases, RankingOptions(resamples=resamples)), rounds=1)
    assert len(table) == 1000
    figure(f"ranking 1,000 methods x 1,000 cases, {resamples:,} resamples [s]", benchmark.stats.stats.median, "<= 60")
    benchmark.extra_info |= {"target_seconds": 60, "peak_megabytes": peak_megabytes()}
