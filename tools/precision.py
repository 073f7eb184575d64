"""What a precision changes in Dice, as a table: the same suite, folds and seed, trained once in each.

    python tools/precision.py FIRST/cases.csv SECOND/cases.csv

Differences (second minus first) are paired by case; their intervals are percentiles of 10,000 resamples of the
patients. How far two trainings of the same precision would lie apart is no part of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.cases import read_cases
from leaderboard.errors import InputError
from leaderboard.ranking.reading import read_matrices
from leaderboard.ranking.resampling import draw
from leaderboard.shell import run_command

#: A Dice that differs by more counts as another segmentation.
NOTABLE = 0.05


def compare(options: argparse.Namespace) -> int:
    """Print the table: a row for each method that both files hold."""
    first, second = options.first, options.second
    tables = {side: read_cases(path) for side, path in enumerate((first, second))}
    names = [set(table["method"]) for table in tables.values()]
    common = names[0] & names[1]
    if not common:
        raise InputError(
            f"{first} holds {', '.join(sorted(names[0]))}, {second} {', '.join(sorted(names[1]))}: no method in common"
        )
    parts = {side: table[table["method"].isin(common)] for side, table in tables.items()}
    cases = pd.concat([part.assign(method=part["method"] + f"/{side}") for side, part in parts.items()])
    _, matrices = read_matrices(cases)
    drawn = draw(matrices, unit="patient", resamples=10_000, seed=0)
    sizes = drawn.counts @ drawn.sizes
    dice = dict(zip(matrices.methods, matrices.values["dice"], strict=True))
    print(f"| method | Dice, first | Dice, second | difference, 95 % interval | cases that differ by > {NOTABLE} |")
    print("|---|---:|---:|---:|---:|")
    for method in sorted(common, key=lambda name: -float(dice[f"{name}/1"].mean())):
        before, after = dice[f"{method}/0"], dice[f"{method}/1"]
        change = after - before
        sums = np.bincount(drawn.unit_of_case, weights=change, minlength=drawn.units)
        low, high = np.percentile(drawn.counts @ sums / sizes, [2.5, 97.5])
        means = f"{before.mean():.3f} | {after.mean():.3f} | {change.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"| `{method}` | {means} | {(np.abs(change) > NOTABLE).sum()} of {len(change)} |")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="cases.csv of the suite in one precision")
    parser.add_argument("second", type=Path, help="in the other")
    parser.set_defaults(command=compare)
    sys.exit(run_command("precision.py", parser.parse_args))
