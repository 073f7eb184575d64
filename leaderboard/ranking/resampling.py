"""Drawing patients with replacement, and means over each draw.

All of a patient's cases move together: two slabs of one brain say less than slabs of two. A resample is a row of counts
(how often each patient was drawn), so a resampled mean is a product of matrices. Values are put on a binary grid that
is coarse enough to make every sum exact, so the bits do not depend on the order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.trainings import groups, width

#: The units that may be resampled.
UNITS = ("patient", "case")
#: How many numbers a chunk of resamples may hold in each of a few arrays.
_CHUNK = 4_000_000
_FLOAT_BITS = 53


@dataclass(frozen=True)
class Resamples:
    """How often each unit was drawn, and each training where methods have several."""

    counts: np.ndarray  #: shape (resamples, units)
    unit_of_case: np.ndarray  #: the unit of each case, shape (cases,)
    trainings: np.ndarray | None = None  #: of each column (`trainings`), shape (resamples, columns)

    @property
    def units(self) -> int:
        """Number of patients (or cases)."""
        return int(self.counts.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """Cases of each unit, shape (units,)."""
        return np.bincount(self.unit_of_case, minlength=self.units)

    @property
    def most_cases(self) -> int:
        """Upper bound for the number of cases in a resample."""
        return int(self.sizes.max()) * self.units

    def distinct(self) -> tuple[Resamples, np.ndarray]:
        """The different draws among them, and which of these each is, shape (resamples,): few units have few."""
        if self.trainings is not None:
            return self, np.arange(len(self.counts))
        counts, place = np.unique(self.counts, axis=0, return_inverse=True)
        return Resamples(counts, self.unit_of_case), place.reshape(-1)

    def chunks(self, width: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of the resamples with their counts as floats, small enough for arrays of `width` columns."""
        step = max(_CHUNK // max(width, self.units), 1)
        for start in range(0, len(self.counts), step):
            part = slice(start, start + step)
            yield part, self.counts[part].astype(float)


def draw(matrices: Matrices, *, unit: str, resamples: int, seed: int) -> Resamples:
    """Draw as many units as there are, with replacement, `resamples` times.

    The raw stream of PCG64 is scaled here: NumPy promises never to change that stream, but not what its samplers
    derive from it.
    """
    names = matrices.patients if unit == "patient" else matrices.cases
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    units = len(place)
    stream = np.random.PCG64(seed)
    counts = np.empty((resamples, units), dtype=np.uint16 if units < 2**16 else np.uint32)
    step = max(_CHUNK // units, 1)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        high_bits = stream.random_raw(rows * units) >> np.uint64(32)
        drawn = (high_bits * np.uint64(units) >> np.uint64(32)).astype(np.int64).reshape(rows, units)
        flat = (drawn + units * np.arange(rows)[:, None]).ravel()
        counts[start : start + rows] = np.bincount(flat, minlength=rows * units).reshape(rows, units)
    return Resamples(counts, np.array([place[name] for name in names]), _draw_trainings(matrices, resamples, seed))


def _draw_trainings(matrices: Matrices, resamples: int, seed: int) -> np.ndarray | None:
    """Of each group of S trainings, S with replacement, from a stream of its own; None without any group."""
    found = groups(matrices)
    if not found:
        return None
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(1,)))
    counts = np.zeros((resamples, width(found)), dtype=np.uint16)
    rows = np.arange(resamples)[:, None]
    for group in found:
        several = np.uint64(group.trainings)
        drawn = (stream.random_raw(resamples * group.trainings) >> np.uint64(32)) * several >> np.uint64(32)
        flat = drawn.astype(np.int64).reshape(resamples, group.trainings) + group.trainings * rows
        counts[:, group.columns] = np.bincount(flat.ravel(), minlength=flat.size).reshape(flat.shape)
    return counts


def resampled_means(values: np.ndarray, resamples: Resamples, columns: np.ndarray | None = None) -> np.ndarray:
    """Mean over the cases of each resample, the same to the bit on any machine.

    Args:
        values: shape (methods, cases).
        resamples: of these cases.
        columns: what each training adds (`trainings.mean_columns`), shape (methods, columns); None: nothing.

    Returns:
        Shape (methods, resamples); equal means are equal floats.
    """
    totals, unit = unit_totals(values, resamples)
    coarse = unit * 2.0 ** math.ceil(math.log2(4 * values.shape[1]))  # the rounding of each case to the grid adds up
    result = np.empty((len(values), len(resamples.counts)))
    for part, counts in resamples.chunks(len(values)):
        sums = np.round(counts @ totals.T / coarse) * coarse
        result[:, part] = (sums / (counts @ resamples.sizes)[:, None]).T
    if columns is not None and resamples.trainings is not None:
        result += _training_errors(columns, resamples.trainings)
    return result


def _training_errors(columns: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The drawn columns of each resample added up, shape (methods, resamples); on a grid that makes the sums exact."""
    largest = float(np.abs(columns).max(initial=0.0)) * columns.shape[1]
    unit = math.ldexp(1.0, math.frexp(largest)[1] - _FLOAT_BITS + 1)
    columns = np.round(columns / unit) * unit
    errors = np.empty((len(columns), len(drawn)))
    step = max(_CHUNK // columns.shape[1], 1)
    for start in range(0, len(drawn), step):
        part = slice(start, start + step)
        errors[:, part] = columns @ drawn[part].T.astype(float)
    return errors


def unit_totals(values: np.ndarray, resamples: Resamples) -> tuple[np.ndarray, float]:
    """Sum of each unit's cases, on the grid, and the grid's unit.

    Returns:
        Shape (methods, units), so that sums weighted by counts are exact in double precision; and the unit.
    """
    largest = float(np.abs(values).max()) * resamples.most_cases
    unit = math.ldexp(1.0, math.frexp(largest)[1] - _FLOAT_BITS + 1)
    totals = np.zeros((len(values), resamples.units))
    for case, place in enumerate(resamples.unit_of_case):
        totals[:, place] += np.round(values[:, case] / unit) * unit
    return totals, unit


def cluster_errors(values: np.ndarray, resamples: Resamples) -> np.ndarray:
    """The contribution of each unit to the error of each method's mean.

    The mean is a ratio, (sum of the units' totals) / (sum of their cases); its linearised error is a sum over units,
    and the standard error of a difference of methods the root of the summed squared differences (cluster-robust, with
    the factor G / (G - 1) for G units: Cochran, Sampling Techniques, 3rd ed., section 6.4).

    Returns:
        Shape (methods, units): sqrt(G / (G - 1)) * (total - mean * size) / cases; NaN for a single unit.
    """
    totals, _ = unit_totals(values, resamples)
    cases = len(resamples.unit_of_case)
    mean = totals.sum(axis=1, keepdims=True) / cases
    units = resamples.units
    factor = math.sqrt(units / (units - 1)) if units > 1 else math.nan
    return np.asarray(factor * (totals - mean * resamples.sizes) / cases)
