"""Rebuild every committed leaderboard from its committed cases.csv: ``python -m leaderboard.regenerate [--write] DIR``.

A tool for maintainers. DIR (``leaderboard/results``) holds one folder per leaderboard: cases.csv, the tables made from
it, and perhaps a leaderboard.json with the settings. Without ``--write`` it does what
``leaderboard verify`` does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leaderboard.command_line import Parser
from leaderboard.io.images import write_text
from leaderboard.report.comparing import print_verdicts
from leaderboard.report.rebuild import find_results, origin_of, rebuild, verify
from leaderboard.shell import run_command


def main(argv: list[str] | None = None) -> int:
    """Check or write; exit status 0 if every byte agrees (or was written), otherwise 1."""
    parser = Parser("python -m leaderboard.regenerate", description="Rebuild committed leaderboards.")
    parser.add_argument("results", type=Path, metavar="DIR", help="holds one folder per leaderboard")
    parser.add_argument("--write", action="store_true", help="write the files instead of comparing them")
    parser.set_defaults(command=_regenerate)
    return run_command("regenerate", lambda: parser.parse_args(argv))


def _regenerate(arguments: argparse.Namespace) -> int:
    folders = find_results(arguments.results)
    if not arguments.write:
        return print_verdicts([verify(folder) for folder in folders])
    for folder in folders:
        for name, text in rebuild(folder, origin_of(folder)).items():
            write_text(folder / name, text)
        print(f"{folder}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
