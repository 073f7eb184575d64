"""The contents of the page, computed once: the ranking, and every value as measured and as the policy counts it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from leaderboard.cohort.names import natural_key
from leaderboard.columns import CORE_METRICS, METRICS
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import Analysis
from leaderboard.ranking.strata import SIZE_NAMES, split
from leaderboard.report.leaderboard_files import units_text

#: Figures show the best methods, at most this many methods and cases; the tables show all.
FIGURE_METHODS, FIGURE_CASES = 60, 8_000


@dataclass(frozen=True)
class Content:
    """The numbers behind the page."""

    analysis: Analysis  #: the leaderboard and everything about its stability, methods by rank

    @property
    def options(self) -> RankingOptions:
        """How it was ranked."""
        return self.analysis.options

    @property
    def cases(self) -> pd.DataFrame:
        """The rows of cases.csv by method, then case in natural order."""
        return self.analysis.cases

    @property
    def table(self) -> pd.DataFrame:
        """The leaderboard, one row per method."""
        return self.analysis.table

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods by rank."""
        return self.analysis.matrices.methods

    @property
    def shown(self) -> tuple[str, ...]:
        """The methods that figures show, by rank."""
        return self.methods[: min(FIGURE_METHODS, max(FIGURE_CASES // len(self.case_names), 1))]

    @property
    def case_names(self) -> tuple[str, ...]:
        """All cases in natural order."""
        return self.analysis.matrices.cases

    @property
    def units(self) -> str:
        """What was resampled, in words: ``49 patients``; empty if nothing was."""
        found, patients = self.analysis.uncertainty, self.table.get("patients")
        if found is None or patients is None:
            return ""
        known = not pd.isna(patients.iloc[0])
        return units_text(self.options.unit, len(self.case_names), found.units if known else None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the rows have, in the leaderboard's order."""
        return tuple(name for name in METRICS if name in self.analysis.matrices.values)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank by method."""
        return dict(zip(self.methods, self.table["rank"].tolist(), strict=True))

    @cached_property
    def colours(self) -> dict[str, int]:
        """Number of each method's colour: by name, so that it does not change with the scheme."""
        return {method: number for number, method in enumerate(sorted(self.methods, key=natural_key))}

    @cached_property
    def size_of(self) -> dict[str, int]:
        """Number of each case's range of size, as the strata by size have it (`strata.SIZE_NAMES`)."""
        parts = split(self.cases, "size")
        return {str(case): SIZE_NAMES.index(name) for name, rows in parts.items() for case in rows["case"].unique()}

    def sizes(self, method: str) -> np.ndarray:
        """Number of the range of size of each of a method's cases, shape (cases,)."""
        return np.array([self.size_of[case] for case in self.rows_by_method[method]["case"]])

    @cached_property
    def rows_by_method(self) -> dict[str, pd.DataFrame]:
        """Each method's cases as measured, in natural order."""
        return {str(method): rows for method, rows in self.cases.groupby("method", sort=False)}

    def values(self, method: str, metric: str) -> np.ndarray:
        """A method's values of a metric for figures, shape (cases,): as counted, distances only where measured."""
        if METRICS[metric].is_distance:
            rows = self.rows_by_method[method]
            measured = rows[metric].to_numpy(dtype=float)
            return np.where((rows["status"] == "missing").to_numpy(), np.nan, measured)
        return np.asarray(self.analysis.matrices.values[metric][self.methods.index(method)])

    def row(self, method: str, case: str) -> dict[Hashable, Any]:
        """A row of cases.csv, as measured."""
        return self.rows_by_method[method].iloc[self._place_of[case]].to_dict()

    def dice_of(self, method: str, case: str) -> float:
        """Dice of a case, as the policy counts it."""
        return float(self.values(method, "dice")[self._place_of[case]])

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {case: place for place, case in enumerate(self.case_names)}

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each method in the ranking from 0, by which the page shows and hides its drawings."""
        return {method: place for place, method in enumerate(self.methods)}


def core_and_further(content: Content) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The five core metrics, and the others that are plotted."""
    yes_or_no = [name for name, metric in METRICS.items() if metric.whole and metric.most == 1]
    ranked = content.analysis.matrices.higher_is_better
    further = tuple(
        name
        for name in content.metrics
        if name not in (*CORE_METRICS, *yes_or_no) and (METRICS[name].is_drawn or name in ranked)
    )
    return CORE_METRICS, further
