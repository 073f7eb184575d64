"""One case from arrays: what programs call, which refuses what files would be refused for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

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
    if len(shape) == 3 and len(sizes) != 3:
        raise InputError(f"spacing_mm: has {len(sizes)} numbers where the reference has three axes: give one for each")
    grid = Grid(shape, cast("tuple[float, float, float]", sizes))
    problems = [f"reference: {fault}" for fault in own_faults(grid)]
    given = {
        "reference": (reference, binary_mask),
        "prediction": (prediction, binary_mask),
        "probabilities": (probabilities, probability_map),
    }
    decoded: dict[str, np.ndarray] = {}
    for name, (array, decode) in given.items():
        if array is None:
            continue
        data = np.asarray(array)
        problems += [f"{name}: {fault}" for fault in shape_faults(Grid(data.shape, grid.spacing_mm), grid)]
        try:
            decoded[name] = _decoded(name, data, decode)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return score_case(decoded.get("prediction"), decoded["reference"], sizes, decoded.get("probabilities"))


def _decoded(name: str, data: np.ndarray, decode: Callable[[np.ndarray, str], np.ndarray]) -> np.ndarray:
    """What an array holds, as `decode` reads it.

    Raises:
        InputError: it holds no numbers, or such as `decode` refuses.
    """
    if not data.size:
        raise InputError(f"{name}: holds no voxels: give an array with some")
    if data.dtype.kind not in "biuf":
        raise InputError(f"{name}: holds no numbers, but the type {data.dtype}: give an array of numbers")
    return decode(data, name)
