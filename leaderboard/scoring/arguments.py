"""Options of the commands in which masks meet references."""

from __future__ import annotations

import argparse

from leaderboard.command_line import Parser
from leaderboard.io import GRID_RULES, GridRule


def add_grid(parser: Parser, default: GridRule = "auto") -> None:
    """Give a parser ``--grid``."""
    parser.add_argument(
        "--grid",
        choices=GRID_RULES,
        default=default,
        help="how the grids of masks and references are compared: by place (affine), by shape alone (index), by place "
        "where both headers tell one and else by shape and voxel size (auto), or so but by shape alone where a mask "
        "has the blank header that libraries write around an array (blank) (default: %(default)s)",
    )


def add_jobs(parser: Parser) -> None:
    """Give a parser ``--jobs``."""
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes (default: as many as pay off)")


def add_strictness(parser: Parser) -> None:
    """Give a parser ``--lenient`` and ``--complete``, which do not go together."""
    strictness = parser.add_mutually_exclusive_group()
    strictness.add_argument(
        "--lenient", action="store_true", help="count predictions that cannot be scored as missing, with a warning"
    )
    strictness.add_argument("--complete", action="store_true", help="refuse a submission that leaves a case out")


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1: correct it")
    return number
