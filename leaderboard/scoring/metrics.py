"""From two masks and a spacing to numbers. Pure functions on arrays; medpy is the metric engine.

Everything is measured on both masks cropped to their joint bounding box plus one voxel: the metrics depend only on the
foreground, and outside an array is background, so the values are the same for a fraction of the work. Dice,
precision and recall are medpy's own functions; the surface metrics share the distances of `surface`,
which are medpy's up to rounding (tests hold all of them to medpy on full arrays at 1e-9). medpy raises or divides by
zero on empty masks, so these are handled here, before any call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from medpy.metric import binary

from leaderboard.scoring.lesions import lesions
from leaderboard.scoring.surface import surface_distances

#: An infarct core of this size or more excludes from thrombectomy in DEFUSE 3 (Albers et al., NEJM 2018).
LARGE_CORE_ML = 70.0
#: Distance between borders that counts as none in `surface_in_plane`.
TOLERANCE_MM = 2.0


def measure(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every metric of one case; NaN where a metric is undefined.

    Args:
        prediction: the predicted mask, shape (X, Y, Z), nonzero is lesion.
        reference: the ground truth, same shape.
        spacing_mm: size of a voxel along each axis.

    Returns:
        ``dice``, ``precision``, ``recall`` in [0, 1]; ``hausdorff_mm``, ``hd95_mm``, ``assd_mm``; ``avd_ml``,
        ``reference_ml``, ``predicted_ml``, ``volume_difference_ml`` (predicted - reference),
        ``relative_volume_error``; ``core_agreement`` (0 or 1); what `lesions.lesions` and `surface_in_plane` give;
        ``diagonal_mm`` of the whole volume.

    Raises:
        ValueError: the shapes differ, or are not of three axes.
    """
    shape = reference.shape
    prediction, reference = crop_to_joint_box(prediction, reference)
    return {
        **overlap(prediction, reference),
        **surface(prediction, reference, spacing_mm),
        **surface_in_plane(prediction, reference, spacing_mm),
        **volumes(prediction, reference, spacing_mm),
        **lesions(prediction, reference, voxel_ml(spacing_mm)),
        "diagonal_mm": diagonal_mm(shape, spacing_mm),
    }


def crop_to_joint_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as booleans, within the bounding box of their union plus one voxel, clipped to the array.

    The box of two empty masks is the first voxel.

    Raises:
        ValueError: the shapes differ, or are not of three axes.
    """
    if prediction.shape != reference.shape or reference.ndim != 3:
        raise ValueError(f"shapes differ, or have not three axes: {prediction.shape} and {reference.shape}")
    masks = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    bounds = [found for mask in masks if (found := _bounds(mask)) is not None]
    if not bounds:
        first = (slice(0, 1),) * 3
        return masks[0][first], masks[1][first]
    lowest, highest = np.min(bounds, axis=0)[0], np.max(bounds, axis=0)[1]
    box = tuple(slice(max(int(low) - 1, 0), int(high) + 2) for low, high in zip(lowest, highest, strict=True))
    return masks[0][box], masks[1][box]


def _bounds(mask: np.ndarray) -> np.ndarray | None:
    """First and last lesion voxel along each axis, shape (2, 3); None for an empty mask."""
    # in memory order, so that every pass runs along contiguous bytes
    order = [int(axis) for axis in np.argsort([-abs(stride) for stride in mask.strides], kind="stable")]
    mask = mask.transpose(order)
    first = np.flatnonzero(mask.reshape(mask.shape[0], -1).any(axis=1))
    if not first.size:
        return None
    slab = mask[first[0] : first[-1] + 1]
    plane = np.asarray(slab.reshape(slab.shape[0], -1).any(axis=0)).reshape(mask.shape[1:])
    second, third = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    bounds = np.empty((2, 3), dtype=int)
    for axis, hit in zip(order, (first, second, third), strict=True):
        bounds[:, axis] = hit[0], hit[-1]
    return bounds


def overlap(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Dice, precision and recall of two boolean masks, each in [0, 1].

    Precision is undefined for an empty prediction, recall for an empty reference, all three for two empty masks.
    """
    predicted, present = bool(prediction.any()), bool(reference.any())
    return {
        "dice": float(binary.dc(prediction, reference)) if predicted or present else math.nan,
        "precision": float(binary.precision(prediction, reference)) if predicted else math.nan,
        "recall": float(binary.recall(prediction, reference)) if present else math.nan,
    }


