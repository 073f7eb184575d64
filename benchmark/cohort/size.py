"""How large the cases of a cohort are."""

from __future__ import annotations

import math

from leaderboard.cohort.formats import Cohort
from leaderboard.io.images import read_geometry


def voxels_of(cohort: Cohort) -> dict[str, int]:
    """Number of voxels by case; only the headers are read."""
    return {case.name: math.prod(read_geometry(case.images[case.grid])[0]) for case in cohort.cases}
