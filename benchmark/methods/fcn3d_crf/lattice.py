"""Gaussian filtering of values at scattered points, on the permutohedral lattice.

A. Adams, J. Baek, M. A. Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010. The
points are lifted onto the hyperplane of coordinates that sum to zero, where simplices of d + 1 corners tile the space.
A value is spread over the corners of its simplex, blurred with [1/2, 1, 1/2] along each of the d + 1 axes, from corner
to corner, and read back. Corners that no point touches do not exist. Work grows with points times dimensions, not with
points squared.

Arithmetic and order are those of Krähenbühl & Koltun's C++ code (in the package pydensecrf2), in float32: on a regular
grid many points lie on the border of two simplices, and the last digit decides which corners exist. (That code fills up
the last block of four points with points at the origin, whose corners then exist too; not so here.) It looks up each
corner in one large hash table and waits for memory; here corners are numbers in sorted arrays, one for each of the
d + 1 classes of corners, and a neighbour lies in the class before or after, at a fixed distance.
"""

from __future__ import annotations

import math

import numpy as np

#: Limits for the numbers of corners: of whole numbers, and of each part of complex numbers.
WHOLE, PAIR = 2**63, 2**53


class PermutohedralLattice:
    """The lattice of some points; called with a value for each, it gives the filtered values.

    Args:
        features: (d, N) coordinates of the points, in standard deviations of the Gaussian.

    Attributes:
        corners: how many the points touch.

    Raises:
        OverflowError: the points spread so wide that the lattice's cells cannot be numbered.
    """

    def __init__(self, features: np.ndarray) -> None:
        cell, lowered, self._weights = simplices(features)
        classes = len(cell)
        code, steps = _numbering(cell)
        present, self._corner = [], []
        for kind in range(classes):
            if kind:
                code = code - steps[lowered[kind - 1]]
            corners, corner = np.unique(code, return_inverse=True)
            present.append(corners)
            self._corner.append(corner.astype(np.int32))
        ends = np.cumsum([len(corners) for corners in present])
        self._classes = [slice(int(end) - len(corners), int(end)) for end, corners in zip(ends, present, strict=True)]
        self.corners = int(ends[-1])
        self._before, self._after = self._neighbours(present, steps)

    def _neighbours(self, present: list[np.ndarray], steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(d + 1, corners) each: the neighbours of every corner along every axis; `corners` where there is none.

        One step along axis j adds d to coordinate j and takes 1 from all others. A corner of class k, whose coordinates
        leave the remainder k when divided by d + 1, thereby comes to class k - 1, with one cell more on axis j; from
        class 0 to class d, with one cell less on all other axes.
        """
        classes = len(present)
        before = np.full((classes, self.corners), self.corners, dtype=np.int32)
        after = before.copy()
        for kind, corners in enumerate(present):
            there = present[kind - 1]
            for axis in range(classes):
                wanted = corners + steps[axis] - (steps.sum() if kind == 0 else 0)
                place = np.searchsorted(there, wanted)
                found = np.flatnonzero(there.take(place, mode="clip") == wanted)
                here = found + self._classes[kind].start
                neighbour = place[found] + self._classes[kind - 1].start
                before[axis, here] = neighbour
                after[axis, neighbour] = here
        return before, after

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N,) -> (N,) float32: sums of the values, weighted by a Gaussian of the distance, up to a common factor."""
        blurred = np.zeros(self.corners + 1, dtype=np.float32)  # the last one stands for corners that do not exist
        places = list(zip(self._classes, self._corner, self._weights, strict=True))
        for own, corner, weight in places:
            blurred[own] = np.bincount(corner, weight * values)
        for before, after in zip(self._before, self._after, strict=True):
            blurred[:-1] += np.float32(0.5) * (blurred.take(before) + blurred.take(after))
        result = np.zeros_like(values)
        for own, corner, weight in places:
            result += weight * blurred[own].take(corner)
        return result


def simplices(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The simplex that each point lies in, and the point's place in it.

    Args:
        features: (d, N).

    Returns:
        - (d + 1, N) whole numbers: the simplex's corner of class 0 divided by d + 1.
        - (d + 1, N) the axis on which corner k + 1 lies one cell below corner k.
        - (d + 1, N) float32 barycentric weights of the corners; they sum to 1.
    """
    dimensions, count = features.shape
    classes = dimensions + 1
    features = features.astype(np.float32)
    # y = E x (p. 5 of the paper), scaled so that the blur is a Gaussian with a standard deviation of 1 (p. 6)
    axes = np.arange(1, classes)
    deviation = np.float32(math.sqrt(2 / 3) * classes)
    scale = (1 / np.sqrt(axes * (axes + 1)) * deviation).astype(np.float32)
    lifted = np.empty((classes, count), dtype=np.float32)
    total = np.zeros(count, dtype=np.float32)
    for axis in range(dimensions, 0, -1):
        scaled = features[axis - 1] * scale[axis - 1]
        lifted[axis] = total - np.float32(axis) * scaled
        total += scaled
    lifted[0] = total
    # the nearest multiples of d + 1, which sum to too much or too little by a few cells ...
    cell = np.rint(lifted * np.float32(1 / classes))
    rest = lifted - cell * np.float32(classes)
    rank = np.zeros((classes, count), dtype=np.int16)  # 0 for the largest rest
    for axis in range(dimensions):
        for other in range(axis + 1, classes):
            smaller = rest[axis] < rest[other]
            rank[axis] += smaller
            rank[other] += ~smaller
    # ... are moved where they are furthest off
    rank += cell.sum(axis=0).astype(np.int16)
    moved = rank // np.int16(classes)
    rank -= moved * np.int16(classes)
    cell -= moved
    rest = (lifted - cell * np.float32(classes)) * np.float32(1 / classes)
    rising = np.empty((classes, count), dtype=np.int8)  # axes from the smallest rest to the largest
    np.put_along_axis(rising, dimensions - rank, np.arange(classes, dtype=np.int8)[:, None], axis=0)
    rest = np.take_along_axis(rest, rising, axis=0)
    weights = rest - np.roll(rest, 1, axis=0)
    weights[0] += 1
    return cell.astype(np.int64), rising, weights


def _numbering(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each simplex's first corner, and (d + 1,) what one cell more along each axis adds to it.

    Corners lie up to one cell below the first one, their neighbours up to one above. The last axis follows from the
    others. Where whole numbers do not suffice (many images, single points far out), the first axes are counted in a
    complex number's real part and the others in its imaginary part: these add and sort just as well, only slower.
    """
    digits = cell[:-1] - cell[:-1].min(axis=1, keepdims=True) + 1
    lengths = [int(length) for length in digits.max(axis=1) + 2]
    if math.prod(lengths) < WHOLE:
        steps = _products(lengths)
    else:
        cut = next(cut for cut in range(len(lengths) + 1) if math.prod(lengths[cut:]) < PAIR)
        if math.prod(lengths[:cut]) >= PAIR:
            raise OverflowError(f"a lattice of more than 10^{len(str(math.prod(lengths))) - 1} cells")
        steps = _products(lengths[:cut]) + [1j * step for step in _products(lengths[cut:])]
    return np.array(steps) @ digits, np.array([*steps, 0])


def _products(lengths: list[int]) -> list[complex]:
    """What one step along each axis adds to a number with digits of these lengths; the last axis counts ones."""
    return [math.prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
