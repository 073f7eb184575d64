"""Options of the commands in which masks meet references."""

from __future__ import annotations

from leaderboard.command_line import Parser
from leaderboard.io import GRID_RULES


def add_grid(parser: Parser) -> None:
    """Give a parser ``--grid``."""
    parser.add_argument(
        "--grid",
        choices=GRID_RULES,
        default="auto",
        help="how the grids of masks and references are compared: by place (affine), by shape alone (index), or by "
        "place where both headers tell one and else by shape and voxel size (auto, the default)",
    )
