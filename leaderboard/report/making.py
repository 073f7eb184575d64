"""The page of a table of cases, written: what ``leaderboard report`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType

import pandas as pd

from leaderboard.cases import A_PATH, complete, path_list
from leaderboard.cohort.banner import read_banners
from leaderboard.cohort.case import Partition
from leaderboard.cohort.formats import check_choices, read_cohort
from leaderboard.errors import InputError, check_types
from leaderboard.io import GridRule
from leaderboard.outputs import prepare_output
from leaderboard.ranking.options import DEFAULTS, RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.ranking.reading import check_given
from leaderboard.report import DEFAULT_TITLE, PAGE
from leaderboard.report.leaderboard_files import results_text, write_all
from leaderboard.report.origin import Origin, own_version
from leaderboard.report.page import render_page
from leaderboard.report.published import read_published
from leaderboard.report.results_file import BEGINS, RESULTS


def report(
    cases: pd.DataFrame,
    out: Path | str,
    options: RankingOptions = DEFAULTS,
    *,
    title: str = DEFAULT_TITLE,
    cohort: Path | str | None = None,
    predictions: Mapping[str, Path | str | Sequence[Path | str]] | None = None,
    partition: Partition | None = None,
    format_name: str | None = None,
    grid: GridRule = "auto",
    notes: Mapping[str, str] | None = None,
    banners: Sequence[str] = (),
    published: str = "",
) -> Path:
    """Rank the methods of some rows; write the page, a self-contained ``index.html``, and ``results.json``, or neither.

    Args:
        cases: one row for each (method, case), as `cases.read_cases` gives them.
        out: folder of the page, which is made if need be.
        options: how to rank.
        title: the page's heading.
        cohort: a cohort's tree with images and references; with `predictions`, the page shows slices.
        predictions: by method, the folder or zip of its masks, or several, one for each fold.
        partition: of a cohort with both; None: training.
        format_name: the cohort's format; None recognises it.
        grid: how the grids of masks and references were compared when they were scored.
        notes: further facts for the reader, key and text.
        banners: texts for the top; the cohort's own banner follows them.
        published: the name of a quoted table to show (`published.PUBLISHED`); empty: none.

    Returns:
        The path of the page.

    Raises:
        InputError: the rows cannot be ranked, the cohort or a mask is at fault, the page cannot be written, or an
            argument is of a wrong type or unknown.
    """
    check_given(cases, options)
    check_types(
        ("out", out, A_PATH, "a path"),
        ("title", title, str, "a text"),
        ("cohort", cohort, (*A_PATH, NoneType), "a path or None"),
        ("predictions", predictions, (Mapping, NoneType), "the folder of each method's masks by its name, or None"),
        ("notes", notes, (Mapping, NoneType), "texts by their names, or None"),
        ("banners", banners, (list, tuple), "a list of texts"),
        ("published", published, str, "the name of a published table"),
    )
    check_choices(partition, format_name, grid)
    if predictions and cohort is None:
        raise InputError("predictions need a cohort: give the cohort with the references and the images")
    words = "the folder or zip of its masks, or a list of these"
    masks = {
        method: path_list(f"predictions of {method}", given, words) for method, given in (predictions or {}).items()
    }
    known = sorted(complete(cases)["method"].unique())
    problems = [
        f"predictions of {method}: no table has this method: choose from {', '.join(known)}"
        for method in masks
        if method not in known
    ]
    problems += [
        f"{place}: does not exist: give the folder or the zip of the predictions"
        for places in masks.values()
        for place in places
        if not place.exists()
    ]
    if problems:
        raise InputError(problems)
    images = read_cohort(Path(cohort), partition, format_name) if cohort else None
    of_cohort = read_banners([images.root, images.root.parent]) if images else []
    results = Path(out) / RESULTS
    prepare_output(results, begins=BEGINS)
    analysis = analyse(cases, options)
    html = render_page(
        analysis,
        heading=title,
        banner=" ".join(dict.fromkeys([*banners, *of_cohort])),
        notes=notes,
        images=images,
        predictions=masks,
        grid=grid,
        published=read_published(published) if published else None,
    )
    origin = Origin(options, published, version=own_version(), notes=notes or {})
    page = Path(out) / PAGE
    write_all({page: html, results: results_text(analysis.table, analysis.rows, origin)})
    return page
