"""From an analysis to the page's HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from leaderboard.cases import require
from leaderboard.cohort.formats import Cohort
from leaderboard.columns import CASE_COLUMNS, CORE_METRICS, METRICS, OF_PROBABILITIES, STATUSES, Metric
from leaderboard.errors import InputError
from leaderboard.io import GridRule
from leaderboard.io.images import write_text
from leaderboard.ranking.ranks import Analysis
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report import (
    DEFAULT_TITLE,
    PAGE,
    box_plots,
    gallery,
    page_files,
    page_ranking,
    page_tables,
    scatter,
    stability,
    svg,
)
from leaderboard.report.citation import citation
from leaderboard.report.content import Content, core_and_further
from leaderboard.report.examples import Picture
from leaderboard.report.heat_map import heat_maps
from leaderboard.report.leaderboard_files import (
    GROUP_NOTE,
    PERCENTILE_COVERAGE,
    SAME_SIDE,
    SAME_SIDE_NOTE,
    TOO_FEW_NOTE,
    counted_note,
    leaderboard_csv,
    leaderboard_latex,
    ranked_by,
    ranked_by_text,
    set_note,
    shown_metrics,
    synthetic_note,
    title,
    undefined_note,
    with_and,
)
from leaderboard.report.page_trainings import main_metric, trainings_values
from leaderboard.report.pictures import Pictures, take_pictures
from leaderboard.report.published import OTHER_DATA, OTHER_FIGURES, Published, read_quotes
from leaderboard.report.scored_masks import Predictions
from leaderboard.report.section import Section
from leaderboard.report.sources import number_sources
from leaderboard.report.trainings_note import training_note

_PART = re.compile(r"[_.\-/](?=[^\W_])")


def write_page(out: Path, html: str) -> Path:
    """Write ``index.html`` into a folder, which is made if need be, and return its path.

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
    grid: GridRule = "auto",
    published: Published | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """The page's HTML. The same arguments give the same bytes: nothing about the time or the machine goes in.

    Args:
        analysis: from `ranking.ranks.analyse`.
        heading: the page's title.
        banner: a text for the top; that rows are marked as synthetic is said in any case.
        notes: further facts for the reader (versions, ``commit``), key and text, in this order.
        images: the cohort that was scored; with `predictions`, the page shows slices.
        predictions: by method, where its masks are: a folder, several folders (one per fold), or a function from a
            case's name to its file. A method without them gets no pictures.
        grid: how the grids of predictions and references were compared when they were scored.
        published: a quoted table (`published.read_published`), which gets a section of its own.
        sections: further sections.

    Raises:
        InputError: the rows lack a required column, or a mask or image to draw is at fault or is not the one that was
            scored.
    """
    require(analysis.cases, CASE_COLUMNS, "the page")
    if empty := [name for name in CORE_METRICS if name not in analysis.matrices.values]:
        raise InputError(f"the page needs values in the columns {', '.join(empty)}: score the predictions again")
    content, notes = Content(analysis), notes or {}
    pictures = take_pictures(content, images, predictions, grid) if images and predictions else Pictures()
    cited, script = citation(notes), page_files.script()
    values = {
        "title": heading,
        "banner": banner if "synthetic" in banner.lower() else f"{synthetic_note(analysis.table)} {banner}".strip(),
        "content": content,
        "style": Markup(page_files.style()),
        "script": Markup(script),
        "script_hash": page_files.script_hash(script),
        "files": {
            "csv": page_files.data_url(leaderboard_csv(analysis.table), "text/csv"),
            "tex": page_files.data_url(leaderboard_latex(analysis.table), "text/x-tex"),
            "bib": page_files.data_url(cited.bibtex, "text/x-bibtex"),
        },
        "marks": {method: svg.method_mark(number)[2] for method, number in content.colours.items()},
        "colours": svg.COLOURS,
        "status_names": [page_tables.STATUS_NAMES[status] for status in STATUSES],
        "number": page_tables.number,
        "facts": page_tables.facts(content, notes),
        "policy_rows": page_tables.policy_rows(content),
        "citation": cited,
        "sections": [(section, *page_tables.section_rows(section)) for section in sections],
        **_ranking(content),
        **_evidence(content),
        **trainings_values(content),
        **_cases(content),
        **_pictures(pictures),
        **_published(published),
    }
    return _environment().get_template("index.html.j2").render(values, links=_links(values))


