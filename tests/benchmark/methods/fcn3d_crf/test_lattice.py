"""The permutohedral lattice against its geometry, and against a walk over a dictionary of its corners."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.methods.fcn3d_crf import lattice
from benchmark.methods.fcn3d_crf.lattice import PermutohedralLattice, simplices


def scattered(dimensions: int, count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(dimensions)
    spread = rng.normal(0, 2, (dimensions, count))
    spread[:, ::5] = np.round(spread[:, ::5])  # on a grid, some in the same place
    return spread.astype(np.float32)


def corners_of(features: np.ndarray) -> np.ndarray:
    """(N, corner, d + 1) coordinates in the hyperplane."""
    cell, lowered, _ = simplices(features)
    classes = len(cell)
    corners = np.empty((cell.shape[1], classes, classes), dtype=int)
    for point in range(cell.shape[1]):
        corner = classes * cell[:, point]
        for number in range(classes):
            corners[point, number] = corner
            corner = corner + 1
            corner[lowered[number, point]] -= classes
    return corners


@pytest.mark.parametrize("dimensions", [1, 2, 3, 8, 9])
def test_a_point_is_the_weighted_mean_of_its_simplexs_corners(dimensions: int) -> None:
    features = scattered(dimensions)
    _, _, weights = simplices(features)
    corners = corners_of(features)
    np.testing.assert_array_equal(corners.sum(axis=2), 0)
    assert weights.min() > -1e-5
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)
    means = np.einsum("kn,nki->ni", weights, corners)
    # The lift is a similarity: distances are those of the features, times the scale at which the blur has deviation 1.
    scale = math.sqrt(2 / 3) * (dimensions + 1)
    lifted = np.linalg.norm(means[:, None] - means[None], axis=2)
    apart = np.linalg.norm((features.T[:, None] - features.T[None]).astype(float), axis=2)
    np.testing.assert_allclose(lifted, scale * apart, atol=1e-4 * scale)


def walked(features: np.ndarray, values: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of corners, and the filtered values, by definition."""
    _, _, weights = simplices(features)
    corners = [[tuple(corner) for corner in simplex] for simplex in corners_of(features).tolist()]
    held = dict.fromkeys((corner for simplex in corners for corner in simplex), 0.0)
    for simplex, weight, value in zip(corners, weights.T.tolist(), values.tolist(), strict=True):
        for corner, share in zip(simplex, weight, strict=True):
            held[corner] += share * value
    for axis in range(len(features) + 1):
        step = np.full(len(features) + 1, -1)
        step[axis] = len(features)
        held = {
            corner: here + 0.5 * sum(held.get(tuple((corner + sign * step).tolist()), 0.0) for sign in (1, -1))
            for corner, here in held.items()
        }
    filtered = [
        sum(share * held[corner] for corner, share in zip(simplex, weight, strict=True))
        for simplex, weight in zip(corners, weights.T.tolist(), strict=True)
    ]
    return len(held), np.array(filtered)


@pytest.mark.parametrize("whole", [lattice.WHOLE, 1], ids=["whole numbers", "pairs"])
def test_it_filters_as_a_walk_from_corner_to_corner_does(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Few points in little space: so that every kind of neighbour, and of wrong neighbour, comes about.
    monkeypatch.setattr(lattice, "WHOLE", whole)
    for seed in range(250):
        rng = np.random.default_rng(seed)
        dimensions, count, spread = int(rng.integers(1, 6)), int(rng.integers(1, 60)), rng.choice([0.5, 1, 2, 4])
        features = rng.normal(0, spread, (dimensions, count)).astype(np.float32)
        if seed % 3 == 0:
            features = np.round(features)  # a grid: ties, and points in one place
        values = rng.normal(0, 1, count).astype(np.float32)
        corners, expected = walked(features, values)
        found = PermutohedralLattice(features)
        assert found.corners == corners, seed
        np.testing.assert_allclose(found(values), expected, rtol=1e-4, atol=1e-4, err_msg=str(seed))


def test_single_points_far_out_in_every_direction_leave_the_others_as_they_are() -> None:
    features = scattered(8)
    features[:, :8] += np.diag(np.full(8, 2e3, dtype=np.float32))  # more cells than whole numbers can count
    values = np.random.default_rng(0).normal(0, 1, features.shape[1]).astype(np.float32)
    corners, expected = walked(features, values)
    found = PermutohedralLattice(features)
    assert found.corners == corners
    np.testing.assert_allclose(found(values), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        found(values)[8:], PermutohedralLattice(features[:, 8:])(values[8:]), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_what_it_gives_for_a_single_value_is_a_gaussian_of_the_distance(dimensions: int) -> None:
    # The points fill a box densely, so that every corner exists; the value is the peak.
    axes = [np.linspace(-4, 4, 41, dtype=np.float32)] * dimensions
    features = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(dimensions, -1)
    shift = np.random.default_rng(0).uniform(-0.1, 0.1, (dimensions, 1)).astype(np.float32)
    middle = features.shape[1] // 2
    values = np.zeros(features.shape[1], dtype=np.float32)
    values[middle] = 1
    found = PermutohedralLattice(features + shift)(values)
    gaussian = np.exp(-((features - features[:, middle, None]) ** 2).sum(axis=0) / 2)
    assert np.corrcoef(found, gaussian)[0, 1] > 0.98
    squares = ((features - features[:, middle, None]) ** 2).sum(axis=0)
    deviation = math.sqrt(float((found * squares).sum() / found.sum()) / dimensions)
    assert deviation == pytest.approx(1, abs=0.15)


def test_points_that_fill_more_cells_than_can_be_numbered_are_an_error() -> None:
    with pytest.raises(OverflowError, match="cells"):
        PermutohedralLattice(1e5 * scattered(8))
