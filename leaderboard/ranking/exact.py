"""Means and ranks that do not depend on the order of the rows, the machine or the number of threads.

Sums are exactly rounded (`math.fsum`), and values are compared at 12 binary-rounded digits.
"""

from __future__ import annotations

import math

import numpy as np

_COMPARED_DIGITS = 12
# How many numbers SciPy ranks at a time.
_CHUNK = 4_000_000


def means(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, exactly rounded."""
    flat = values.reshape(-1, values.shape[-1])
    return np.array([math.fsum(row) / len(row) for row in flat.tolist()]).reshape(values.shape[:-1])


def standard_deviations(values: np.ndarray, ddof: int = 0) -> np.ndarray:
    """Standard deviation over the last axis, from exactly rounded sums; 0 where there are no degrees of freedom."""
    deviations = values - means(values)[..., None]
    count = values.shape[-1]
    return np.asarray(np.sqrt(means(deviations**2) * count / max(count - ddof, 1)))


def comparable(values: np.ndarray) -> np.ndarray:
    """Values with floating-point noise rounded away, so that equal ones tie."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=float))
    return np.asarray(np.ldexp(np.round(mantissa, _COMPARED_DIGITS), exponent))


def competition_ranks(values: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """Ranks from 1 along the first axis; equal values share the smallest rank (1, 2, 2, 4)."""
    from scipy.stats import rankdata

    keys = comparable(values)
    return np.asarray(rankdata(-keys if higher_is_better else keys, method="min", axis=0)).astype(int)


def descending_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 down each column of (methods, resamples), more is better; equal values share the smallest."""
    from scipy.stats import rankdata

    ranks = np.empty(values.shape, dtype=np.int32)
    step = max(_CHUNK // max(len(values), 1), 1)
    for start in range(0, values.shape[1], step):
        part = slice(start, start + step)
        ranks[:, part] = rankdata(-values[:, part].T, method="min", axis=1).T
    return ranks
