"""How good the probabilities of a map are, from a map and a reference: pure functions on arrays.

All voxels of the volume count, background included. So Brier scores and calibration errors are small numbers, which
compare methods on the same cases and mean little by themselves; the area under precision over recall does not depend on
how much background surrounds a lesion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

#: Bins of equal width of the calibration error, as in Guo et al., ICML 2017.
BINS = 15
#: What an area is where the reference is empty: ``constant`` is the code of ISLES 2026 (1 for a map of one value, else
#: 0), ``undefined`` its design document (NaN: the case does not count).
EmptyReading = Literal["constant", "undefined"]
#: How an area is taken between two thresholds: ``trapezoid`` is the code of ISLES 2026 (scikit-learn's
#: ``auc(recall, precision)``), ``step`` is average precision (scikit-learn's ``average_precision_score``).
Area = Literal["trapezoid", "step"]
#: Voxels worked on in one go.
_TOGETHER = 1 << 18


def measure_map(probabilities: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Every metric of a case's probability map.

    Args:
        probabilities: of lesion, shape (X, Y, Z), in [0, 1].
        reference: the ground truth, same shape, nonzero is lesion.

    Returns:
        ``pr_auc``; ``average_precision``, NaN if the reference is empty; ``brier``; ``calibration_error``; each in
        [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    return {
        "pr_auc": pr_auc(probabilities, reference),
        "average_precision": pr_auc(probabilities, reference, empty="undefined", area="step"),
        "brier": brier(probabilities, reference),
        "calibration_error": calibration_error(probabilities, reference),
    }


def pr_auc(
    probabilities: np.ndarray,
    reference: np.ndarray,
    *,
    empty: EmptyReading = "constant",
    area: Area = "trapezoid",
) -> float:
    """The area under precision over recall, exactly, in [0, 1].

    The curve has a point for each distinct value as a threshold (lesion from there upwards), and begins at recall 0
    with precision 1. Below the smallest value of a lesion voxel recall is 1 and no area is added: only lesion voxels
    and background voxels from that value upwards are sorted, the few that matter. Equal values are one threshold.
    Values are compared as 32-bit floats, as the code of ISLES 2026 does.

    Args:
        probabilities: shape (X, Y, Z) or any other; only the order of the values matters.
        reference: same shape, nonzero is lesion.
        empty: what it is where the reference is empty.
        area: how it is taken between two points.

    Raises:
        ValueError: the shapes differ.
    """
    scores, lesion = _flat(probabilities, reference)
    positive = np.sort(scores[lesion])
    if not positive.size:
        return math.nan if empty == "undefined" else float(scores.size == 0 or bool((scores == scores[0]).all()))
    negative = np.sort(scores[~lesion & (scores >= positive[0])])
    thresholds = np.unique(positive)
    # lesion and background voxels from each threshold upwards, and from the next larger value upwards
    found, found_before = (len(positive) - np.searchsorted(positive, thresholds, side) for side in ("left", "right"))
    false, false_before = (len(negative) - np.searchsorted(negative, thresholds, side) for side in ("left", "right"))
    precision = found / (found + false)
    if area == "trapezoid":
        before = found_before + false_before
        precision = (precision + np.where(before > 0, found_before / np.maximum(before, 1), 1.0)) / 2
    return math.fsum((precision * (found - found_before)).tolist()) / len(positive)


def brier(probabilities: np.ndarray, reference: np.ndarray) -> float:
    """Mean over all voxels of the squared difference between probability and truth (Brier 1950), in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    scores, lesion = _flat(probabilities, reference)
    sums = [float(np.square(scores[part].astype(float) - lesion[part]).sum()) for part in _parts(scores.size)]
    return math.fsum(sums) / scores.size


def calibration_error(probabilities: np.ndarray, reference: np.ndarray) -> float:
    """Expected calibration error over all voxels (Naeini et al., AAAI 2015; Guo et al., ICML 2017), in [0, 1].

    Voxels are put into 15 bins of equal width, each with its upper limit, the first with 0 as well. A bin's error is
    the difference between its mean probability and its share of lesion; the mean over the bins is weighted by voxels.

    Raises:
        ValueError: the shapes differ.
    """
    scores, lesion = _flat(probabilities, reference)
    limits = (np.arange(1, BINS) / BINS).astype(np.float32)
    surplus = np.zeros(BINS)  # of probability over lesion voxels
    for part in _parts(scores.size):
        bins = np.searchsorted(limits, scores[part], side="left")
        surplus += np.bincount(bins, weights=scores[part], minlength=BINS)
        surplus -= np.bincount(bins[lesion[part]], minlength=BINS)
    return float(np.abs(surplus).sum() / scores.size)


def _parts(voxels: int) -> Iterator[slice]:
    """Slices of a flat array that are worked on one after the other."""
    return (slice(start, start + _TOGETHER) for start in range(0, voxels, _TOGETHER))


def _flat(probabilities: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values as 32-bit floats, and which are of lesion voxels, in the same order."""
    if probabilities.shape != reference.shape:
        raise ValueError(f"shapes differ: {probabilities.shape} and {reference.shape}")
    order: Literal["C", "F"] = "F" if reference.flags.f_contiguous else "C"
    scores = np.asarray(probabilities, dtype=np.float32).ravel(order)
    return scores, reference.astype(bool, copy=False).ravel(order)
