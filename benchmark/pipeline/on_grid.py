"""The images of a case on the grid of its reference, in one unit: what is cached, and what other programs are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaderboard.cohort.case import Case, ImageKind
from leaderboard.errors import InputError
from leaderboard.io.grids import Grid, affine_of, resampled, turn_between, turned
from leaderboard.io.images import Volume, read_volume


def read_on_grid(
    case: Case, kinds: Sequence[ImageKind]
) -> tuple[Volume, np.ndarray | None, list[np.ndarray], list[str]]:
    """Read a case's images.

    Args:
        case: the case.
        kinds: which images.

    Returns:
        The image that gives the grid, its affine (`affine_of`), each image as (X, Y, Z) float32 in the order of that
        file's axes, repaired and in its unit, and what is wrong with images (which are then left out).

    Raises:
        InputError: the image that gives the grid cannot be read.
    """
    grid = read_volume(case.images[case.grid])
    affine = affine_of(grid.header, grid.spacing_mm)
    problems: list[str] = []
    images = []
    for kind in kinds:
        try:
            volume = grid if kind.name == case.grid else read_volume(case.images[kind.name])
            images.append(_on_grid(case, kind, volume, grid, affine))
        except InputError as error:
            problems += error.problems
    return grid, affine, images, problems


def _on_grid(case: Case, kind: ImageKind, volume: Volume, grid: Volume, affine: np.ndarray | None) -> np.ndarray:
    """One image of a case, (X, Y, Z) float32 in its unit, on the grid of `grid` (whose affine is given).

    Raises:
        InputError: it lies on another grid, or its values cannot be used.
    """
    path = case.images[kind.name]
    data = volume.data
    if data.ndim == 3 and kind.repaired:
        data = np.nan_to_num(data.astype(np.float32), posinf=0, neginf=0).clip(*kind.repaired)
    own = affine_of(volume.header, volume.spacing_mm)
    problems = []
    if data.ndim == 3 and affine is not None and own is not None:
        onto = Grid(grid.data.shape, grid.spacing_mm, affine)
        turn = turn_between(own, data.shape, onto)
        if turn is not None:
            data = turned(data, turn)
        elif kind.own_grid:
            data = resampled(data, own, grid.data.shape, affine)
        elif sorted(data.shape) == sorted(grid.data.shape):
            here = Grid(data.shape, volume.spacing_mm, own)
            problems.append(f"{path}: lies elsewhere ({here}) than {case.grid} ({onto}): resample it onto that grid")
    elif not np.allclose(volume.spacing_mm, grid.spacing_mm, atol=1e-3):
        problems.append(f"{path}: spacing {volume.spacing_mm} mm where {case.grid} has {grid.spacing_mm} mm")
    if data.shape != grid.data.shape or data.ndim != 3:
        problems.append(f"{path}: shape {data.shape} where {case.grid} has {grid.data.shape}: replace it")
    elif not np.isfinite(data).all():
        problems.append(f"{path}: holds NaN or infinite values: replace it")
    if problems:
        raise InputError(problems)
    data = data.astype(np.float32)
    return data * np.float32(kind.to_unit(data)) if kind.to_unit else data
