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

from leaderboard.cohort.trees import Cohort
from leaderboard.columns import CORE_METRICS, METRICS, STATUSES
from leaderboard.ranking.ranks import Analysis
from leaderboard.report import TWIN, rows, scatter, stability, svg, tables
from leaderboard.report.data import Content, core_and_further, gather
from leaderboard.report.pictures import Picture, Predictions, take_pictures
from leaderboard.report.published import OTHER_DATA, OTHER_FIGURES, Published, read_figures
from leaderboard.report.table import (
    GROUP_NOTE,
    PERCENTILE_COVERAGE,
    SAME_SIDE,
    SAME_SIDE_NOTE,
    TOO_FEW_NOTE,
    counted,
    ranked_by,
    ranked_by_text,
    shown_metrics,
    title,
)

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


def render_report(
    cases: pd.DataFrame,
    analysis: Analysis,
    *,
    scheme: str,
    policy: str,
    heading: str,
    notes: Mapping[str, str],
    synthetic: bool | None,
    images: Cohort | None,
    predictions: Mapping[str, Predictions] | None,
    published: Published | None,
    costs: pd.DataFrame | None,
    spent: Mapping[str, float],
) -> str:
    """The page's text; arguments as for `report.write_report`, `heading` being its title.

    Raises:
        InputError: what was given for the pictures is at fault.
    """
    content = gather(cases, analysis, scheme, policy)
    pictures, unpictured = take_pictures(content, images, predictions or {}) if images else ([], [])
    core, further = core_and_further(content)
    case_rows, covered = tables.case_rows(content)
    status_names = [tables.STATUS_NAMES[status] for status in STATUSES]
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            title=heading,
            synthetic=is_synthetic(notes, images) if synthetic is None else synthetic,
            content=content,
            style=Markup(_resource("page.css")),
            script=Markup(_resource("page.js")),
            script_hash=_hash(_resource("page.js")),
            scheme_text=SCHEME_TEXTS[scheme],
            uncertainty=analysis.uncertainty,
            units=content.units,
            resamples=counted(analysis.uncertainty.resamples, "resample") if analysis.uncertainty else "",
            says_nothing=bool(analysis.uncertainty and analysis.uncertainty.tells_nothing and len(content.methods) > 1),
            too_few_note=TOO_FEW_NOTE,
            group_note=GROUP_NOTE,
            percentile_coverage=PERCENTILE_COVERAGE.replace("'", "’"),
            ranked_by=ranked_by_text(content.table) if scheme != "dice" else "",
            scheme_metrics=svg.listed([title(name) for name in analysis.scores.higher_is_better]),
            stability_text=_stability_text(content),
            figures=read_figures(content.methods),
            other_figures=OTHER_FIGURES.replace("'", "’"),
            published=published,
            published_rows=_published_rows(published),
            published_titles=[title(name) for name in CORE_METRICS],
            other_data=OTHER_DATA,
            same_side=SAME_SIDE if "core_agreement_mean" in content.table.columns else "",
            same_side_note=SAME_SIDE_NOTE,
            marks={method: svg.method_mark(number)[2] for method, number in content.colours.items()},
            board=_board(content),
            any_missing=bool((content.table["missing"] > 0).any()),
            board_titles=tables.metric_titles(shown_metrics(content.table), ranked_by(content.table)),
            stability=stability.rank_stability(content),
            distributions=rows.distributions(content, core),
            further=rows.distributions(content, further) if further else None,
            further_names=svg.listed([METRICS[name].title for name in further]),
            crowded=len(content.methods) > _CROWDED,
            compared=content.methods[:_MATRIX],
            significance=significance_cells(analysis.significance[:_MATRIX, :_MATRIX]),
            scheme_figure=stability.scheme_ranks(content) if len(content.methods) > 1 else None,
            scheme_rows=list(zip(content.methods, analysis.agreement.ranks.T.tolist(), strict=True)),
            taus=[[tables.number(tau) for tau in row] for row in analysis.agreement.tau.tolist()],
            bland_altman=scatter.bland_altman(content),
            agreement_rows=tables.agreement_rows(content),
            dice_by_size=scatter.dice_by_size(content),
            sizes=tables.size_rows(content),
            pictures=_by_method(pictures),
            unpictured=unpictured,
            no_pictures=_no_pictures(images, predictions),
            case_titles=tables.case_titles(),
            case_rows=case_rows,
            covered=covered,
            status_names=status_names,
            statuses=tables.status_rows(content),
            policy_rows=tables.policy_rows(content),
            costs=tables.cost_table(costs) if costs is not None else None,
            spent=svg.listed([f"{what} {tables.duration(seconds)}" for what, seconds in spent.items()]),
            facts=tables.facts(content, notes),
            number=tables.number,
        )
    )


def is_synthetic(notes: Mapping[str, str], images: Cohort | None) -> bool:
    """Whether the notes speak of a synthetic cohort, or the images are a twin's."""
    spoken = any("synthetic" in f"{key} {text}".lower() for key, text in notes.items())
    return spoken or (
        images is not None and any((folder / TWIN).is_file() for folder in (images.root, images.root.parent))
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
    count, shown = len(content.methods), shown_metrics(content.table)
    board = []
    for place, row in enumerate(content.table.to_dict("records")):
        method = str(row["method"])
        entry: dict[str, object] = {
            "rank": row["rank"],
            "method": method,
            "colour": content.colours[method] % svg.COLOURS,
            "missing": row["missing"],
            "mark": svg.method_mark(content.colours[method])[2],
            "cells": tables.metric_cells({str(key): value for key, value in row.items()}, shown),
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


def _stability_text(content: Content) -> str:
    """What was resampled and how well the resampled rankings agree."""
    found = content.analysis.uncertainty
    if not found:
        return ""
    tau = found.tau_summary()
    text = f"{found.resamples:,} resample{'s' * (found.resamples != 1)} of {content.units}, seed {found.seed}."
    if not np.isnan(tau["mean"]):
        text += (
            f" Kendall’s τ between resampled and full ranking: mean {tables.number(tau['mean'])}, "
            f"95 % of resamples from {tables.number(tau['low'])} to {tables.number(tau['high'])}."
        )
    return text


def significance_cells(p_values: np.ndarray) -> list[list[tuple[str, str, str]]]:
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


def _no_pictures(images: Cohort | None, predictions: Mapping[str, Predictions] | None) -> str:
    """Why there are no pictures at all."""
    if images is None:
        return "No images were given (report --images COHORT --predictions METHOD=DIR), so no slices are shown."
    if not predictions:
        return "No predictions were given (report --predictions METHOD=DIR), so no slices are shown."
    return "The predictions that were given are of no method of this table, so no slices are shown."


def _published_rows(published: Published | None) -> list[list[str]]:
    """Rank, team, then each metric as printed."""
    if published is None:
        return []
    return [
        [row["rank"], row["team"], *(f"{row[f'{name}_mean']} ({row[f'{name}_sd']})" for name in CORE_METRICS)]
        for row in published.table.to_dict("records")
    ]


def _by_method(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    grouped: dict[str, list[Picture]] = {}
    for picture in pictures:
        grouped.setdefault(picture.method, []).append(picture)
    return grouped
