"""The command ``leaderboard report``. Heavy imports wait until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from leaderboard.cohort.banner import read_banners
from leaderboard.cohort.case import PARTITIONS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
from leaderboard.errors import InputError
from leaderboard.outputs import keep_apart, prepare_output
from leaderboard.ranking.arguments import add_ranking_options, ranking_options
from leaderboard.report import BANNER, DEFAULT_TITLE, PAGE, SYNTHETIC
from leaderboard.report.published import PUBLISHED
from leaderboard.scoring.arguments import add_grid


def add_report(parser: Parser) -> None:
    """Give a parser the arguments of ``leaderboard report``."""
    parser.description = "Write the ranking with figures, tables and pictures as one self-contained index.html."
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASES.csv", help="what leaderboard score wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the page")
    add_ranking_options(parser)
    parser.add_argument("--title", default=DEFAULT_TITLE, help="the page's heading (default: %(default)s)")
    parser.add_argument("--cohort", type=Path, metavar="COHORT", help="cohort tree: the page shows slices")
    parser.older = {"--images": "--cohort", "--reference": "--cohort"}
    parser.add_argument("--partition", choices=PARTITIONS, help="of a cohort with both (default: training)")
    parser.add_argument("--format", choices=FORMATS, help="of the cohort (default: what its tree looks like)")
    add_grid(parser)
    parser.add_argument(
        "--predictions",
        type=_named_path,
        action="append",
        default=[],
        metavar="METHOD=DIR",
        help="where the masks of a method are, for its slices; repeat for each method, or for each fold of one",
    )
    parser.add_argument(
        "--note",
        type=_note,
        action="append",
        default=[],
        metavar="KEY=TEXT",
        help="another fact for the page, as versions or a commit; repeat for each",
    )
    parser.add_argument("--published", choices=PUBLISHED, help="show this published table as well, as printed")
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help=f"the cases are a synthetic twin's: say so at the top (a {BANNER} beside a table or in the cohort says "
        "what it holds)",
    )
    parser.set_defaults(command=run_report, fail=parser.error)


def run_report(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        InputError: a table, the cohort or the folder is at fault.
    """
    from leaderboard.cases import read_cases
    from leaderboard.cohort.formats import read_cohort
    from leaderboard.ranking.ranks import analyse
    from leaderboard.report.page import render_page, write_page
    from leaderboard.report.published import read_published

    keep_apart(arguments.fail, [("--out", arguments.out / PAGE)], arguments.cases)
    options = ranking_options(arguments)
    if arguments.partition and not arguments.cohort:
        arguments.fail("--partition needs --cohort: it says which of a cohort's partitions was scored")
    if arguments.predictions and not arguments.cohort:
        arguments.fail("--predictions needs --cohort: the cohort with the references and the images")
    if arguments.cohort and not arguments.predictions:
        arguments.fail("--cohort needs --predictions METHOD=DIR: the masks to draw")
    prepare_output(arguments.out / PAGE)
    cases = read_cases(arguments.cases)
    known = sorted(cases["method"].unique())
    places: dict[str, list[Path]] = {}
    for method, place in arguments.predictions:
        places.setdefault(method, []).append(place)
    problems = [
        f"--predictions {method}=...: no table has this method: choose from {', '.join(known)}"
        for method in places
        if method not in known
    ]
    problems += [
        f"{place}: does not exist: give the folder or the zip of the predictions"
        for _, place in arguments.predictions
        if not place.exists()
    ]
    if problems:
        raise InputError(problems)
    images = read_cohort(arguments.cohort, arguments.partition, arguments.format) if arguments.cohort else None
    html = render_page(
        analyse(cases, options),
        heading=arguments.title,
        banner=_banner(arguments, [images.root, images.root.parent] if images else []),
        notes=dict(arguments.note),
        images=images,
        predictions=places,
        grid=arguments.grid,
        published=read_published(arguments.published) if arguments.published else None,
    )
    page = write_page(arguments.out, html)
    print(f"{page}: {len(known)} method{'' if len(known) == 1 else 's'}, {page.stat().st_size / 1e6:.1f} MB")
    return 0


def _banner(arguments: argparse.Namespace, cohort: list[Path]) -> str:
    """The text for the top of the page: that the cases are invented, and the banners beside tables or images."""
    synthetic = arguments.synthetic or any("synthetic" in f"{key} {text}".lower() for key, text in arguments.note)
    found = read_banners([*(path.parent for path in arguments.cases), *cohort])
    return " ".join(dict.fromkeys([SYNTHETIC] * synthetic + found))


def _pair(text: str, form: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (separator and key and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form {form}: correct it")
    return key, value


def _named_path(text: str) -> tuple[str, Path]:
    method, path = _pair(text, "METHOD=DIR")
    return method, Path(path)


def _note(text: str) -> tuple[str, str]:
    return _pair(text, "KEY=TEXT")