def _ranking(content: Content) -> dict[str, object]:
    """The values for ranking.html.j2."""
    table, found = content.table, content.analysis.uncertainty
    cells, sources = number_sources(read_quotes(content.methods))
    return {
        "scheme_text": SCHEMES[content.options.scheme].words,
        "uncertainty": found,
        "units": content.units,
        "training_note": training_note(table),
        "set_note": set_note(table).replace("'", "’"),
        "main_title": title(main_metric(content)),
        "says_nothing": bool(found and found.tells_nothing and len(content.methods) > 1),
        "too_few_note": TOO_FEW_NOTE,
        "group_note": GROUP_NOTE,
        "ranked_by": "" if SCHEMES[content.options.scheme].metric else ranked_by_text(table),
        "quotes": cells,
        "sources": sources,
        "other_figures": OTHER_FIGURES.replace("'", "’"),
        "board": page_ranking.board_rows(content),
        "told_apart": page_ranking.told_apart(content),
        "told_most": page_ranking.TOLD,
        "board_titles": page_tables.metric_titles(shown_metrics(table), ranked_by(table)),
        "undefined_note": undefined_note(table).replace("'", "’"),
        "counted_note": counted_note(table),
        "any_missing": bool((table["missing"] > 0).any()),
    }


def _evidence(content: Content) -> dict[str, object]:
    """The values for evidence.html.j2."""
    analysis, several = content.analysis, len(content.methods) > 1
    core, further = core_and_further(content)
    return {
        "stability_text": page_ranking.stability_text(content),
        "stability": stability.rank_stability(content) if analysis.uncertainty else None,
        "percentile_coverage": PERCENTILE_COVERAGE.replace("'", "’"),
        "distributions": box_plots.box_plots(content, core),
        "further": box_plots.box_plots(content, further) if further else None,
        "further_names": with_and([METRICS[name].title for name in further]),
        "calibration_rows": page_tables.calibration_rows(content),
        "calibration_titles": [
            (column.title, "descending" if isinstance(column, Metric) and column.higher_is_better else "ascending")
            for column in OF_PROBABILITIES.values()
        ],
        "crowded": len(content.methods) > page_ranking.CROWDED,
        "compared": content.methods[: page_tables.MATRIX],
        "significance": page_ranking.significance_cells(
            analysis.significance[: page_tables.MATRIX, : page_tables.MATRIX]
        ),
        "what_schemes_rank_by": page_ranking.what_schemes_rank_by(analysis.matrices),
        "scheme_figure": stability.scheme_ranks(content) if several else None,
        "scheme_rows": list(zip(content.methods, analysis.agreement.ranks.T.tolist(), strict=True)),
        "taus": [[page_tables.number(tau) for tau in row] for row in analysis.agreement.tau.tolist()],
        "bland_altman": scatter.bland_altman(content),
        "agreement_rows": page_tables.agreement_rows(content),
        "same_side": SAME_SIDE if "core_agreement_mean" in content.table.columns else "",
        "same_side_note": SAME_SIDE_NOTE,
        "dice_by_size": scatter.dice_by_size(content),
        "sizes": page_tables.size_rows(content),
    }


def _cases(content: Content) -> dict[str, object]:
    """The values for cases.html.j2, without the pictures."""
    rows, covered = page_tables.case_rows(content)
    return {
        "heat_maps": heat_maps(content),
        "case_titles": page_tables.case_titles(),
        "case_rows": rows,
        "covered": covered,
        "statuses": page_tables.status_rows(content),
    }


def _pictures(pictures: Pictures) -> dict[str, object]:
    """The pictures, those of single methods by method."""
    examples: dict[str, list[Picture]] = {}
    for picture in pictures.examples:
        examples.setdefault(picture.method, []).append(picture)
    return {"pictures": pictures, "examples": examples, "gallery_rule": gallery.RULE}


def _published(published: Published | None) -> dict[str, object]:
    """The quoted table."""
    return {
        "published": published,
        "published_rows": published.rows(CORE_METRICS) if published else [],
        "published_titles": [title(name) for name in CORE_METRICS],
        "other_data": OTHER_DATA,
    }


def _links(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """The sections that are not empty, id and name, in the page's order."""
    sections: Sequence[tuple[Section, object, object]] = values["sections"]  # type: ignore[assignment]
    pictures = values["pictures"]
    links = [
        ("ranking", "Ranking", True),
        ("stability", "Stability", values["uncertainty"]),
        ("trainings", "Trainings", values["seeds_figure"]),
        ("chances", "Who beats whom", values["chances"]),
        ("metrics", "Metrics", True),
        ("calibration", "Calibration", values["calibration_rows"]),
        ("significance", "Significance", values["scheme_figure"]),
        ("schemes", "Schemes", values["scheme_figure"]),
        ("volumes", "Volumes", True),
        ("pictures", "Pictures", isinstance(pictures, Pictures) and pictures.views),
        ("heatmap", "Heat map", True),
        ("cases", "Cases", True),
        ("missing", "Missing", values["statuses"]),
        ("published", "Published", values["published"]),
        *((section.title.lower(), section.title, True) for section, _, _ in sections),
        ("about", "About", True),
    ]
    return [(id_, name) for id_, name, shown in links if shown]


@cache
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
