"""Patients of unequal size assigned to folds of equal size.

A draft of our own, not scikit-learn's StratifiedGroupKFold: that one needs classes where we have volumes, promises
nothing about the folds' sizes, and a new version may split otherwise, which would change every published number.

1. Order: patients with most cases first, among these the heaviest first (weight: lesion volume, or slices where volumes
   are unknown). Large pieces are hard to place late.
2. The order is cut into runs of K patients, for K folds. Within a run the seed shuffles.
3. Each patient goes to the fold with the fewest cases; among equals to the one with the least weight.
4. Two patients of one run with equally many cases change places while that brings their folds' weights closer.

The folds' numbers of cases differ by no more than one patient's cases (step 3); every fold gets small and large
lesions, as each run of patients of like weight is spread over the folds (steps 2 and 3); and the weights differ little
(step 4). Only additions, comparisons and SHA-256 are used, so every machine assigns alike.

With strata (centres), the steps are taken stratum by stratum, and step 3 looks at the cases of the stratum first and
then at all cases: so each stratum is spread evenly over the folds, and what is left over of one is made up by the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations

from leaderboard.cohort.names import natural_key

#: Weights are in mL or slices; a gain below this is rounding, not balance.
_LEAST_GAIN = 1e-6


def assign_patients(
    sizes: Mapping[str, tuple[int, float]], folds: int, seed: int, strata: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Assign patients to folds.

    Args:
        sizes: number of cases and weight of each patient, in any order; at least `folds` patients.
        folds: how many.
        seed: shuffles patients of like size.
        strata: the stratum of each patient; None: all are of one.

    Returns:
        The fold (0 to `folds` - 1) of each patient.
    """
    order = sorted(sizes, key=lambda patient: (-sizes[patient][0], -sizes[patient][1], natural_key(patient), patient))
    parts: dict[str, list[str]] = {}
    for patient in order:
        parts.setdefault(strata[patient] if strata else "", []).append(patient)
    counts, weights = [0] * folds, [0.0] * folds
    fold_of: dict[str, int] = {}
    runs: list[list[str]] = []
    for stratum in sorted(parts, key=lambda name: (natural_key(name), name)):
        own, part = [0] * folds, parts[stratum]
        for start in range(0, len(part), folds):
            runs.append(sorted(part[start : start + folds], key=lambda patient: _draw(seed, patient)))
            for patient in runs[-1]:
                fold = min(range(folds), key=lambda fold: (own[fold], counts[fold], weights[fold], fold))
                fold_of[patient] = fold
                own[fold] += sizes[patient][0]
                counts[fold] += sizes[patient][0]
                weights[fold] += sizes[patient][1]
    while any(_improve(run, sizes, fold_of, weights) for run in runs):
        pass
    return fold_of


def _improve(
    run: Sequence[str], sizes: Mapping[str, tuple[int, float]], fold_of: dict[str, int], weights: list[float]
) -> bool:
    """Exchange patients of a run, in place, where that brings two folds' weights closer; whether any was."""
    improved = False
    for one, other in combinations(run, 2):
        left, right = fold_of[one], fold_of[other]
        gap, change = weights[left] - weights[right], sizes[other][1] - sizes[one][1]
        if sizes[one][0] == sizes[other][0] and abs(gap + 2 * change) < abs(gap) - _LEAST_GAIN:
            fold_of[one], fold_of[other] = right, left
            weights[left] += change
            weights[right] -= change
            improved = True
    return improved


def _draw(seed: int, patient: str) -> bytes:
    """A patient's place in a shuffle: the same on every machine, and whoever else is shuffled."""
    return hashlib.sha256(f"{seed}:{patient}".encode()).digest()
