"""From an analysis to the page's HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from leaderboard.cases import require
from leaderboard.cohort.formats import Cohort
from leaderboard.columns import CASE_COLUMNS, CORE_METRICS, METRICS, STATUSES
from leaderboard.errors import InputError
from leaderboard.io.images import write_text
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.ranks import Analysis
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report import DEFAULT_TITLE, PAGE, box_plots, page_tables, scatter, stability, svg
from leaderboard.report.content import Content, core_and_further
from leaderboard.report.leaderboard_files import (
    GROUP_NOTE,
    PERCENTILE_COVERAGE,
    SAME_SIDE,
    SAME_SIDE_NOTE,
    TOO_FEW_NOTE,
    counted_note,
    ranked_by,
    ranked_by_text,
    shown_metrics,
    synthetic_note,
    title,
    undefined_note,
    with_and,
)
from leaderboard.report.pictures import Picture, Predictions, take_pictures
from leaderboard.report.published import OTHER_DATA, OTHER_FIGURES, Published, read_quotes
from leaderboard.report.section import Section

_LEVEL = 0.05
#: With more methods the matrix prints significant p values alone.
_CROWDED = 16
#: It shows so many, the best.
_MATRIX = 100
_PART = re.compile(r"[_.\-/](?=[^\W_])")


def write_page(out: Path, html: str) -> Path:
    """Write ``index.html`` into a folder, which is made where it is not there, and return its path.

    Raises:
        InputError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror or error}): choose another folder") from None
    write_text(out / PAGE, html)
    return out / PAGE


def render_page(
    analysis: Analysis,
    *,
    heading: str = DEFAULT_TITLE,
    banner: str = "",
    notes: Mapping[str, str] | None = None,
    images: Cohort | None = None,
    predictions: Mapping[str, Predictions] | None = None,
    published: Published | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """The page's HTML. The same arguments give the same bytes; of the time or the machine nothing else goes in.

    Args:
        analysis: what `ranking.ranks.analyse` made of the cases.
        heading: the page's title.
        banner: what must be said at the top; that rows are marked as synthetic is said in any case.
        notes: what else a reader should know (versions, commit), key and text, in this order.
        images: the cohort that was scored; with `predictions`, the page shows slices.
        predictions: by method, where its masks lie: a folder, several folders (one a fold), or a function from a
            case's name to its file. A method without them goes without pictures.
        published: a quoted table (`published.read_published`), which gets a section of its own.
        sections: more of them.

    Raises:
        InputError: the rows lack a column of the contract, or a mask or image to draw is at fault or is not the one
            that was scored.
    """
    require(analysis.cases, CASE_COLUMNS, "the page")
    if empty := [name for name in CORE_METRICS if name not in analysis.matrices.values]:
        raise InputError(f"the page needs values in the columns {', '.join(empty)}: score the predictions again")
    content, scheme = Content(analysis), SCHEMES[analysis.options.scheme]
    pictures, unpictured = take_pictures(content, images, predictions or {}) if images else ([], [])
    core, further = core_and_further(content)
    case_rows, covered = page_tables.case_rows(content)
    status_names = [page_tables.STATUS_NAMES[status] for status in STATUSES]
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            title=heading,
            banner=banner if "synthetic" in banner.lower() else f"{synthetic_note(analysis.table)} {banner}".strip(),
            content=content,
            style=Markup(_resource("page.css")),
            script=Markup(_resource("page.js")),
            script_hash=_hash(_resource("page.js")),
            scheme_text=scheme.words,
            uncertainty=analysis.uncertainty,
            units=content.units,
            says_nothing=bool(analysis.uncertainty and analysis.uncertainty.tells_nothing and len(content.methods) > 1),
            too_few_note=TOO_FEW_NOTE,
            group_note=GROUP_NOTE,
            percentile_coverage=PERCENTILE_COVERAGE.replace("'", "’"),
            ranked_by="" if scheme.metric else ranked_by_text(content.table),
            what_schemes_rank_by=_what_schemes_rank_by(analysis.matrices),
            stability_text=_stability_text(content),
            quotes=read_quotes(content.methods),
            other_figures=OTHER_FIGURES.replace("'", "’"),
            published=published,
            published_rows=published.rows(CORE_METRICS) if published else [],
            published_titles=[title(name) for name in CORE_METRICS],
            other_data=OTHER_DATA,
            same_side=SAME_SIDE if "core_agreement_mean" in content.table.columns else "",
            same_side_note=SAME_SIDE_NOTE,
            marks={method: svg.method_mark(number)[2] for method, number in content.colours.items()},
            board=_board(content),
            undefined_note=undefined_note(content.table).replace("'", "’"),
            counted_note=counted_note(content.table),
            any_missing=bool((content.table["missing"] > 0).any()),
            board_titles=page_tables.metric_titles(shown_metrics(content.table), ranked_by(content.table)),
            stability=stability.rank_stability(content),
            distributions=box_plots.box_plots(content, core),
            further=box_plots.box_plots(content, further) if further else None,
            further_names=with_and([METRICS[name].title for name in further]),
            crowded=len(content.methods) > _CROWDED,
            compared=content.methods[:_MATRIX],
            significance=significance_cells(analysis.significance[:_MATRIX, :_MATRIX]),
            scheme_figure=stability.scheme_ranks(content) if len(content.methods) > 1 else None,
            scheme_rows=list(zip(content.methods, analysis.agreement.ranks.T.tolist(), strict=True)),
            taus=[[page_tables.number(tau) for tau in row] for row in analysis.agreement.tau.tolist()],
            bland_altman=scatter.bland_altman(content),
            agreement_rows=page_tables.agreement_rows(content),
            dice_by_size=scatter.dice_by_size(content),
            sizes=page_tables.size_rows(content),
            pictures=_by_method(pictures),
            unpictured=unpictured,
            no_pictures=_no_pictures(images, predictions),
            case_titles=page_tables.case_titles(),
            case_rows=case_rows,
            covered=covered,
            status_names=status_names,
            statuses=page_tables.status_rows(content),
            policy_rows=page_tables.policy_rows(content),
            sections=[(section, *page_tables.section_rows(section)) for section in sections],
            facts=page_tables.facts(content, notes or {}),
            number=page_tables.number,
        )
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
            "cells": page_tables.metric_cells({str(key): value for key, value in row.items()}, shown),
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
                "first_value": page_tables.sortable(float(found.first_share[place])),
                "group": found.tie_labels[place],
            }
        board.append(entry)
    return board


