"""Options of the commands in which masks meet references."""

from __future__ import annotations

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
