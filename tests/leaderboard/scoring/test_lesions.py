"""Lesions matched by overlap: as panoptica matches them, and worked out by hand."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from leaderboard.scoring.lesions import lesions

#: Written by tools/peers/matched_lesions.py.
PANOPTICA = json.loads(Path(__file__).with_name("panoptica.json").read_text(encoding="utf-8"))


def unpacked(digits: str, shape: list[int]) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8))
    return bits[: math.prod(shape)].reshape(shape).astype(bool)


def line(*runs: tuple[int, int]) -> np.ndarray:
    """A mask of voxels along X, each run from its first voxel to before its last."""
    mask = np.zeros((40, 1, 1), bool)
    for start, stop in runs:
        mask[start:stop] = True
    return mask


@pytest.mark.parametrize("name", ["lesion_f1_iou20", "lesion_f1_iou25"])
def test_scores_and_counts_are_panopticas(name: str) -> None:
    matched = 0
    for entry in PANOPTICA["pairs"]:
        reference, prediction = (unpacked(entry[mask], entry["shape"]) for mask in ("reference", "prediction"))
        found, theirs = lesions(prediction, reference, 1.0), entry[name]
        assert found["reference_lesions"] == theirs["present"]
        assert found["predicted_lesions"] == theirs["predicted"]
        if not theirs["present"] and not theirs["predicted"]:
            assert math.isnan(found[name])
        else:
            assert found[name] == pytest.approx(theirs["f1"] or 0, rel=1e-12)
            matched += 0 < found[name] < 1
    assert matched > 80


def test_the_largest_overlap_is_matched_first_and_each_lesion_once() -> None:
    # the reference 0-10 meets 0-4 (0.4) and 6-10 (0.4, later); 20-30 meets 20-22 (0.2)
    reference, prediction = line((0, 10), (20, 30)), line((0, 4), (6, 10), (20, 22))
    found = lesions(prediction, reference, 1.0)
    assert found["lesion_f1_iou20"] == 2 * 2 / 5
    assert found["lesion_f1_iou25"] == 2 * 1 / 5
    assert found["lesion_f1"] == 1


def test_a_prediction_that_bridges_two_lesions_is_matched_with_one() -> None:
    found = lesions(line((0, 20)), line((0, 8), (9, 20)), 1.0)
    assert found["lesion_f1_iou20"] == found["lesion_f1_iou25"] == 2 * 1 / 3
    assert found["lesion_f1"] == 1


def test_a_prediction_of_the_whole_volume_finds_all_by_touch_and_none_by_overlap() -> None:
    reference = line((0, 2), (10, 12), (20, 22))
    found = lesions(np.ones_like(reference), reference, 1.0)
    assert (found["lesion_f1"], found["lesion_f1_iou20"]) == (1, 0)


def test_an_overlap_of_exactly_the_threshold_is_a_match() -> None:
    assert lesions(line((0, 1)), line((0, 5)), 1.0)["lesion_f1_iou20"] == 1
    assert lesions(line((0, 1)), line((0, 6)), 1.0)["lesion_f1_iou20"] == 0
    assert lesions(line((0, 1)), line((0, 4)), 1.0)["lesion_f1_iou25"] == 1


def test_lesions_touch_over_corners_and_count_apart_over_faces() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = mask[3, 3, 2] = True
    found = lesions(np.zeros_like(mask), mask, 1.0)
    assert (found["reference_lesions"], found["reference_lesions_6"]) == (2, 3)
    assert (found["lesion_count_difference"], found["lesion_count_difference_6"]) == (2, 3)


def test_recall_is_counted_by_size_with_limits_in_the_larger_range() -> None:
    reference = line((0, 9), (10, 20), (22, 23), (30, 31))
    found = lesions(line((0, 1), (12, 13), (30, 31)), reference, 1.0)
    assert math.isnan(found["lesion_recall_below_1ml"])
    assert found["lesion_recall_1_to_10ml"] == 2 / 3
    assert found["lesion_recall_from_10ml"] == 1
    assert lesions(line((0, 1)), reference, 0.5)["lesion_recall_below_1ml"] == 0


def test_runs_of_any_direction_are_counted() -> None:
    random = np.random.default_rng(8)
    masks = random.random((2, 7, 6, 5)) < 0.3
    expected = lesions(*masks, 1.0)
    for axes in permutations(range(3)):
        found = lesions(*[np.array(mask.transpose(axes)) for mask in masks], 1.0)
        assert {name: found[name] for name in ("lesion_f1", "reference_lesions", "reference_lesions_6")} == {
            name: expected[name] for name in ("lesion_f1", "reference_lesions", "reference_lesions_6")
        }