def _stability_text(content: Content) -> str:
    """What was resampled and how well the resampled rankings agree."""
    found = content.analysis.uncertainty
    if not found:
        return ""
    options, tau = content.options, found.tau_summary()
    text = f"{options.resamples:,} resample{'s' * (options.resamples != 1)} of {content.units}, seed {options.seed}."
    if not np.isnan(tau["mean"]):
        text += (
            f" Kendall’s τ between resampled and full ranking: mean {page_tables.number(tau['mean'])}, "
            f"95 % of resamples from {page_tables.number(tau['low'])} to {page_tables.number(tau['high'])}."
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
                cells.append((page_tables.NOTHING, "self", ""))
            else:
                won = p_value < _LEVEL
                text = "<.001" if p_value < 0.001 else ">.99" if p_value > 0.99 else f"{p_value:.3f}".lstrip("0")
                cells.append((text if won or not crowded else "·", "win" if won else "", " significant" if won else ""))
        matrix.append(cells)
    return matrix


def _what_schemes_rank_by(matrices: Matrices) -> str:
    """Which schemes look at a metric of their own, and what the others look at."""
    own = [f"the scheme {scheme.name} looks at {title(scheme.metric)}" for scheme in SCHEMES.values() if scheme.metric]
    text = f"{', '.join(own)}, the others at {with_and([title(name) for name in matrices.higher_is_better])}."
    return text[0].upper() + text[1:]


def _no_pictures(images: Cohort | None, predictions: Mapping[str, Predictions] | None) -> str:
    """Why there are no pictures at all."""
    if images is None:
        return "No images were given (report --cohort COHORT --predictions METHOD=DIR), so no slices are shown."
    if not predictions:
        return "No predictions were given (report --predictions METHOD=DIR), so no slices are shown."
    return "The predictions that were given are of no method of this table, so no slices are shown."


def _by_method(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    grouped: dict[str, list[Picture]] = {}
    for picture in pictures:
        grouped.setdefault(picture.method, []).append(picture)
    return grouped
