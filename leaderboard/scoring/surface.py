"""Distances between the surfaces of two masks: one computation serves every surface metric.

The definition is medpy's (``hd``, ``hd95``, ``assd`` with connectivity 1): a border voxel has a face to the background,
everything outside the array is background, and the distance of a border voxel of either mask is that to the nearest
border voxel of the other, between voxel centres in mm. medpy transforms the whole array once per direction; here

- a voxel on both borders has the distance 0 and is not searched for;
- the others search exactly, and only where it pays: the distance along one axis is known for the whole box, the two
  other axes are searched line by line, nearest slices first, until no further slice can hold anything nearer;
- where that would take longer than SciPy's exact distance transform of the box, the transform does the rest; for a box
  so large that it would need gigabytes, SciPy transforms one plane at a time, and the last axis is searched.

Large boxes are worked on in parts, so that memory stays at a few bytes per voxel. The values are medpy's up to
rounding; a test compares them at 1e-9 on random and real masks.

**Thin slabs.** Since outside the array is background, every voxel of a slab of two slices has a face to it and is a
border voxel, however far from the lesion's edge: its distances are mostly 0. The same shift of 5.3 mm has an average
distance of 0.47 mm in two slices and of 1.51 mm in sixteen. *In the plane* (`across` in `surface_distances`) a border
voxel has a face within its slice, and its distance is that to the other's border in the same slice: no distance depends
on how many slices a slab has. Where the other has no voxel in that slice, it is that to its nearest border voxel in any
slice, in space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Most candidates that the search may look at, per voxel of the box; about 40 take as long as SciPy's transform.
SEARCH_BUDGET = 40.0
#: Candidates looked at in one go: 4 MB of distances.
_CHUNK = 1 << 19
#: A box of more voxels is worked on in parts of about this size; the largest case of ISLES has a twelfth of it.
LARGE_BOX = 1 << 24


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float], *, across: int | None = None
) -> np.ndarray:
    """Distance of each border voxel of either mask to the other's nearest, in mm.

    Args:
        prediction: boolean mask, shape (X, Y, Z), not empty; crop it to where the masks are, for speed.
        reference: boolean mask, same shape, not empty.
        spacing_mm: size of a voxel along each axis.
        across: the axis across slices, for distances in the plane; None: distances in space.

    Returns:
        One value for each border voxel of either mask, in no particular order.
    """
    # The shortest axis counts slices, unless one is given; lines along the middle one are searched: contiguous.
    short, middle, long = sorted(range(3), key=lambda axis: (axis != across, prediction.shape[axis]))
    axes = (long, short, middle)
    spacing = np.array([float(spacing_mm[axis]) for axis in axes])
    in_plane = across is not None
    borders = [border(np.transpose(mask, axes), in_plane=in_plane) for mask in (prediction, reference)]
    forth = _to_nearest(borders[0] > borders[1], borders[1], spacing, in_plane)
    back = _to_nearest(borders[1] > borders[0], borders[0], spacing, in_plane)
    common = int(np.count_nonzero(borders[0])) - forth.size
    return np.concatenate([forth, back, np.zeros(2 * common)])


def border(mask: np.ndarray, *, in_plane: bool = False) -> np.ndarray:
    """Voxels of a boolean mask with a face to the background, same shape; outside the array is background.

    Args:
        mask: three axes.
        in_plane: faces along the second axis do not count.
    """
    result = np.empty(mask.shape, dtype=bool)
    rows = max(LARGE_BOX // max(math.prod(mask.shape[1:]), 1), 1)
    for start in range(0, len(mask), rows):
        before = min(start, 1)
        part = mask[start - before : start + rows + 1]
        result[start : start + rows] = _border_of_part(part, in_plane)[before : before + rows]
    return result


def _border_of_part(mask: np.ndarray, in_plane: bool) -> np.ndarray:
    padded = np.zeros([size + 2 for size in mask.shape], dtype=bool)
    inside = (slice(1, -1),) * mask.ndim
    padded[inside] = mask
    # In the flat array a neighbour is a fixed step away; the margin keeps steps within their line.
    flat = padded.reshape(-1)
    core = flat.copy()
    for stride in padded.strides[:: 2 if in_plane else 1]:
        core[stride:] &= flat[:-stride]
        core[:-stride] &= flat[stride:]
    return (flat & ~core).reshape(padded.shape)[inside]


def _to_nearest(points: np.ndarray, targets: np.ndarray, spacing: np.ndarray, in_plane: bool) -> np.ndarray:
    """Distance in mm of each True voxel of `points` to the nearest True voxel of `targets` (at least one).

    Args:
        points: boolean, shape (rows, slices, voxels of a line), contiguous.
        targets: boolean, same shape.
        spacing: voxel size along these axes in mm.
        in_plane: a point whose slice has targets takes the nearest of these.
    """
    flat = np.flatnonzero(points)
    del points  # for a large box it may be the only reference to the array
    if not flat.size:
        return np.zeros(0)
    _, slices, width = targets.shape
    lines, voxels = np.divmod(flat, width)
    places = lines % slices
    square = _along_rows(targets, spacing[0])
    across = (np.subtract.outer(np.arange(width), np.arange(width)) * spacing[2]) ** 2
    nearest = _along_lines(square, across, lines, voxels)
    spent, allowed = flat.size * width, SEARCH_BUDGET * targets.size
    beyond = np.asarray(~targets.any(axis=(0, 2))) if in_plane else np.ones(slices, dtype=bool)
    for apart in range(1, slices):
        gap = (apart * spacing[1]) ** 2
        active = np.flatnonzero((nearest > gap) & beyond[places])
        if not active.size:
            break
        spent += 2 * active.size * width
        if spent > allowed:
            if targets.size > LARGE_BOX:
                del square
                nearest[active] = _by_planes(targets, spacing, across, lines[active], voxels[active])
            else:
                nearest[active] = _by_transform(targets, spacing, flat[active])
            break
        for step in (-apart, apart):
            near = active[(places[active] + step >= 0) & (places[active] + step < slices)]
            found = _along_lines(square, across, lines[near] + step, voxels[near]) + gap
            nearest[near] = np.minimum(nearest[near], found)
    return np.asarray(np.sqrt(nearest))


@dataclass(frozen=True)
class _Squares:
    """A squared distance in mm² of each voxel, by line; for a large box, looked up only when asked for."""

    by_line: np.ndarray  #: distances, or their numbers in `table`; shape (lines, voxels of a line)
    table: np.ndarray | None  #: the distances by number; None if `by_line` holds them

    def take(self, lines: np.ndarray) -> np.ndarray:
        """Those of some lines, shape (lines, voxels of a line)."""
        found = self.by_line.take(lines, axis=0)
        return found if self.table is None else self.table.take(found)


def _along_rows(targets: np.ndarray, size: float) -> _Squares:
    """Squared distance along the first axis to the nearest target, in mm²; infinite if there is none."""
    count, slices, width = targets.shape
    none = np.int16(count) if count < 1 << 14 else np.int32(count)
    voxels = np.where(targets, np.zeros_like(none), none)
    together = max(LARGE_BOX // (count * width), 1)
    for start in range(0, slices, together):
        part = voxels[:, start : start + together]
        # Every distance is a sum of powers of two: looking 1, 2, 4, ... voxels to either side finds the nearest target.
        step = 1
        while step < count:
            ahead, behind = part[step:], part[:-step]
            np.minimum(ahead, behind + step, out=ahead)
            np.minimum(behind, ahead + step, out=behind)
            step *= 2
    table = np.append((np.arange(count) * size) ** 2, np.inf)
    by_line = voxels.reshape(-1, width)
    return _Squares(by_line, table) if targets.size > LARGE_BOX else _Squares(table.take(by_line), None)


def _along_lines(square: _Squares, across: np.ndarray, lines: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Smallest squared distance in mm² to the targets across the given lines, for points at `voxels` of them."""
    found = np.empty(lines.size)
    chunk = max(_CHUNK // across.shape[0], 1)
    for start in range(0, lines.size, chunk):
        part = slice(start, start + chunk)
        candidates = square.take(lines[part])
        candidates += across.take(voxels[part], axis=0)
        candidates.min(axis=1, out=found[part])
    return found


def _by_transform(targets: np.ndarray, spacing: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Squared distance in mm² of points, by flat index, to the nearest target: SciPy's transform of the whole box."""
    indices = ndimage.distance_transform_edt(~targets, sampling=spacing, return_distances=False, return_indices=True)
    steps = indices.reshape(3, -1)[:, flat] - np.stack(np.unravel_index(flat, targets.shape))
    return np.asarray(((steps * spacing[:, None]) ** 2).sum(axis=0))


def _by_planes(
    targets: np.ndarray, spacing: np.ndarray, across: np.ndarray, lines: np.ndarray, voxels: np.ndarray
) -> np.ndarray:
    """As `_by_transform`, for a large box: SciPy's transform of each plane across the lines, then along the lines.

    Args:
        targets: boolean, shape (rows, slices, voxels of a line).
        spacing: voxel size along these axes in mm.
        across: squared distance in mm² between two voxels of a line.
        lines: line of each point, row by row, in rising order.
        voxels: place of each point in its line.
    """
    rows, slices, width = targets.shape
    found = np.empty(lines.size)
    together = max(2 * LARGE_BOX // (slices * width), 1)  # each part transforms all planes again
    for start in range(0, rows, together):
        points = slice(*np.searchsorted(lines, [start * slices, (start + together) * slices]).tolist())
        if points.start == points.stop:
            continue
        part = slice(start, start + together)
        square = np.full((min(together, rows - start), slices, width), np.inf)
        for voxel in np.flatnonzero(targets.any(axis=(0, 1))):
            indices = ndimage.distance_transform_edt(
                ~targets[:, :, voxel], sampling=spacing[:2], return_distances=False, return_indices=True
            )
            steps = indices[:, part] - np.mgrid[part, :slices][:, : len(square)]
            square[:, :, voxel] = ((steps * spacing[:2, None, None]) ** 2).sum(axis=0)
        local = _Squares(square.reshape(-1, width), None)
        found[points] = _along_lines(local, across, lines[points] - start * slices, voxels[points])
        del square, local  # before those of the next part are made
    return found
