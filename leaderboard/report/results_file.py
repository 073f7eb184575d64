"""results.json: a leaderboard for programs, after the JSON Schema ``results.schema.json`` of this package.

Everything about it comes from the leaderboard's frame and the rows behind it. Whatever columns a metric has
(``dice_mean``, ``dice_sd``, ``dice_ci_low``, ...) go below the metric, ``_ci_low`` and ``_ci_high`` as its interval;
columns of no metric go to ``further``. Numbers are finite: an undefined one is null, and `undefined` counts these.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.cases import cases_csv, has_seeds, synthetic_rows
from leaderboard.cohort.folds import folds_digest
from leaderboard.columns import METRICS, SEED
from leaderboard.presets import PRESETS
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report.origin import Origin

#: Names the layout, in the file and in the schema.
LAYOUT = "urn:isles-benchmark:results:1"
#: The file beside a leaderboard.csv.
RESULTS = "results.json"
#: How such a file begins.
BEGINS = f'{{\n  "layout": "{LAYOUT}"'
_MEAN, _LOW, _HIGH = "_mean", "_ci_low", "_ci_high"
#: Columns that say the same of every method.
_SETTINGS = ("scheme", "policy", "patients", "unit", "resamples", "seed", "sets", "metrics", "preset")
_OF_METHODS = ("rank", "method", "cases", "missing", "score", "rank_low", "rank_high", "tie_group", "first_share")


def results_file(table: Path) -> Path:
    """Where the results of a leaderboard.csv go: results.json beside it, or with its name if it has another one."""
    return table.with_name(RESULTS if table.stem == "leaderboard" else f"{table.stem}_results.json")


def results_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of results.json."""
    text = resources.files("leaderboard.report").joinpath("results.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def results_json(table: pd.DataFrame, cases: pd.DataFrame, origin: Origin, inference: str = "") -> str:
    """The text of results.json; the same arguments give the same text.

    Args:
        table: the leaderboard, from `ranking.ranks.rank_methods`.
        cases: the rows that were ranked.
        origin: how it was made.
        inference: what its intervals and ranks hold for, in words.
    """
    rows = table.to_dict("records")
    content: dict[str, Any] = {
        "layout": LAYOUT,
        "program": {"name": "isles-benchmark", "version": origin.version},
        "synthetic": bool(synthetic_rows(cases).any()),
        "ranking": _ranking(rows[0], origin),
        "inference": inference,
        "cohort": _cohort(cases),
        "folds": _folds(cases),
        "seeds": sorted({int(seed) for seed in cases[SEED].dropna()}) if has_seeds(cases) else [],
        "metrics": {name: _metric(name) for name in _metrics(table)},
        "methods": [_method(row, _metrics(table)) for row in rows],
        "digests": {"cases.csv": hashlib.sha256(cases_csv(cases).encode()).hexdigest()},
        "notes": dict(origin.notes),
    }
    content["undefined"] = _undefined(content["methods"])
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def digest_of_folds(cases: pd.DataFrame) -> str:
    """The digest of the split; empty where a patient or fold is unknown, or methods disagree on one."""
    rows = cases[["case", "patient", "fold"]].drop_duplicates()
    if rows["fold"].isna().any() or (rows["patient"] == "").any() or rows["case"].duplicated().any():
        return ""
    return folds_digest((case, patient, int(fold)) for case, patient, fold in rows.to_numpy(dtype=object).tolist())


def _ranking(first: Mapping[Hashable, Any], origin: Origin) -> dict[str, Any]:
    options = origin.options
    own = SCHEMES[options.scheme].metric
    names = [own] if own else str(first["metrics"]).split(";")
    ranked_by = []
    for name, _, direction in (text.partition(":") for text in names):
        metric = METRICS.get(name)
        higher = direction == "higher" if direction or metric is None else bool(metric.higher_is_better)
        ranked_by.append({"metric": name, "higher_is_better": higher})
    return {
        "preset": options.preset or None,
        "rules": PRESETS[options.preset].rules if options.preset else {},
        "scheme": options.scheme,
        "policy": options.policy,
        "ranked_by": ranked_by,
        "unit": options.unit,
        "resamples": options.resamples,
        "seed": options.seed,
        "simultaneous": options.simultaneous,
    }


def _cohort(cases: pd.DataFrame) -> dict[str, Any]:
    """Size of the cohort, and a digest of its cases, their patients and the volumes of their references."""
    columns = [name for name in ("case", "patient", "reference_ml") if name in cases.columns]
    known = cases[columns].drop_duplicates(subset="case").sort_values("case")
    patients = known["patient"][known["patient"] != ""].nunique()
    text = known.to_csv(index=False, lineterminator="\n")
    return {"cases": len(known), "patients": patients or None, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _folds(cases: pd.DataFrame) -> dict[str, Any] | None:
    """The number of folds and the digest of the split; None where cases have no fold."""
    count = cases["fold"].dropna().nunique()
    return {"count": count, "sha256": digest_of_folds(cases) or None} if count else None


def _metrics(table: pd.DataFrame) -> list[str]:
    return [column.removesuffix(_MEAN) for column in table.columns if _is_mean(column)]


def _is_mean(column: str) -> bool:
    return column.endswith(_MEAN) and not column.endswith("_defined_mean")


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS.get(name)
    if metric is None:
        return {"title": name, "unit": "", "higher_is_better": None}
    return {"title": metric.title, "unit": metric.unit, "higher_is_better": metric.higher_is_better}


def _method(row: Mapping[Hashable, Any], metrics: list[str]) -> dict[str, Any]:
    values = {str(name): _plain(value) for name, value in row.items()}
    measured: dict[str, dict[str, Any]] = {name: {} for name in metrics}
    further: dict[str, Any] = {}
    for column, value in values.items():
        if column in _SETTINGS or column in _OF_METHODS:
            continue
        owner = max((name for name in metrics if column.startswith(f"{name}_")), key=len, default=None)
        if owner is None:
            further[column] = value
        elif column == f"{owner}{_LOW}":
            measured[owner]["interval"] = [value, values.get(f"{owner}{_HIGH}")]
        elif column != f"{owner}{_HIGH}":
            measured[owner][column.removeprefix(f"{owner}_")] = value
    return {
        "rank": values["rank"],
        "method": values["method"],
        "cases": values["cases"],
        "missing": values["missing"],
        "score": values["score"],
        "rank_set": None if values.get("rank_low") is None else [values["rank_low"], values["rank_high"]],
        "tie_group": values.get("tie_group"),
        "first_share": values.get("first_share"),
        "metrics": measured,
        "further": further,
    }


def _plain(value: Any) -> Any:
    """A cell as JSON has it: finite, or None."""
    if pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _undefined(methods: list[dict[str, Any]]) -> int:
    """How many figures of metrics are null."""
    figures = [figure for method in methods for metric in method["metrics"].values() for figure in metric.values()]
    ends = [end for figure in figures for end in (figure if isinstance(figure, list) else [figure])]
    return sum(end is None for end in ends)
