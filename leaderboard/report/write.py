"""Writing the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.report import DEFAULT_TITLE, PAGE, RESAMPLES

if TYPE_CHECKING:
    import pandas as pd

    from leaderboard.cohort.trees import Cohort
    from leaderboard.ranking.ranks import Analysis
    from leaderboard.report.pictures import Predictions
    from leaderboard.report.published import Published


def write_report(
    cases: pd.DataFrame,
    out: Path,
    *,
    scheme: str = "dice",
    policy: str = "isles2018",
    metrics: Sequence[str] | None = None,
    unit: str = "patient",
    resamples: int = RESAMPLES,
    seed: int = 0,
    title: str = DEFAULT_TITLE,
    notes: Mapping[str, str] | None = None,
    synthetic: bool | None = None,
    images: Cohort | None = None,
    predictions: Mapping[str, Predictions] | None = None,
    analysis: Analysis | None = None,
    published: Published | None = None,
    costs: pd.DataFrame | None = None,
    spent: Mapping[str, float] | None = None,
) -> Path:
    """Write the page. The same arguments give the same bytes; of the time or the machine nothing else goes in.

    Args:
        cases: a row a (method, case), as `cases.read_cases` gives it.
        out: folder of the page, made where it is not there.
        scheme: one of `ranking.SCHEMES`.
        policy: one of `policy.POLICIES`.
        metrics: what the schemes other than dice rank by, as for `ranking.rank_methods`.
        unit: what is resampled, ``patient`` or ``case``.
        resamples: how many; 0 leaves out all that comes from resampling.
        seed: of the resamples.
        title: the page's heading.
        notes: what else a reader should know (versions, commit, hash of the fold file), key and text, in this order.
        synthetic: whether the cases are a synthetic twin's; the page then says so at its top. None: they are where a
            note says ``synthetic``, or where `images` is a twin.
        images: the cohort that was scored; with `predictions`, the page shows slices.
        predictions: by method, where its masks lie: a folder, several folders (one a fold), or a function from a
            case's name to its file. A method without them goes without pictures.
        analysis: what `ranking.analyse` made of the same cases, scheme, policy and metrics, where it is at hand
            already; resampling is then as it was there.
        published: a quoted table (`published.read_published`), which gets a section of its own.
        costs: a row a method, columns of `tables.COSTS`, as in ``costs.csv``; gets a section of its own.
        spent: what else took how many seconds, to be told there.

    Returns:
        The file that was written.

    Raises:
        InputError: the rows cannot be ranked, a mask or image to draw is at fault or is not the one that was scored, or
            the file cannot be written.
    """
    from leaderboard.errors import InputError
    from leaderboard.io.images import write_text
    from leaderboard.ranking.ranks import analyse
    from leaderboard.report.page import render_report

    if analysis is None:
        analysis = analyse(
            cases, scheme=scheme, policy=policy, metrics=metrics, unit=unit, resamples=resamples, seed=seed
        )
    html = render_report(
        cases,
        analysis,
        scheme=scheme,
        policy=policy,
        heading=title,
        notes=notes or {},
        synthetic=synthetic,
        images=images,
        predictions=predictions,
        published=published,
        costs=costs,
        spent=spent or {},
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror or error}): choose another folder") from None
    write_text(out / PAGE, html)
    return out / PAGE
