"""Smooth random fields in millimetres, and the few filters that the twin needs.

Everything random in space is a `Field`: white noise on a cubic lattice, interpolated by cubic B-splines. A cubic
B-spline over a lattice of step h is close to a Gaussian of SD h / sqrt(3), so a lattice step of sqrt(3) * c gives a
Gaussian random field of kernel SD c. The field is a function of the place in mm, not of the pixel: the two slabs of
a patient read the same field, and an image of 64 x 64 shows the same patient as one of 256 x 256.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz

#: The cube (mm, all three axes, about the centre of the head) in which fields are defined.
REACH_MM = 150.0
#: Mean over a cell of the sum of squared cubic B-spline weights, one axis: the integral of the squared spline.
_SPLINE_POWER = 151.0 / 315.0


def spline_basis(positions_mm: np.ndarray, step_mm: float) -> np.ndarray:
    """Cubic B-spline weights of the points of a lattice of `step_mm` for N positions within +-`REACH_MM`.

    Returns:
        float32, shape (N, lattice points); rows sum to 1.
    """
    lattice = np.arange(lattice_points(step_mm)) - 1.0
    distance = np.abs((np.clip(positions_mm, -REACH_MM, REACH_MM)[:, None] + REACH_MM) / step_mm - lattice[None, :])
    inner = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    outer = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    return np.where(distance < 1.0, inner, outer).astype(np.float32)


def lattice_points(step_mm: float) -> int:
    """Lattice points needed to cover +-`REACH_MM` with cubic splines."""
    return int(np.ceil(2 * REACH_MM / step_mm)) + 3


class Field:
    """A zero-mean, unit-variance Gaussian random field over the head (GRF(c) in the recipe).

    Attributes:
        step_mm: lattice step, sqrt(3) times the kernel SD.
        weights: float32 lattice values, shape (L, L, L), axes z, x, y.
    """

    def __init__(self, rng: np.random.Generator, kernel_sd_mm: float) -> None:
        self.step_mm = float(np.sqrt(3.0) * kernel_sd_mm)
        points = lattice_points(self.step_mm)
        self.weights = rng.standard_normal((points,) * 3, dtype=np.float32)
        self.weights *= np.float32(_SPLINE_POWER**-1.5)

    def on_grid(self, z_mm: np.ndarray, x_mm: np.ndarray, y_mm: np.ndarray) -> np.ndarray:
        """The field on a rectangular grid, float32, shape (Z, X, Y)."""
        bz, bx, by = (spline_basis(np.asarray(axis), self.step_mm) for axis in (z_mm, x_mm, y_mm))
        lattice = np.tensordot(bz, self.weights, axes=(1, 0))
        return bx @ lattice @ by.T


@dataclass(frozen=True)
class Grid:
    """Scanner coordinates of a slab's voxel centres along each axis (mm), and the pixel size in plane."""

    z_mm: np.ndarray
    x_mm: np.ndarray
    y_mm: np.ndarray
    spacing_mm: tuple[float, float]

    def read(self, field: Field) -> np.ndarray:
        """A field on this grid, float32, shape (Z, X, Y)."""
        return field.on_grid(self.z_mm, self.x_mm, self.y_mm)


def correlated_noise(
    rng: np.random.Generator, x_mm: np.ndarray, y_mm: np.ndarray, count: int, kernel_sd_mm: float
) -> np.ndarray:
    """Independent images of unit-variance noise, correlated in plane as white noise after a Gaussian of `kernel_sd_mm`.

    Returns:
        float32, shape (count, X, Y), for pixel centres of shapes (X,) and (Y,).
    """
    step = float(np.sqrt(3.0) * kernel_sd_mm)
    points = lattice_points(step)
    white = rng.standard_normal((count, points, points), dtype=np.float32)
    white *= np.float32(1.0 / _SPLINE_POWER)
    return spline_basis(x_mm, step) @ white @ spline_basis(y_mm, step).T


def gaussian_matrix(count: int, sd_pixels: float) -> np.ndarray:
    """Gaussian filter along one axis of `count` pixels as a matrix, zero beyond the ends.

    Returns:
        float32, shape (count, count), symmetric; the kernel sums to 1 where it lies inside.
    """
    if sd_pixels <= 0:
        return np.eye(count, dtype=np.float32)
    offsets = np.arange(-(count - 1), count)
    kernel = np.exp(-0.5 * (offsets / sd_pixels) ** 2)
    kernel[np.abs(offsets) > 4 * sd_pixels + 1] = 0.0
    return toeplitz(kernel[count - 1 :] / kernel.sum()).astype(np.float32)


def blur(images: np.ndarray, spacing_mm: tuple[float, float], sd_mm: float) -> np.ndarray:
    """Gaussian filter in plane of images (..., X, Y), zero outside them; float32, the same shape."""
    gx = gaussian_matrix(images.shape[-2], sd_mm / spacing_mm[0])
    gy = gaussian_matrix(images.shape[-1], sd_mm / spacing_mm[1])
    return gx @ images.astype(np.float32, copy=False) @ gy


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 (x <= 0) to 1 (x >= 1) (sm in the recipe)."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bisect(volume_at: Callable[[float], float], target: float, low: float, high: float, steps: int = 40) -> float:
    """The argument at which an increasing function of it reaches `target`.

    Args:
        volume_at: increasing (steps allowed).
        target: value to reach.
        low: an argument where the value is below the target (else the answer is `low`).
        high: an argument where the value is above it (else the answer is close to `high`).
        steps: halvings of the interval.
    """
    for _ in range(steps):
        middle = 0.5 * (low + high)
        if volume_at(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
