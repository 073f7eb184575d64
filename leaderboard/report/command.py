"""The command ``leaderboard report``. Heavy imports wait until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from leaderboard.cohort.banner import read_banners
from leaderboard.cohort.case import PARTITIONS
from leaderboard.cohort.formats import FORMATS
from leaderboard.command_line import Parser
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
    from leaderboard.report.making import report
    from leaderboard.report.results_file import RESULTS

    written = [arguments.out / PAGE, arguments.out / RESULTS]
    keep_apart(arguments.fail, [("--out", path) for path in written], arguments.cases)
    options = ranking_options(arguments)
    if arguments.partition and not arguments.cohort:
        arguments.fail("--partition needs --cohort: it says which of a cohort's partitions was scored")
    if arguments.predictions and not arguments.cohort:
        arguments.fail("--predictions needs --cohort: the cohort with the references and the images")
    if arguments.cohort and not arguments.predictions:
        arguments.fail("--cohort needs --predictions METHOD=DIR: the masks to draw")
    prepare_output(arguments.out / PAGE)
    cases = read_cases(arguments.cases)
    places: dict[str, list[Path]] = {}
    for method, place in arguments.predictions:
        places.setdefault(method, []).append(place)
    synthetic = arguments.synthetic or any("synthetic" in f"{key} {text}".lower() for key, text in arguments.note)
    page = report(
        cases,
        arguments.out,
        options,
        title=arguments.title,
        cohort=arguments.cohort,
        predictions=places,
        partition=arguments.partition,
        format_name=arguments.format,
        grid=arguments.grid,
        notes=dict(arguments.note),
        banners=[SYNTHETIC] * synthetic + read_banners(path.parent for path in arguments.cases),
        published=arguments.published or "",
    )
    count = cases["method"].nunique()
    print(f"{page}: {count} method{'' if count == 1 else 's'}, {page.stat().st_size / 1e6:.1f} MB")
    return 0


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