def surface(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Hausdorff distance, its 95th percentile and the average symmetric surface distance in mm.

    The values are those of medpy's ``hd``, ``hd95`` and ``assd`` with connectivity 1; undefined if either mask is
    empty. In thin slabs they are small for a reason that is not the prediction's (`scoring.surface`).
    """
    if not (prediction.any() and reference.any()):
        return {"hausdorff_mm": math.nan, "hd95_mm": math.nan, "assd_mm": math.nan}
    # sorted, so that the sum does not depend on the order of the search
    distances = np.sort(surface_distances(prediction, reference, spacing_mm))
    return {
        "hausdorff_mm": float(distances[-1]),
        "hd95_mm": float(np.percentile(distances, 95)),
        "assd_mm": float(distances.mean()),
    }


def surface_in_plane(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """The same in the plane, whatever the number of slices, and the normalised surface distance; undefined likewise.

    A border voxel has a face to the background within its slice. Its distance is that to the nearest border voxel of
    the other mask in the same slice, between voxel centres in mm; where the other mask has no voxel in that slice, that
    to the nearest in any slice, in space. So a slice that only one mask has is neither left out nor given a number from
    outside: it is as far away as the nearest slice of the other mask, at least. Slices lie across the axis with the
    largest voxels (`slice_axis`).

    Returns:
        ``inplane_nsd``, the share of the border voxels of both masks that lie within 2 mm of the other's border (the
        normalised surface distance of Nikolov et al., J Med Internet Res 23(7):e26151, 2021, with voxels for surface
        elements); ``inplane_hd95_mm`` and ``inplane_assd_mm``, 95th percentile and mean of the distances of both.
    """
    if not (prediction.any() and reference.any()):
        return {"inplane_nsd": math.nan, "inplane_hd95_mm": math.nan, "inplane_assd_mm": math.nan}
    distances = np.sort(surface_distances(prediction, reference, spacing_mm, across=slice_axis(spacing_mm)))
    near = int(np.searchsorted(distances, TOLERANCE_MM * (1 + 1e-9), side="right"))
    return {
        "inplane_nsd": near / len(distances),
        "inplane_hd95_mm": float(np.percentile(distances, 95)),
        "inplane_assd_mm": float(distances.mean()),
    }


def slice_axis(spacing_mm: Sequence[float]) -> int:
    """The axis across slices: that of the largest voxel size; of sizes within 1 % of the largest, the last."""
    largest = max(spacing_mm)
    return max(axis for axis, size in enumerate(spacing_mm) if size >= 0.99 * largest)


def voxel_ml(spacing_mm: Sequence[float]) -> float:
    """Volume of a voxel in mL."""
    return math.prod(float(size) for size in spacing_mm) / 1000.0


def volumes(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Volumes in mL, their absolute and signed difference, and whether both or neither of the cores is large.

    ``core_agreement`` is what a clinician reads off two volumes: 1 where both are below 70 mL or both are not, else 0.
    ``relative_volume_error`` is the absolute difference as a share of the reference; undefined if that is empty.
    """
    of_voxel = voxel_ml(spacing_mm)
    predicted, present = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    predicted_ml, reference_ml = predicted * of_voxel, present * of_voxel
    return {
        "avd_ml": abs(predicted - present) * of_voxel,
        "reference_ml": reference_ml,
        "predicted_ml": predicted_ml,
        "volume_difference_ml": (predicted - present) * of_voxel,
        "relative_volume_error": abs(predicted - present) / present if present else math.nan,
        "core_agreement": float((predicted_ml >= LARGE_CORE_ML) == (reference_ml >= LARGE_CORE_ML)),
    }


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length of a volume's diagonal from outer corner to outer corner, from its shape and the size of its voxels."""
    return math.sqrt(math.fsum((count * size) ** 2 for count, size in zip(shape, spacing_mm, strict=True)))
