"""How often methods are separated from themselves: sets of trainings of one network, ranked as if of two methods.

``python tools/retraining.py CASES.csv`` reads the scores of methods with several training seeds each and prints a table
in markdown: for each method, the means over the cases by seed, their standard deviation, and how many pairs of disjoint
sets of seeds the 95 % sets of ranks tell apart, for sets of one seed and of three. What is told apart is one method, so
each such pair is false.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from leaderboard.cases import read_cases
from leaderboard.columns import METRICS
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods

#: What is compared, one at a time.
COMPARED = ("dice", "avd_ml", "lesion_f1")
#: The number of trainings that each of the two stands for.
SIZES = (1, 3)
RESAMPLES = 1000


def disjoint(seeds: Sequence[int], size: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each pair of sets of so many seeds that share none, once."""
    for first in itertools.combinations(seeds, size):
        for second in itertools.combinations([seed for seed in seeds if seed not in first], size):
            if first < second:
                yield first, second


def two_methods(rows: pd.DataFrame, first: Sequence[int], second: Sequence[int]) -> pd.DataFrame:
    """The rows of one method as those of ``one`` (the first seeds) and ``other`` (the second)."""
    parts = [(name, rows[rows["seed"].isin(seeds)]) for name, seeds in (("one", first), ("other", second))]
    together = pd.concat([part.assign(method=name) for name, part in parts], ignore_index=True)
    return together.drop(columns="seed") if len(first) == 1 else together


def told_apart(cases: pd.DataFrame, metric: str) -> bool:
    """Whether the 95 % sets of ranks of two methods share no rank."""
    options = RankingOptions(scheme="mean-then-rank", metrics=(metric,), resamples=RESAMPLES)
    table = rank_methods(cases, options)
    return bool((table["rank_low"] == table["rank_high"]).all())


def main(path: Path) -> None:
    """Print the table of a cases.csv."""
    cases = read_cases(path)
    print("| method | metric | mean by seed | SD over seeds | one seed each | three seeds each |")
    print("|---|---|---|---:|---:|---:|")
    for method, rows in cases.groupby("method"):
        seeds = sorted(rows["seed"].dropna().astype(int).unique().tolist())
        if not seeds:
            continue
        for metric in COMPARED:
            means = rows.groupby("seed")[metric].mean()
            counts = []
            for size in SIZES:
                pairs = list(disjoint(seeds, size))
                apart = sum(told_apart(two_methods(rows, *pair), metric) for pair in pairs)
                counts.append(f"{apart} of {len(pairs)}")
            shown = ", ".join(f"{mean:.3f}" for mean in means)
            print(f"| `{method}` | {METRICS[metric].heading} | {shown} | {means.std():.4f} | {' | '.join(counts)} |")
            print(f"{method} {metric}: done", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
