"""Two masks and a spacing to numbers. Pure functions over arrays; medpy does the measuring.

medpy is called on both masks cropped to their joint bounding box plus one voxel. Its metrics depend on the foreground
alone, and its erosion takes what lies outside an array for background, so the values are equal and the distance
transforms many times smaller. medpy raises or divides by zero on empty masks: these are decided here, before any call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from medpy.metric import binary
from scipy import ndimage

#: An infarct core of this size or more excludes from thrombectomy in DEFUSE 3 (Albers et al., NEJM 2018).
LARGE_CORE_ML = 70.0


def measure(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every metric of one case; NaN where a metric is undefined.

    Args:
        prediction: the predicted mask, shape (X, Y, Z), nonzero is lesion.
        reference: the ground truth, same shape.
        spacing_mm: size of a voxel along each axis.

    Returns:
        ``dice``, ``precision``, ``recall``, ``lesion_f1`` in [0, 1]; ``hausdorff_mm``, ``hd95_mm``, ``assd_mm``;
        ``avd_ml``, ``reference_ml``, ``predicted_ml``, ``volume_difference_ml`` (predicted - reference);
        ``reference_lesions``, ``predicted_lesions``, ``lesion_count_difference``; ``core_agreement`` (0 or 1);
        ``diagonal_mm`` of the whole volume.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"shapes differ: {prediction.shape} and {reference.shape}")
    diagonal = diagonal_mm(reference.shape, spacing_mm)
    prediction, reference = crop_to_joint_box(prediction.astype(bool), reference.astype(bool))
    return {
        **overlap(prediction, reference),
        **surface(prediction, reference, spacing_mm),
        **volumes(prediction, reference, spacing_mm),
        **lesions(prediction, reference),
        "diagonal_mm": diagonal,
    }


def crop_to_joint_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Views of both boolean masks within the bounding box of their union plus one voxel, clipped to the array.

    The box of two empty masks is the first voxel.
    """
    union = prediction | reference
    box = []
    for axis in range(union.ndim):
        hit = np.flatnonzero(union.any(axis=tuple(other for other in range(union.ndim) if other != axis)))
        first, last = (hit[0], hit[-1]) if hit.size else (0, -1)
        box.append(slice(max(int(first) - 1, 0), int(last) + 2))
    return prediction[tuple(box)], reference[tuple(box)]


def overlap(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Dice, precision and recall of two boolean masks, each in [0, 1].

    Undefined are precision of an empty prediction, recall for an empty reference, and all three of two empty masks.
    """
    predicted, present = bool(prediction.any()), bool(reference.any())
    return {
        "dice": float(binary.dc(prediction, reference)) if predicted or present else math.nan,
        "precision": float(binary.precision(prediction, reference)) if predicted else math.nan,
        "recall": float(binary.recall(prediction, reference)) if present else math.nan,
    }


def surface(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Hausdorff distance, its 95th percentile and the average symmetric surface distance in mm.

    One distance transform a direction serves all three; the values are those of medpy's ``hd``, ``hd95`` and ``assd``
    with connectivity 1. Undefined where either mask is empty.
    """
    if not (prediction.any() and reference.any()):
        return {"hausdorff_mm": math.nan, "hd95_mm": math.nan, "assd_mm": math.nan}
    # medpy's own helper behind hd, hd95 and assd: calling those would repeat both transforms for each of them.
    forth = binary.__surface_distances(prediction, reference, spacing_mm, 1)
    back = binary.__surface_distances(reference, prediction, spacing_mm, 1)
    distances = np.concatenate([forth, back])
    return {
        "hausdorff_mm": float(distances.max()),
        "hd95_mm": float(np.percentile(distances, 95)),
        "assd_mm": float(distances.mean()),
    }


def volumes(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Volumes in mL, their absolute and signed difference, and whether both lie on the same side of 70 mL."""
    voxel_ml = math.prod(float(size) for size in spacing_mm) / 1000.0
    predicted, present = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    predicted_ml, reference_ml = predicted * voxel_ml, present * voxel_ml
    return {
        "avd_ml": abs(predicted - present) * voxel_ml,
        "reference_ml": reference_ml,
        "predicted_ml": predicted_ml,
        "volume_difference_ml": (predicted - present) * voxel_ml,
        "core_agreement": float((predicted_ml >= LARGE_CORE_ML) == (reference_ml >= LARGE_CORE_ML)),
    }


def lesions(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Lesion counts, their absolute difference and the lesion-wise F1 score, as ISLES 2022 defines them.

    A lesion is a component connected over faces, edges and corners (26 neighbours in 3-D). A reference lesion is
    found if the prediction touches a voxel of it, a predicted lesion is false if it touches no reference voxel:
    F1 = found / (found + (false + missed) / 2), undefined where both masks are empty.
    """
    neighbours = ndimage.generate_binary_structure(reference.ndim, reference.ndim)
    reference_labels, present = ndimage.label(reference, neighbours)
    prediction_labels, predicted = ndimage.label(prediction, neighbours)
    both = prediction & reference
    found = np.unique(reference_labels[both]).size
    false = predicted - np.unique(prediction_labels[both]).size
    weight = found + (false + present - found) / 2
    return {
        "reference_lesions": float(present),
        "predicted_lesions": float(predicted),
        "lesion_count_difference": float(abs(predicted - present)),
        "lesion_f1": found / weight if weight else math.nan,
    }


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length of the diagonal of a volume of so many voxels of that size, from outer corner to outer corner."""
    return math.sqrt(math.fsum((count * size) ** 2 for count, size in zip(shape, spacing_mm, strict=True)))
