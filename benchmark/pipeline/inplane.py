"""Affine maps of the slice plane, and the one resampling through them that every device has.

A map is a (2, 3) array: it takes (column, row) of a pixel of the result to where that is read, (column, row) of the
source, in pixels from the centre of the first one. Maps are made and combined on the host in float64; only their
numbers go to the device. The augmentation, the mirror image about the midline and a change of pixel size are all such
maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

IDENTITY = np.eye(2, 3)


def chained(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The map that takes a pixel through `first` and what comes out through `then`."""
    linear = then[:, :2] @ first[:, :2]
    return np.column_stack([linear, then[:, :2] @ first[:, 2] + then[:, 2]])


def inverted(pixels: np.ndarray) -> np.ndarray:
    """The way back."""
    linear = np.linalg.inv(pixels[:, :2])
    return np.column_stack([linear, -linear @ pixels[:, 2]])


def moved(columns: float, rows: float) -> np.ndarray:
    """The map that reads that many columns and rows further on."""
    return np.array([[1.0, 0.0, columns], [0.0, 1.0, rows]])


def scaled(size: tuple[int, int], factors: tuple[float, float], source: tuple[int, int]) -> np.ndarray:
    """The map about the centres of result and source, for another pixel size.

    Args:
        size: (height, width) of the result.
        factors: for rows and columns, the pixel size of the result over that of the source.
        source: (height, width) of the source.
    """
    (height, width), (down, along) = size, factors
    return np.array(
        [
            [along, 0.0, (source[1] - 1) / 2 - along * (width - 1) / 2],
            [0.0, down, (source[0] - 1) / 2 - down * (height - 1) / 2],
        ]
    )


def mapped(pixels: np.ndarray, point: tuple[float, float]) -> tuple[float, float]:
    """Where a map takes one (column, row)."""
    column, row = pixels @ np.array([*point, 1.0])
    return float(column), float(row)


def grid_of(
    maps: Sequence[np.ndarray],
    size: tuple[int, int],
    source: Tensor,
    corners: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Positions for `sample`, as `functional.grid_sample` has them: -1 and 1 are the borders of the source.

    Args:
        maps: S maps.
        size: (h, w) of the result.
        source: (S, C, H, W), whose size and device count.
        corners: of windows of the results: the row and column that each begins at, so that a window's positions are to
            the bit those of the whole. None: 0, 0.

    Returns:
        (S, h, w, 2) float32, column first.
    """
    height, width = source.shape[-2:]
    # In float64 up to here, and without a matrix product on the device, which a GPU may compute with ten bits.
    unit = np.array([[2 / width], [2 / height]])
    numbers = np.stack(maps) * unit
    numbers[:, :, 2] += unit[:, 0] / 2 - 1
    terms = torch.from_numpy(numbers.astype(np.float32)).to(source.device, non_blocking=True)
    by_column, by_row, offset = terms[:, None, None, :, :].unbind(-1)  # each (S, 1, 1, 2)
    rows = torch.arange(size[0], device=source.device, dtype=torch.float32)[:, None, None]
    columns = torch.arange(size[1], device=source.device, dtype=torch.float32)[:, None]
    if corners is not None:
        first = torch.tensor(corners, dtype=torch.float32).to(source.device, non_blocking=True)
        top, left = first[:, :, None, None, None].unbind(1)  # each (S, 1, 1, 1)
        rows, columns = rows + top, columns + left
    return by_column * columns + (by_row * rows + offset)


def sample(
    images: Tensor, maps: Sequence[np.ndarray], size: tuple[int, int], padding: Literal["border", "zeros"]
) -> Tensor:
    """Bilinear resampling of slices, each through its own map.

    Args:
        images: (S, C, H, W) floating point.
        maps: S maps.
        size: (h, w) of the result.
        padding: what lies outside the source: its border, or zeros.

    Returns:
        (S, C, h, w).
    """
    grid = grid_of(maps, size, images).to(images.dtype)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
