"""One case from arrays: what programs call, which refuses what files would be refused for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from leaderboard.errors import InputError
from leaderboard.io.grids import Grid
from leaderboard.io.masks import binary_mask, own_faults, probability_map, shape_faults
from leaderboard.scoring.one_case import score_case


def score_arrays(
    prediction: np.ndarray | None,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    probabilities: np.ndarray | None = None,
) -> dict[str, float | str]:
    """Status and metrics of one case; the same as `score_folder` gives for the same values in files.

    Args:
        prediction: the mask, shape (X, Y, Z), 1 is lesion and 0 is not (what rounds to them within 1e-3 counts as
            such); None if there is none.
        reference: the ground truth, likewise, same shape.
        spacing_mm: size of a voxel along each axis in mm, 0.05 to 20.
        probabilities: the map that the mask comes from, same shape, in [0, 1]; None if there is none.

    Returns:
        ``status`` and the metrics by the names of their columns, NaN where undefined. With a missing prediction only
        what the reference alone tells.

    Raises:
        InputError: shapes differ or are not of three axes, a voxel size is not possible, a mask holds anything else
            than 0 and 1, or a map a value beyond 0 to 1 (NaN in either); with all that is wrong.
    """
    sizes = tuple(float(size) for size in spacing_mm)
    shape = np.shape(reference)
    if len(shape) == 3 != len(sizes):
        raise InputError(f"spacing_mm: has {len(sizes)} numbers where the reference has three axes: give one for each")
    grid = Grid(shape, sizes)  # type: ignore[arg-type]
    problems = [f"reference: {fault}" for fault in own_faults(grid)]
    truth = _decoded("reference", reference, grid, binary_mask, problems)
    mask = None if prediction is None else _decoded("prediction", prediction, grid, binary_mask, problems)
    map_ = None if probabilities is None else _decoded("probabilities", probabilities, grid, probability_map, problems)
    if problems:
        raise InputError(problems)
    return score_case(mask, truth, sizes, map_)


def _decoded(
    name: str,
    given: np.ndarray,
    grid: Grid,
    decode: Callable[[np.ndarray, str], np.ndarray],
    problems: list[str],
) -> np.ndarray:
    """What an array holds as `decode` reads it; what is wrong with it goes to `problems`."""
    data = np.asarray(given)
    problems += [f"{name}: {fault}" for fault in shape_faults(Grid(data.shape, grid.spacing_mm), grid)]
    if not data.size:
        problems.append(f"{name}: holds no voxels: give an array with some")
    elif data.dtype.kind not in "biuf":
        problems.append(f"{name}: holds no numbers, but the type {data.dtype}: give an array of numbers")
    else:
        try:
            return decode(data, name)
        except InputError as error:
            problems += error.problems
    return data
