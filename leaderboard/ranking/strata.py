"""The same ranking within strata: by the size of the reference, or by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from leaderboard.cases import complete, require, sort_cases
from leaderboard.cohort.names import natural_key
from leaderboard.errors import InputError, listed
from leaderboard.ranking.options import DEFAULTS, STRATA, RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.reading import check_comparable

#: Reference volumes in mL between the sizes; a volume on a limit belongs to the larger size.
SIZE_LIMITS_ML = (5.0, 20.0, 70.0)
SIZE_NAMES = ("below 5 mL", "5 to 20 mL", "20 to 70 mL", "70 mL and more")


def rank_strata(
    cases: pd.DataFrame,
    by: str,
    options: RankingOptions = DEFAULTS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """The leaderboard of each stratum that has cases, from small to large or by fold.

    Args:
        cases: one row for each (method, case), as `cases.read_cases` gives them.
        by: one of `STRATA`.
        options: how to rank.
        progress: called with (done, total), anew for each stratum.

    Raises:
        InputError: the rows cannot be compared, or methods disagree on the fold of a case.
    """
    return {name: rank_methods(rows, options, progress) for name, rows in split(cases, by).items()}


def split(cases: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    """The rows of each stratum; a case is in the same one for all methods.

    Raises:
        InputError: the rows cannot be compared, or methods disagree on the fold of a case.
    """
    cases = complete(cases)
    check_comparable(cases)
    if by not in STRATA:
        raise InputError(f"the strata {by} are unknown: choose {' or '.join(STRATA)}")
    if by == "fold":
        return _by_fold(cases)
    require(cases, ("reference_ml",), "ranking by size")
    # volumes may differ in their last digits: those of the first method that has them count for all
    known = sort_cases(cases).dropna(subset="reference_ml")
    volume = known.drop_duplicates("case").set_index("case")["reference_ml"].astype(float)
    if unknown := sorted(set(cases["case"]) - set(volume.index), key=natural_key):
        raise InputError(f"{listed(unknown)}: no method has a reference_ml: fill it in to rank by size")
    stratum = np.digitize(cases["case"].map(volume), SIZE_LIMITS_ML)
    return {name: cases[stratum == number] for number, name in enumerate(SIZE_NAMES) if (stratum == number).any()}


def _by_fold(cases: pd.DataFrame) -> dict[str, pd.DataFrame]:
    if cases["fold"].isna().all():
        raise InputError("no case has a fold: score with --folds CSV to rank by fold")
    found_in: dict[str, list[str]] = {}
    counts = cases.groupby("case")["fold"].nunique(dropna=False)
    for case in sorted({*counts.index[counts > 1], *cases.loc[cases["fold"].isna(), "case"]}, key=natural_key):
        found = cases.loc[cases["case"] == case, "fold"]
        folds = [f"fold {fold}" for fold in sorted(found.dropna().unique())]
        where = " and in ".join([*folds, *(["no fold"] if found.isna().any() else [])])
        found_in.setdefault(where, []).append(case)
    if found_in:
        raise InputError(_fold_fault(names, where) for where, names in found_in.items())
    return {f"fold {fold}": cases[cases["fold"] == fold] for fold in sorted(cases["fold"].unique())}


def _fold_fault(names: Sequence[str], where: str) -> str:
    verb, pronoun = ("is", "it") if len(names) == 1 else ("are", "each")
    return f"{listed(names)} {verb} in {where}: give {pronoun} one fold for all methods to rank by fold"
