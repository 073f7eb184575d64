"""Lesions of two masks, and which of them meet: counts, lesion-wise F1 scores, recall by size. Pure functions.

Each mask is labelled once. What both labellings say is kept by runs: voxels that follow each other along X and belong
to both masks belong to one lesion of either, so that pairs of lesions are counted without both labellings at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from leaderboard.scoring.surface import LARGE_BOX

#: Overlaps (intersection over union) from which a predicted and a reference lesion may be a pair, by column.
MATCHED_FROM = {"lesion_f1_iou20": 0.20, "lesion_f1_iou25": 0.25}
#: Reference lesions below each volume in mL, and not below the one before, by column: emboli, small, large lesions.
SIZES_ML = {"lesion_recall_below_1ml": 1.0, "lesion_recall_1_to_10ml": 10.0, "lesion_recall_from_10ml": math.inf}


@dataclass(frozen=True)
class Lesions:
    """The lesions of a mask, numbered from 0 as they are met with X running fastest, then Y, then Z."""

    voxels: np.ndarray  #: of each, shape (lesions,)
    runs: np.ndarray  #: the number of the lesion of each run of common voxels, shape (runs,)

    @property
    def touched(self) -> np.ndarray:
        """Which lesions share a voxel with the other mask, shape (lesions,)."""
        return np.bincount(self.runs, minlength=len(self.voxels)) > 0


def lesions(prediction: np.ndarray, reference: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """All that is counted of lesions; NaN where it is undefined.

    Args:
        prediction: boolean mask, shape (X, Y, Z).
        reference: boolean mask, same shape.
        voxel_ml: volume of a voxel in mL.

    Returns:
        ``reference_lesions``, ``predicted_lesions``, ``lesion_count_difference``; ``lesion_f1``, ``lesion_f1_iou20``
        and ``lesion_f1_iou25`` (in [0, 1], undefined if both masks are empty); the columns of `SIZES_ML` (in [0, 1],
        undefined if the reference has no lesion of that size); ``reference_lesions_6`` and
        ``lesion_count_difference_6``, which count lesions over faces alone.
    """
    starts, common = _runs(prediction, reference)
    of_prediction, of_reference = (_lesions(mask, starts) for mask in (prediction, reference))
    predicted, present = len(of_prediction.voxels), len(of_reference.voxels)
    by_face = [_count_by_face(mask) for mask in (prediction, reference)]
    overlaps = matched_overlaps(of_prediction, of_reference, common)
    return {
        "reference_lesions": float(present),
        "predicted_lesions": float(predicted),
        "lesion_count_difference": float(abs(predicted - present)),
        "lesion_f1": f1_by_touch(of_prediction, of_reference),
        **{
            name: 2 * int((overlaps >= least).sum()) / (predicted + present) if predicted + present else math.nan
            for name, least in MATCHED_FROM.items()
        },
        **recall_by_size(of_reference, voxel_ml),
        "reference_lesions_6": float(by_face[1]),
        "lesion_count_difference_6": float(abs(by_face[0] - by_face[1])),
    }


def f1_by_touch(prediction: Lesions, reference: Lesions) -> float:
    """The lesion-wise F1 score of ISLES 2022: one voxel is enough; NaN if neither mask has a lesion.

    A reference lesion is found if the prediction touches a voxel of it, a predicted lesion is false if it touches no
    reference voxel: F1 = found / (found + (false + missed) / 2). A prediction of the whole volume finds every lesion
    and is not false, so its score is 1.
    """
    found, false = int(reference.touched.sum()), int((~prediction.touched).sum())
    weight = found + (false + len(reference.voxels) - found) / 2
    return found / weight if weight else math.nan


def matched_overlaps(prediction: Lesions, reference: Lesions, common: np.ndarray) -> np.ndarray:
    """The intersection over union of each matched pair of lesions, in falling order.

    Pairs are matched one to one, the largest overlap first, as panoptica's ``NaiveThresholdMatching`` does, which the
    organisers of ISLES 2024 and 2026 call; among equal overlaps the first predicted lesion comes first, then the first
    reference lesion. A pair that is not matched for a larger one is none, so that the matches from an overlap upwards
    are those of that threshold.

    Args:
        prediction: its lesions.
        reference: its lesions.
        common: voxels of each run that both masks have, shape (runs,).
    """
    if not common.size:
        return np.zeros(0)
    pairs, run_of = np.unique(prediction.runs * len(reference.voxels) + reference.runs, return_inverse=True)
    both = np.bincount(run_of, weights=common)
    first, second = np.divmod(pairs, len(reference.voxels))
    overlap = both / (prediction.voxels[first] + reference.voxels[second] - both)
    taken: tuple[set[int], set[int]] = set(), set()
    matched = []
    for pair in np.argsort(-overlap, kind="stable"):
        a, b = int(first[pair]), int(second[pair])
        if a not in taken[0] and b not in taken[1]:
            taken[0].add(a)
            taken[1].add(b)
            matched.append(overlap[pair])
    return np.array(matched)


def recall_by_size(reference: Lesions, voxel_ml: float) -> dict[str, float]:
    """Share of the reference lesions of each range of `SIZES_ML` that share a voxel with the prediction."""
    volumes, touched = reference.voxels * voxel_ml, reference.touched
    result, least = {}, 0.0
    for name, most in SIZES_ML.items():
        chosen = (volumes >= least) & (volumes < most)
        result[name] = float(touched[chosen].mean()) if chosen.any() else math.nan
        least = most
    return result


def _lines(mask: np.ndarray) -> np.ndarray:
    """A view of a mask (X, Y, Z) as (Z, Y, X)."""
    return mask.transpose(2, 1, 0)


def _runs(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of voxels along X that both masks have: where each begins, as (Z, Y, X), shape (3, runs), and its length."""
    first, second = _lines(prediction), _lines(reference)
    starts, lengths = [np.zeros((3, 0), dtype=int)], [np.zeros(0, dtype=int)]
    _, rows, width = first.shape
    together = max(LARGE_BOX // (rows * width), 1)
    for start in range(0, len(first), together):
        part = slice(start, start + together)
        both = (first[part] & second[part]).reshape(-1, width)
        changes = np.zeros((len(both), width + 1), dtype=bool)
        changes[:, :-1] = both
        changes[:, 1:] ^= both
        ends = np.flatnonzero(changes)
        lines, places = np.divmod(ends[::2], width + 1)
        starts.append(np.stack([start + lines // rows, lines % rows, places]))
        lengths.append(ends[1::2] - ends[::2])
    return np.concatenate(starts, axis=1), np.concatenate(lengths)


def _lesions(mask: np.ndarray, starts: np.ndarray) -> Lesions:
    """The lesions of a mask, connected over faces, edges and corners (26 neighbours), and which are at some voxels."""
    mask, before = _within_bounds(_lines(mask))
    labels, count = ndimage.label(mask, np.ones((3, 3, 3), dtype=bool))
    voxels = np.zeros(count + 1, dtype=int)
    together = max(LARGE_BOX // max(math.prod(mask.shape[1:]), 1), 1)
    for start in range(0, len(mask), together):
        part = slice(start, start + together)
        voxels += np.bincount(labels[part][mask[part]], minlength=count + 1)
    return Lesions(voxels[1:], labels[tuple(starts - before[:, None])].astype(int) - 1)


def _count_by_face(mask: np.ndarray) -> int:
    """How many parts a mask has that are connected over faces alone."""
    return int(ndimage.label(_within_bounds(_lines(mask))[0])[1])


def _within_bounds(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a mask between its first and last voxels, contiguous, and where that begins, shape (3,)."""
    hits = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not hits[0].size:
        return np.zeros((0, 0, 0), dtype=bool), np.zeros(3, dtype=int)
    box = tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return np.ascontiguousarray(mask[box]), np.array([side.start for side in box])
