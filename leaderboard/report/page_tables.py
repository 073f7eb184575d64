"""Rows and facts for the page's templates: numbers as text, no HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.cohort.names import natural_key
from leaderboard.columns import CONTRACT, CORE_METRICS, METRICS, OF_PROBABILITIES, STATUSES, Measured
from leaderboard.presets import PRESETS
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.strata import SIZE_NAMES
from leaderboard.report.content import Content
from leaderboard.report.leaderboard_files import ranked_by_text
from leaderboard.report.results_file import digest_of_folds
from leaderboard.report.scatter import volume_agreement
from leaderboard.report.section import Numbers, Section

#: Most rows in the table of cases, those of the best methods; more would make the page too large.
CASE_ROWS = 18_000
#: The matrices of p values and chances show this many of the best methods.
MATRIX = 100
NOTHING = "–"
STATUS_NAMES = {
    "ok": "scored",
    "empty_prediction": "empty prediction",
    "empty_reference": "empty reference",
    "both_empty": "both empty",
    "missing": "missing",
}
#: The required columns without the fold, which comes last.
_CASE_NUMBERS = CONTRACT[1:]
_HUGE = 1e5
_LISTED = 100


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, the number that it is sorted by, and two smaller additions, a line each."""

    text: str
    value: str = ""
    note: str = ""
    interval: str = ""


def number(value: float | None, decimals: int = 2) -> str:
    """A number as the tables print it; huge values of a policy as powers of ten."""
    if value is None or pd.isna(value):
        return NOTHING
    if abs(value) >= _HUGE:
        mantissa, exponent = f"{value:.{decimals}e}".split("e")
        power = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(int(exponent)))
        return f"{mantissa}×10{power}".replace("-", "−")
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def sortable(value: float | None) -> str:
    """The number that a column is sorted by; empty sorts last."""
    return "" if value is None or pd.isna(value) else f"{float(value):.10g}"


def metric_cells(row: Mapping[str, object], metrics: Sequence[str] = CORE_METRICS) -> list[Cell]:
    """Mean, standard deviation and 95 % interval of each metric.

    Distances are over the cases that have one, with the number of the others, and then without an interval: that in the
    row is of the mean with undefined ones counted.
    """
    cells = []
    for name in metrics:
        undefined = int(str(row.get(f"{name}_undefined", 0)))
        over = "_defined" if undefined else ""
        mean, sd = (float(str(row[f"{name}{over}_{part}"])) for part in ("mean", "sd"))
        parts = [] if math.isnan(mean) else [f"({number(sd)})"]
        parts += [f"{undefined} undefined"] if undefined else []
        ends = [float(str(row.get(f"{name}_ci_{end}", "nan"))) for end in ("low", "high")]
        interval = "" if undefined or any(map(math.isnan, ends)) else f"{number(ends[0])} to {number(ends[1])}"
        cells.append(Cell(number(mean), sortable(mean), ", ".join(parts), interval))
    return cells


