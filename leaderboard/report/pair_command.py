"""The command ``leaderboard compare``. Heavy imports wait until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from leaderboard.cohort.banner import SYNTHETIC
from leaderboard.columns import CORE_METRICS
from leaderboard.command_line import Parser
from leaderboard.errors import InputError
from leaderboard.outputs import keep_apart, prepare_output
from leaderboard.ranking.arguments import add_policy, add_unit, names
from leaderboard.ranking.options import DEFAULTS, STRATA, RankingOptions

#: The files that ``--out`` names the folder of.
TABLE, PICTURE = "compare.csv", "compare.svg"
#: What ``--metrics`` may be instead of names.
ALL_METRICS = "all"
_CORE = ", ".join(CORE_METRICS)


def add_compare(parser: Parser) -> None:
    """Give a parser the arguments of ``leaderboard compare``."""
    parser.description = (
        "Compare two methods: the difference of every metric with its 95 % interval, the probability that one's next "
        "training beats the other's on the next patient, patients won, tied and lost, within strata too."
    )
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASES.csv", help="what leaderboard score wrote")
    parser.add_argument(
        "--methods",
        action="append",
        required=True,
        metavar="A,B",
        help="names in the tables; given twice (--methods A --methods B), it takes names with commas",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"write {TABLE} and {PICTURE} (the cases as paired dots)"
    )
    parser.add_argument("--by", choices=STRATA, help="strata to look at as well (default: size, where it is known)")
    parser.add_argument(
        "--metrics",
        type=names,
        default=[],
        metavar="A,B,...",
        help=f"what is compared, the first in strata and picture (default: all with a direction, of which {_CORE} are "
        f"printed; {ALL_METRICS}: all of them are); any other column with its direction, as in seconds:lower",
    )
    add_policy(parser)
    add_unit(parser)
    parser.set_defaults(command=run_compare, fail=parser.error)


def run_compare(arguments: argparse.Namespace) -> int:
    """Print the comparison, and write its files.

    Raises:
        InputError: a table is at fault, or has no such methods.
    """
    from rich.console import Console

    from leaderboard.cases import read_cases, synthetic_rows
    from leaderboard.ranking.pair import compare_pair, name_faults
    from leaderboard.report.leaderboard_files import write_all
    from leaderboard.report.pair_files import pair_csv, print_pair
    from leaderboard.report.pair_plot import pair_svg
    from leaderboard.report.terminal import say

    first, second = _two(arguments.methods)
    written = [arguments.out / name for name in (TABLE, PICTURE)] if arguments.out else []
    keep_apart(arguments.fail, [("--out", path) for path in written], arguments.cases)
    cases = read_cases(arguments.cases)
    by = arguments.by or ("size" if "reference_ml" in cases.columns else "")
    options = RankingOptions(
        scheme="mean-then-rank",
        policy=arguments.policy or DEFAULTS.policy,
        metrics=() if arguments.metrics == [ALL_METRICS] else tuple(arguments.metrics),
        unit=arguments.unit,
    )
    if faults := name_faults(cases, first, second):
        raise InputError(f"--methods {fault}" for fault in faults)
    pair = compare_pair(cases, first, second, options, by)
    synthetic = bool(synthetic_rows(cases[cases["method"].isin([first, second])]).any())
    if written:
        texts = dict(zip(written, (pair_csv(pair, synthetic), pair_svg(pair, synthetic)), strict=True))
        for path, begins in zip(written, ("first_method,", "<svg"), strict=True):
            prepare_output(path, begins)
        write_all(texts)
    console = Console()
    if synthetic:
        say(console, f"{SYNTHETIC}\n")
    print_pair(pair, options, by, console, None if arguments.metrics else CORE_METRICS)
    for path in written:
        print(f"{path}: written")
    return 0


def _two(given: Sequence[str]) -> Sequence[str]:
    """The two names: of one option those between commas, of two options one each, as it is."""
    found = given if given[1:] else [name.strip() for name in given[0].split(",")]
    if len(found) != 2 or not all(found):
        said = " ".join(f"--methods {text!r}" for text in given)
        raise InputError(
            f"{said}: names {len(list(filter(None, found)))}: give two, as in --methods mine,theirs or, where a name "
            "has a comma, --methods mine --methods theirs"
        )
    return found
