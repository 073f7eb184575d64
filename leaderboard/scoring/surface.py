"""Distances between the surfaces of two masks: one computation serves every surface metric.

The definition is medpy's (``hd``, ``hd95``, ``assd`` with connectivity 1): a border voxel has a face to the background,
what lies outside the array is background, and each border voxel of either mask has the distance to the nearest border
voxel of the other one, between voxel centres in mm. medpy transforms the whole array once a direction; here

- a voxel on both borders has the distance 0 and is not searched for;
- the others search exactly, and only where it pays: the distance along one axis is known for the whole box, the two
  other axes are searched line by line, nearest slices first, until no further slice can hold anything nearer;
- where that would take longer than SciPy's exact distance transform of the box, the transform does the rest.

The values are medpy's up to rounding; a test compares them at 1e-9 on random and real masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

#: Candidates that the search may look at, per voxel of the box; SciPy's transform takes as long as about 40.
SEARCH_BUDGET = 40.0
#: Candidates looked at in one go: 4 MB of distances.
_CHUNK = 1 << 19


def surface_distances(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance of each border voxel of either mask to the other's nearest, in mm.

    Args:
        prediction: boolean mask, shape (X, Y, Z), not empty; crop it to where the masks are, for speed.
        reference: boolean mask, same shape, not empty.
        spacing_mm: size of a voxel along each axis.

    Returns:
        One value a border voxel of either mask, in an order without meaning.
    """
    # The shortest axis counts slices; lines along the middle one are searched, and so are contiguous.
    short, middle, long = (int(axis) for axis in np.argsort(prediction.shape, kind="stable"))
    axes = (long, short, middle)
    spacing = np.array([float(spacing_mm[axis]) for axis in axes])
    borders = [border(np.transpose(mask, axes)) for mask in (prediction, reference)]
    common = borders[0] & borders[1]
    forth = _to_nearest(borders[0] & ~common, borders[1], spacing)
    back = _to_nearest(borders[1] & ~common, borders[0], spacing)
    return np.concatenate([forth, back, np.zeros(2 * int(np.count_nonzero(common)))])


def border(mask: np.ndarray) -> np.ndarray:
    """Voxels of a boolean mask with a face to the background, same shape; outside the array is background."""
    padded = np.zeros([size + 2 for size in mask.shape], dtype=bool)
    inside = (slice(1, -1),) * mask.ndim
    padded[inside] = mask
    # In the flat array a neighbour is a fixed step away; the margin keeps a step from leaving its line.
    flat = padded.reshape(-1)
    core = flat.copy()
    for stride in padded.strides:
        core[stride:] &= flat[:-stride]
        core[:-stride] &= flat[stride:]
    return np.ascontiguousarray((flat & ~core).reshape(padded.shape)[inside])


def _to_nearest(points: np.ndarray, targets: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in mm of each True voxel of `points` to the nearest True voxel of `targets` (at least one).

    Args:
        points: boolean, shape (rows, slices, voxels of a line), contiguous.
        targets: boolean, same shape.
        spacing: voxel size along these axes in mm.
    """
    flat = np.flatnonzero(points)
    if not flat.size:
        return np.zeros(0)
    _, slices, width = targets.shape
    lines, voxels = np.divmod(flat, width)
    places = lines % slices
    square = _along_rows(targets, spacing[0]).reshape(-1, width)
    across = (np.subtract.outer(np.arange(width), np.arange(width)) * spacing[2]) ** 2
    nearest = _along_lines(square, across, lines, voxels)
    spent, allowed = flat.size * width, SEARCH_BUDGET * targets.size
    for apart in range(1, slices):
        gap = (apart * spacing[1]) ** 2
        active = np.flatnonzero(nearest > gap)
        if not active.size:
            break
        spent += 2 * active.size * width
        if spent > allowed:
            nearest[active] = _by_transform(targets, spacing, flat[active])
            break
        for step in (-apart, apart):
            near = active[(places[active] + step >= 0) & (places[active] + step < slices)]
            found = _along_lines(square, across, lines[near] + step, voxels[near]) + gap
            nearest[near] = np.minimum(nearest[near], found)
    return np.asarray(np.sqrt(nearest))


def _along_rows(targets: np.ndarray, size: float) -> np.ndarray:
    """Squared distance along the first axis to the nearest target, in mm²; infinite where there is none."""
    count = targets.shape[0]
    none = np.int16(count) if count < 1 << 14 else np.int32(count)
    voxels = np.where(targets, np.zeros_like(none), none)
    # Every distance is a sum of powers of two: looking 1, 2, 4, ... voxels to either side finds the nearest target.
    step = 1
    while step < count:
        ahead, behind = voxels[step:], voxels[:-step]
        np.minimum(ahead, behind + step, out=ahead)
        np.minimum(behind, ahead + step, out=behind)
        step *= 2
    return np.append((np.arange(count) * size) ** 2, np.inf).take(voxels)


def _along_lines(square: np.ndarray, across: np.ndarray, lines: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Smallest squared distance in mm² to what lies across the given lines, for points at `voxels` of them."""
    found = np.empty(lines.size)
    chunk = max(_CHUNK // across.shape[0], 1)
    for start in range(0, lines.size, chunk):
        part = slice(start, start + chunk)
        candidates = square.take(lines[part], axis=0)
        candidates += across.take(voxels[part], axis=0)
        candidates.min(axis=1, out=found[part])
    return found


def _by_transform(targets: np.ndarray, spacing: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Squared distance in mm² of points, by flat index, to the nearest target: SciPy's transform of the whole box."""
    indices = ndimage.distance_transform_edt(~targets, sampling=spacing, return_distances=False, return_indices=True)
    steps = indices.reshape(3, -1)[:, flat] - np.stack(np.unravel_index(flat, targets.shape))
    return np.asarray(((steps * spacing[:, None]) ** 2).sum(axis=0))
