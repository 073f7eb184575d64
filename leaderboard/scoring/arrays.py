"""One case from arrays: what programs call, which refuses what files would be refused for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from leaderboard.errors import InputError, described
from leaderboard.io.grids import Grid
from leaderboard.io.masks import Noun, binary_mask, own_faults, probability_map, shape_faults
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
        InputError: an argument is no array, or the voxel size no three numbers; shapes differ or are not of three
            axes, a voxel size is not possible, a mask holds anything else than 0 and 1, or a map a value beyond 0 to 1
            (NaN in either); with all that is wrong.
    """
    given = {
        "reference": (reference, binary_mask),
        "prediction": (prediction, binary_mask),
        "probabilities": (probabilities, probability_map),
    }
    arrays, sizes = dict[str, np.ndarray](), tuple[float, ...]()
    problems: list[str] = []
    for name, (value, _) in given.items():
        if value is not None or name == "reference":
            try:
                arrays[name] = _array(name, value)
            except InputError as error:
                problems += error.problems
    try:
        sizes = _sizes(spacing_mm)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    shape = arrays["reference"].shape
    if len(shape) == 3 and len(sizes) != 3:
        raise InputError(f"spacing_mm: has {len(sizes)} numbers where the reference has three axes: give one for each")
    grid = Grid(shape, cast("tuple[float, float, float]", sizes))
    problems = [f"reference: {fault}" for fault in own_faults(grid)]
    decoded: dict[str, np.ndarray] = {}
    for name, data in arrays.items():
        noun: Noun = "map" if name == "probabilities" else "mask"
        problems += [f"{name}: {fault}" for fault in shape_faults(Grid(data.shape, grid.spacing_mm), grid, noun)]
        try:
            decoded[name] = _decoded(name, data, given[name][1])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return score_case(decoded.get("prediction"), decoded["reference"], sizes, decoded.get("probabilities"))


def _array(name: str, value: object) -> np.ndarray:
    """A value as an array of at least one axis.

    Raises:
        InputError: it is none, or has elements of which it does not say what they are.
    """
    if np.ma.is_masked(value):
        raise InputError(f"{name}: is a masked array: fill it, as with {name}.filled(0)")
    try:
        array = np.asarray(value)
        if array.ndim:
            return array
    except (TypeError, ValueError):  # lists of different lengths, or what lies on a GPU
        pass
    raise InputError(f"{name}: is {described(value)}, which is no array: give a NumPy array of three axes")


def _sizes(spacing_mm: object) -> tuple[float, ...]:
    """Numbers of a sequence.

    Raises:
        InputError: it is no sequence of numbers.
    """
    try:
        if not isinstance(spacing_mm, str):
            return tuple(float(size) for size in cast("Sequence[float]", spacing_mm))
    except (TypeError, ValueError, OverflowError):
        pass
    fault = f"is {described(spacing_mm)} where three numbers are needed"
    raise InputError(f"spacing_mm: {fault}: give the size of a voxel along each axis in mm, as in (1.0, 1.0, 5.0)")


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
