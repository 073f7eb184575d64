"""The command ``leaderboard report``. Heavy imports wait until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from leaderboard.cohort.trees import PARTITIONS
from leaderboard.report import DEFAULT_TITLE, RESAMPLES, TWIN
from leaderboard.report.published import PUBLISHED


def add_report(parser: argparse.ArgumentParser, *, schemes: Sequence[str], policies: Sequence[str]) -> None:
    """Give a parser the arguments of ``leaderboard report``."""
    parser.description = "Write the ranking with figures, tables and pictures as one self-contained index.html."
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASES.csv", help="what leaderboard score wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the page")
    parser.add_argument("--scheme", choices=schemes, default="dice", help="how to rank (default: %(default)s)")
    parser.add_argument(
        "--policy", choices=policies, default="isles2018", help="what undefined values count (default: %(default)s)"
    )
    parser.add_argument("--metrics", metavar="A,B,...", help="what the schemes other than dice rank by")
    parser.add_argument(
        "--unit", choices=("patient", "case"), default="patient", help="what is resampled (default: %(default)s)"
    )
    parser.add_argument(
        "--resamples", type=_natural, default=RESAMPLES, metavar="N", help="default: %(default)s; 0: no uncertainty"
    )
    parser.add_argument("--seed", type=_natural, default=0, metavar="K", help="of the resamples (default: %(default)s)")
    parser.add_argument("--title", default=DEFAULT_TITLE, help="the page's heading (default: %(default)s)")
    parser.add_argument("--images", type=Path, metavar="COHORT", help="cohort tree: the page shows slices")
    parser.add_argument("--partition", choices=PARTITIONS, help="of a cohort with both (default: training)")
    parser.add_argument(
        "--predictions",
        type=_named_path,
        action="append",
        default=[],
        metavar="METHOD=DIR",
        help="where the masks of a method lie, for its slices; repeat for each method, or for each fold of one",
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
        help=f"the cases are a synthetic twin's: say so at the top (known without it where {TWIN} lies beside a table "
        "or in the cohort)",
    )
    parser.set_defaults(command=run_report, fail=parser.error)


def run_report(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        InputError: a table, the cohort or the folder is at fault.
    """
    from leaderboard.cases import read_cases
    from leaderboard.cohort.trees import read_cohort
    from leaderboard.errors import InputError
    from leaderboard.report.published import read_published
    from leaderboard.report.write import write_report

    if arguments.metrics and arguments.scheme == "dice":
        arguments.fail("--metrics needs a --scheme other than dice")
    if arguments.partition and not arguments.images:
        arguments.fail("--partition needs --images: it says which of a cohort's partitions was scored")
    if arguments.predictions and not arguments.images:
        arguments.fail("--predictions needs --images: the cohort with the references and the images")
    if arguments.images and not arguments.predictions:
        arguments.fail("--images needs --predictions METHOD=DIR: the masks to draw")
    cases = read_cases(arguments.cases)
    known = sorted(cases["method"].unique())
    places: dict[str, list[Path]] = {}
    for method, place in arguments.predictions:
        places.setdefault(method, []).append(place)
    listed = ", ".join(known)
    problems = [
        f"--predictions {method}=...: no table has this method: choose from {listed}"
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
    twin = arguments.synthetic or any((path.parent / TWIN).is_file() for path in arguments.cases)
    page = write_report(
        cases,
        arguments.out,
        scheme=arguments.scheme,
        policy=arguments.policy,
        metrics=arguments.metrics.split(",") if arguments.metrics else None,
        unit=arguments.unit,
        resamples=arguments.resamples,
        seed=arguments.seed,
        title=arguments.title,
        notes=dict(arguments.note),
        images=read_cohort(arguments.images, arguments.partition) if arguments.images else None,
        predictions=places,
        synthetic=True if twin else None,
        published=read_published(arguments.published) if arguments.published else None,
    )
    print(f"{page}: {len(known)} method{'' if len(known) == 1 else 's'}, {page.stat().st_size / 1e6:.1f} MB")
    return 0


def _pair(text: str, form: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (separator and key and value):
        raise argparse.ArgumentTypeError(f"{text} is not of the form {form}")
    return key, value


def _named_path(text: str) -> tuple[str, Path]:
    method, path = _pair(text, "METHOD=DIR")
    return method, Path(path)


def _note(text: str) -> tuple[str, str]:
    return _pair(text, "KEY=TEXT")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 0")
    return int(text)
