"""From the content to the page's HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from leaderboard.cohort import Cohort
from leaderboard.policy import METRICS, STATUSES
from leaderboard.ranking import Analysis
from leaderboard.report import rows, scatter, stability, svg, tables
from leaderboard.report.data import Content, core_and_further, gather
from leaderboard.report.pictures import Picture, Predictions, take_pictures
from leaderboard.uncertainty import Uncertainty

#: What the schemes do, for the reader.
SCHEME_TEXTS = {
    "dice": "orders the methods by their mean Dice over all cases, as the published table of 2018 does",
    "mean-then-rank": "ranks the methods by their mean of each metric and averages these ranks",
    "rank-then-mean": "ranks the methods in every case and metric and averages these ranks, as ISLES 2015 to 2017 did",
    "test-then-rank": "orders the methods by the share of pairwise one-sided Wilcoxon tests that they win",
}
_LEVEL = 0.05
#: With more methods the matrix prints significant p values alone.
_CROWDED = 16
#: It shows so many, the best.
_MATRIX = 100
_PART = re.compile(r"[_.\-/](?=[^\W_])")
#: Where twins of `benchmark twin` keep their arguments.
_TWIN = "twin.json"


def render_report(
    cases: pd.DataFrame,
    analysis: Analysis,
    *,
    scheme: str,
    policy: str,
    title: str,
    notes: Mapping[str, str],
    synthetic: bool | None,
    images: Cohort | None,
    predictions: Mapping[str, Predictions] | None,
) -> str:
    """The page's text; arguments as for `report.write_report`."""
    content = gather(cases, analysis, scheme, policy)
    pictures, unpictured = take_pictures(content, images, predictions or {}) if images else ([], [])
    core, further = core_and_further(content)
    case_rows, covered = tables.case_rows(content)
    status_names = [tables.STATUS_NAMES[status] for status in STATUSES]
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            title=title,
            synthetic=is_synthetic(notes, images) if synthetic is None else synthetic,
            content=content,
            style=Markup(_resource("page.css")),
            script=Markup(_resource("page.js")),
            script_hash=_hash(_resource("page.js")),
            scheme_text=SCHEME_TEXTS[scheme],
            uncertainty=analysis.uncertainty,
            stability_text=_stability_text(analysis.uncertainty),
            board=_board(content),
            any_missing=bool((content.table["missing"] > 0).any()),
            board_titles=tables.metric_titles(),
            stability=stability.rank_stability(content),
            distributions=rows.distributions(content, core),
            further=rows.distributions(content, further) if further else None,
            further_names=svg.listed([METRICS[name].title for name in further]),
            crowded=len(content.methods) > _CROWDED,
            compared=content.methods[:_MATRIX],
            significance=_significance(analysis.significance[:_MATRIX, :_MATRIX]),
            scheme_figure=stability.scheme_ranks(content) if len(content.methods) > 1 else None,
            scheme_rows=list(zip(content.methods, analysis.agreement.ranks.T.tolist(), strict=True)),
            taus=[[tables.number(tau) for tau in row] for row in analysis.agreement.tau.tolist()],
            bland_altman=scatter.bland_altman(content),
            agreement_rows=tables.agreement_rows(content),
            dice_by_size=scatter.dice_by_size(content),
            sizes=tables.size_rows(content),
            pictures=_by_method(pictures),
            unpictured=unpictured,
            case_titles=tables.case_titles(),
            case_rows=case_rows,
            covered=covered,
            status_names=status_names,
            statuses=tables.status_rows(content),
            policy_rows=tables.policy_rows(content),
            facts=tables.facts(content, notes),
            number=tables.number,
        )
    )


def is_synthetic(notes: Mapping[str, str], images: Cohort | None) -> bool:
    """Whether the notes speak of a synthetic cohort, or the images are a twin's."""
    spoken = any("synthetic" in f"{key} {text}".lower() for key, text in notes.items())
    return spoken or (
        images is not None and any((folder / _TWIN).is_file() for folder in (images.root, images.root.parent))
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("leaderboard.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["safe_svg"] = Markup
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """A name, escaped, that may break after each of its parts."""
    return Markup(_PART.sub(r"\g<0><wbr>", str(escape(name))))


def _resource(name: str) -> str:
    return resources.files("leaderboard.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script as the page's content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _board(content: Content) -> list[dict[str, object]]:
    """The rows of the ranking."""
    found = content.analysis.uncertainty
    count = len(content.methods)
    board = []
    for place, row in enumerate(content.table.to_dict("records")):
        method = str(row["method"])
        entry: dict[str, object] = {
            "rank": row["rank"],
            "method": method,
            "colour": content.colours[method] % svg.COLOURS,
            "missing": row["missing"],
            "cells": tables.metric_cells({str(key): value for key, value in row.items()}),
        }
        if found:
            low, high = int(found.rank_low[place]), int(found.rank_high[place])
            entry |= {
                "low": low,
                "high": high,
                "left": f"{100 * (low - 1) / count:.1f}%",
                "right": f"{100 * (count - high) / count:.1f}%",
                "boot_low": int(found.boot_low[place]),
                "boot_high": int(found.boot_high[place]),
                "first": f"{100 * float(found.first_share[place]):.1f} %",
                "first_value": tables.sortable(float(found.first_share[place])),
                "group": found.tie_labels[place],
            }
        board.append(entry)
    return board


def _stability_text(found: Uncertainty | None) -> str:
    """What was resampled and how well the resampled rankings agree."""
    if not found:
        return ""
    tau = found.tau_summary()
    text = f"{found.resamples:,} resamples of {found.units} {found.unit}s, seed {found.seed}."
    if not np.isnan(tau["mean"]):
        text += (
            f" Kendall’s τ between resampled and full ranking: mean {tables.number(tau['mean'])}, "
            f"95 % of resamples from {tables.number(tau['low'])} to {tables.number(tau['high'])}."
        )
    return text


def _significance(p_values: np.ndarray) -> list[list[tuple[str, str, str]]]:
    """Text, class and spoken text of each cell of the matrix."""
    matrix = []
    crowded = len(p_values) > _CROWDED
    for row, values in enumerate(p_values.tolist()):
        cells = []
        for column, p_value in enumerate(values):
            if row == column or np.isnan(p_value):
                cells.append((tables.NOTHING, "self", ""))
            else:
                won = p_value < _LEVEL
                text = "<.001" if p_value < 0.001 else ">.99" if p_value > 0.99 else f"{p_value:.3f}".lstrip("0")
                cells.append((text if won or not crowded else "·", "win" if won else "", " significant" if won else ""))
        matrix.append(cells)
    return matrix


def _by_method(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    grouped: dict[str, list[Picture]] = {}
    for picture in pictures:
        grouped.setdefault(picture.method, []).append(picture)
    return grouped