def metric_titles(
    metrics: Sequence[str] = CORE_METRICS, directions: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(title, direction) of the columns of `metric_cells`; `directions` has those of metrics that are not ours."""
    titles = []
    for name in metrics:
        if name in METRICS:
            titles.append((METRICS[name].heading, METRICS[name].direction))
        else:
            titles.append((name, f"{(directions or {})[name]} is better"))
    return titles


def calibration_rows(content: Content) -> list[tuple[str, list[Cell]]]:
    """For each method whose cases have probability maps, the means of what is measured from these.

    Cases without a value (a missing prediction; average precision without a lesion) are left out of its mean.
    """
    rows = []
    for method in content.methods:
        own = content.rows_by_method[method]
        if not all(name in own.columns for name in OF_PROBABILITIES):
            return []
        mapped = own[own["brier"].notna()]
        if len(mapped) and len(mapped) == int((own["status"] != "missing").sum()):
            means = [float(mapped[name].mean()) for name in OF_PROBABILITIES]
            cells = [Cell(number(mean, 4), sortable(mean)) for mean in means]
            rows.append((method, [Cell(str(len(mapped)), str(len(mapped))), *cells]))
    return rows


def case_rows(content: Content) -> tuple[list[tuple[str, ...]], int]:
    """The rows of the table of cases (required columns as text, scores first), and how many methods they cover."""
    per_method = max(len(content.case_names), 1)
    covered = content.methods[: max(CASE_ROWS // per_method, 1)]
    texts: list[tuple[str, ...]] = []
    for method in covered:
        rows = content.rows_by_method[method]
        columns: list[list[str]] = [
            [method] * len(rows),
            rows["case"].tolist(),
            *(
                [number(value, 3 if column.most == 1 else 2) for value in rows[column.name].to_numpy(dtype=float)]
                for column in _CASE_NUMBERS
            ),
            [STATUS_NAMES[status] for status in rows["status"]],
            [patient or NOTHING for patient in rows["patient"]],
            [NOTHING if pd.isna(fold) else str(int(fold)) for fold in rows["fold"]],
        ]
        texts += zip(*columns, strict=True)
    return texts, len(covered)


def case_titles() -> list[str]:
    """The columns of `case_rows`."""
    return ["Method", "Case", *(column.heading for column in _CASE_NUMBERS), "Status", "Patient", "Fold"]


def agreement_rows(content: Content) -> list[tuple[str, list[Cell]]]:
    """Bland-Altman statistics of each method, and its share of cases on the same side of 70 mL if that is known."""
    rows = []
    shares = content.table.get("core_agreement_mean")
    for place, method in enumerate(content.methods):
        found = volume_agreement(content, method)
        numbers = (found.bias, found.low, found.high, found.correlation)
        cells = [Cell(str(found.cases), str(found.cases))]
        cells += [Cell(number(value), sortable(value)) for value in numbers]
        if shares is not None:
            share = float(shares.iloc[place])
            cells.append(Cell(f"{100 * share:.0f} %", sortable(share)))
        rows.append((method, cells))
    return rows


def size_rows(content: Content) -> tuple[list[tuple[str, int]], list[tuple[str, list[Cell]]]]:
    """The ranges of size with their number of cases, and each method's mean Dice within them."""
    counts = np.bincount(content.sizes(content.methods[0]), minlength=len(SIZE_NAMES))
    rows = []
    for method in content.methods:
        inside, dice = content.sizes(method), content.values(method, "dice")
        means = [float(dice[inside == place].mean()) if counts[place] else None for place in range(len(SIZE_NAMES))]
        rows.append((method, [Cell(number(mean, 3), sortable(mean)) for mean in means]))
    return [(name, int(count)) for name, count in zip(SIZE_NAMES, counts, strict=True)], rows


def status_rows(content: Content) -> list[tuple[str, list[int], str]]:
    """For each method that lacks anything, the number of cases of each status but ``ok``, and the missing cases."""
    rows = []
    for method in content.methods:
        own = content.rows_by_method[method]
        counts = [int((own["status"] == status).sum()) for status in STATUSES[1:]]
        if any(counts):
            missing = sorted(own.loc[own["status"] == "missing", "case"], key=natural_key)
            more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
            rows.append((method, counts, (", ".join(missing[:_LISTED]) or NOTHING) + more))
    return rows


def policy_rows(content: Content) -> list[tuple[str, list[str]]]:
    """What the policy counts for each metric in each situation."""
    policy, rows = POLICIES[content.options.policy], []
    for metric in (METRICS[name] for name in content.metrics):
        values = [policy.value(metric, status) for status in STATUSES[1:]]
        texts = ["computed from the case" if isinstance(value, Measured) else _plain(value) for value in values]
        rows.append((metric.heading, texts))
    return rows


def section_rows(section: Section) -> tuple[list[Numbers], list[tuple[str, list[Cell]]]]:
    """The columns of a section's table that are there, and one row per method."""
    shown = {name: column for name, column in section.columns.items() if name in section.table.columns}
    rows = [
        (
            str(row["method"]),
            [Cell(_grouped(row[name], column.decimals), sortable(row[name])) for name, column in shown.items()],
        )
        for row in section.table.to_dict("records")
    ]
    return list(shown.values()), rows


def _grouped(value: float | None, decimals: int) -> str:
    """A number with commas between thousands."""
    return NOTHING if value is None or pd.isna(value) else f"{float(value):,.{decimals}f}"


def facts(content: Content, notes: Mapping[str, str]) -> list[tuple[str, str]]:
    """The facts that a reader needs to understand or repeat the ranking: key and text."""
    patients = content.cases["patient"].replace("", np.nan).dropna().nunique()
    folds = content.cases["fold"].dropna().nunique()
    options = content.options
    drawn = [("Resamples", str(options.resamples))]
    if options.resamples:
        drawn = [("Unit of resampling", f"{options.unit}: {content.units}"), *drawn, ("Seed", str(options.seed))]
    known = [
        ("Methods", str(len(content.methods))),
        ("Cases", str(len(content.case_names))),
        ("Patients", str(patients) if patients else "not known"),
        ("Folds", str(folds) if folds else "none"),
        ("Fold hash (SHA-256)", digest_of_folds(content.cases) or "none: a fold or a patient is not known"),
        ("Scheme", options.scheme),
        ("Ranked by", ranked_by_text(content.table)),
        ("Policy", options.policy),
        *(PRESETS[options.preset].rules.items() if options.preset else ()),
        *drawn,
        ("Standard deviation", f"ddof = {POLICIES[options.policy].ddof}"),
    ]
    return known + [(key, text) for key, text in notes.items()]


def _plain(value: float) -> str:
    return number(value, 0) if math.isclose(value, round(value)) else number(value)
