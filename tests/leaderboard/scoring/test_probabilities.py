"""Areas under precision over recall, Brier scores and calibration errors against plain loops and scikit-learn."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from leaderboard.scoring import probabilities
from leaderboard.scoring.probabilities import BINS, brier, calibration_error, measure_map, pr_auc

#: Values of a few levels have many ties, those of many levels next to none.
LEVELS = (1, 2, 5, 1000)


def curve(scores: list[float], lesion: list[bool]) -> list[tuple[float, float]]:
    """(recall, precision) at every distinct value as a threshold, from (0, 1) on."""
    points = [(0.0, 1.0)]
    for threshold in sorted(set(scores), reverse=True):
        taken = [hit for score, hit in zip(scores, lesion, strict=True) if score >= threshold]
        points.append((sum(taken) / sum(lesion), sum(taken) / len(taken)))
    return points


def maps(count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(4)
    found = []
    while len(found) < count:
        shape = tuple(random.integers(1, 5, 3))
        reference = random.random(shape) < random.choice([0.1, 0.5, 1])
        scores = random.integers(0, random.choice(LEVELS) + 1, shape) / 1000
        scores = np.clip(scores + reference * random.choice([0, 0.2]), 0, 1).astype(np.float32)
        if reference.any():
            found.append((scores, reference))
    return found


def test_both_areas_are_those_of_a_loop_over_all_thresholds() -> None:
    for scores, reference in maps():
        points = curve(scores.ravel().tolist(), reference.ravel().tolist())
        steps = sum((x - before) * y for (before, _), (x, y) in pairwise(points))
        slopes = sum((x - b) * (y + h) / 2 for (b, h), (x, y) in pairwise(points))
        assert pr_auc(scores, reference) == pytest.approx(slopes, abs=1e-12)
        assert pr_auc(scores, reference, area="step") == pytest.approx(steps, abs=1e-12)


def test_areas_and_brier_score_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for scores, reference in maps():
        flat, lesion = scores.ravel(), reference.ravel()
        precision, recall, _ = metrics.precision_recall_curve(lesion, flat)
        assert pr_auc(scores, reference) == pytest.approx(metrics.auc(recall, precision), abs=1e-12)
        average = metrics.average_precision_score(lesion, flat)
        assert pr_auc(scores, reference, area="step") == pytest.approx(average, abs=1e-12)
        assert brier(scores, reference) == pytest.approx(np.mean((flat.astype(float) - lesion) ** 2), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "lesion", "trapezoid", "step"),
    [
        ([0.9, 0.1], [1, 0], 1, 1),
        ([0.1, 0.9], [1, 0], 1 / 4, 1 / 2),  # precision 0 at recall 0, then 1/2 at recall 1
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], (1 + 1 / 4) / 2, 1 / 4),  # one threshold: from precision 1 to 1/4
        ([0.9, 0.5, 0.5], [1, 1, 0], 1 / 2 + (1 + 2 / 3) / 4, 1 / 2 + 1 / 3),
        ([0, 0, 0], [1, 1, 1], 1, 1),
    ],
)
def test_areas_worked_out_by_hand(scores, lesion, trapezoid, step) -> None:
    scores, lesion = np.array(scores, np.float32), np.array(lesion, bool)
    assert pr_auc(scores, lesion) == pytest.approx(trapezoid, abs=1e-15)
    assert pr_auc(scores, lesion, area="step") == pytest.approx(step, abs=1e-15)


@pytest.mark.parametrize(("scores", "constant"), [([0, 0, 0], 1), ([0.3, 0.3, 0.3], 1), ([0, 0, 1e-3], 0)])
def test_an_empty_reference_has_both_readings(scores, constant) -> None:
    scores, empty = np.array(scores, np.float32), np.zeros(3, bool)
    assert pr_auc(scores, empty) == constant
    assert math.isnan(pr_auc(scores, empty, empty="undefined"))
    found = measure_map(scores, empty)
    assert (found["pr_auc"], math.isnan(found["average_precision"])) == (constant, True)


def test_the_calibration_error_is_that_of_voxels_put_into_bins_one_by_one() -> None:
    for scores, reference in maps():
        bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
        limits = [np.float32(number / BINS) for number in range(1, BINS)]
        for score, lesion in zip(scores.ravel(), reference.ravel(), strict=True):
            bins[sum(score > limit for limit in limits)].append((float(score), bool(lesion)))
        error = 0.0
        for held in filter(None, bins):
            mean, share = (sum(values) / len(held) for values in zip(*held, strict=True))
            error += abs(mean - share) * len(held) / scores.size
        assert calibration_error(scores, reference) == pytest.approx(error, abs=1e-9)


def test_parts_memory_order_and_type_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for scores, reference in maps(10):
        whole = measure_map(scores, reference)
        with monkeypatch.context() as patch:
            patch.setattr(probabilities, "_TOGETHER", 3)
            assert measure_map(scores, reference) == pytest.approx(whole, rel=1e-12)
        turned = measure_map(np.asfortranarray(scores), np.asfortranarray(reference).astype(np.uint8))
        assert turned == pytest.approx(whole, rel=1e-12)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        brier(np.zeros((2, 3)), np.zeros((3, 2)))
