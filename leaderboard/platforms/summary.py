"""From the rows of a submission to what a platform may show: aggregates over all cases, finite numbers alone."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.cohort.case import Case
from leaderboard.columns import DATA, NUMBERS, STATUSES, SYNTHETIC_DATA
from leaderboard.presets import PRESETS
from leaderboard.ranking.exact import means, standard_deviations
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.reading import read_matrices
from leaderboard.report.origin import own_version

#: As in leaderboard.csv.
_DECIMALS = 6


@dataclass(frozen=True)
class Aggregate:
    """A metric over all cases, each counted as the policy says, so that every number is finite."""

    mean: float
    sd: float
    least: float
    median: float
    most: float
    undefined: int  #: cases in which nothing was measured, missing ones among them


@dataclass(frozen=True)
class Summary:
    """A submission in numbers that name no case."""

    cases: int  #: that were to be predicted
    statuses: Mapping[str, int]  #: number of cases of each status, in the order of `columns.STATUSES`
    metrics: Mapping[str, Aggregate]  #: by the name of the column in cases.csv, those ranked by first
    ranked: Mapping[str, bool]  #: the metrics that the challenge ranks by, and whether more is better
    about: Mapping[str, str]  #: preset, scheme, policy and version, and that the data are synthetic where they are

    def flat(self) -> dict[str, float | int]:
        """All numbers by one name each, means and deviations as the columns of leaderboard.csv are called."""
        numbers: dict[str, float | int] = {}
        for name, found in self.metrics.items():
            numbers |= {f"{name}_mean": found.mean, f"{name}_sd": found.sd, f"{name}_median": found.median}
            numbers[f"{name}_undefined"] = found.undefined
        return numbers | {"cases": self.cases} | dict(self.statuses)


def options_of(preset: str) -> RankingOptions:
    """How a challenge counts; without a preset the leaderboard's defaults.

    Raises:
        InputError: there is no such preset.
    """
    return RankingOptions.of_preset(preset, resamples=0) if preset else RankingOptions(resamples=0)


def summarise(cases: pd.DataFrame, preset: str = "") -> Summary:
    """The aggregates of one method.

    Args:
        cases: its rows, in the layout of cases.csv.
        preset: the challenge whose rules count.

    Raises:
        InputError: a metric that the challenge ranks by is not among the columns.
    """
    options = options_of(preset)
    cases, matrices = read_matrices(cases, options)
    ranked = dict(matrices.higher_is_better)
    ddof = POLICIES[options.policy].ddof
    metrics = {}
    for name in [*ranked, *(other for other in matrices.values if other not in ranked)]:
        values = matrices.values[name]
        numbers = (means(values), standard_deviations(values, ddof), values.min(1), np.median(values, 1), values.max(1))
        mean, sd, least, median, most = (round(float(number[0]), _DECIMALS) for number in numbers)
        metrics[name] = Aggregate(mean, sd, least, median, most, int(cases[name].isna().sum()))
    rules = PRESETS.get(preset)
    about = {"preset": preset or "none", "rules": rules.words if rules else "the leaderboard's defaults"}
    about |= {"scheme": options.scheme, "policy": options.policy, "version": f"isles-benchmark {own_version()}"}
    if DATA in cases.columns and (cases[DATA] == SYNTHETIC_DATA).any():
        about[DATA] = SYNTHETIC_DATA
    statuses = {status: int((cases["status"] == status).sum()) for status in STATUSES}
    return Summary(len(cases), statuses, metrics, ranked, about)


def per_case_rows(frame: pd.DataFrame, names: Mapping[str, str] | None = None) -> list[dict[str, object]]:
    """A row a case as JSON takes it: only what is there, no method.

    Args:
        frame: rows of one method in the layout of cases.csv.
        names: another name of each case and patient; rows then stand in the order of these names. None: their own.
    """
    rows = []
    for row in frame.to_dict("records"):
        kept = {str(key): value for key, value in row.items() if key != "method" and not pd.isna(value) and value != ""}
        for key, value in kept.items():
            if key in NUMBERS:
                kept[key] = int(value) if NUMBERS[key].whole else float(value)
            elif names and key in ("case", "patient"):
                kept[key] = names[value]
        rows.append(kept)
    return sorted(rows, key=lambda row: str(row["case"])) if names else rows


def invented_names(cases: Sequence[Case]) -> dict[str, str]:
    """A name for each case and patient that is the same for all submissions and that only the references tell.

    The names are keyed digests (HMAC-SHA256); the key is made of the bytes of all references.
    """
    key = hashlib.sha256()
    for case in cases:
        key.update(hashlib.sha256(Path(case.reference).read_bytes() if case.reference else b"").digest())
    texts = {case.name for case in cases} | {case.patient for case in cases if case.patient}
    digests = {text: hmac.new(key.digest(), text.encode(), hashlib.sha256).hexdigest()[:16] for text in texts}
    return {text: f"case_{digest}" for text, digest in digests.items()}
