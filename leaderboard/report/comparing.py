"""The commands ``leaderboard verify`` and ``leaderboard diff``."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.command_line import Parser
from leaderboard.errors import InputError, listed, printable
from leaderboard.outputs import keep_apart, prepare_output
from leaderboard.report.differences import Difference

if TYPE_CHECKING:
    from leaderboard.report.changes import Board
    from leaderboard.report.rebuild import Verdict

#: Most lines printed about a folder, or of a kind of change; the files of --csv and --json have all.
MOST_LINES = 100


def add_verify(parser: Parser) -> None:
    """Give a parser the arguments of ``leaderboard verify``."""
    parser.description = (
        "Is a published leaderboard what its scores give? Makes every table again from the cases.csv of its folder and "
        "names each cell that differs. Nothing is written into the folder. (Whether the scores are those of a "
        "training, benchmark verify says, for a run directory.)"
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a result folder, or a folder of them")
    parser.add_argument(
        "--cases", type=Path, nargs="+", default=[], metavar="CASES.csv", help="rank these instead of FOLDER/cases.csv"
    )
    _add_files(parser)
    parser.set_defaults(command=run_verify, fail=parser.error)


def add_diff(parser: Parser) -> None:
    """Give a parser the arguments of ``leaderboard diff``."""
    parser.description = (
        "What changed between two leaderboards: settings, versions and digests, cases, methods, ranks, cells. Exit "
        "status 0, whether something changed or not."
    )
    parser.add_argument("first", type=Path, metavar="A", help="a leaderboard.csv, or the folder that holds it")
    parser.add_argument("second", type=Path, metavar="B", help="another")
    _add_files(parser)
    parser.set_defaults(command=run_diff, fail=parser.error)


def _add_files(parser: Parser) -> None:
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write every difference there, one row each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON")


def run_verify(arguments: argparse.Namespace) -> int:
    """Verify a folder of results, or several.

    Raises:
        InputError: something differs, or cannot be made again.
    """
    from leaderboard.report.rebuild import find_results, verify

    header = ("file", "row", "column", "published", "rebuilt")
    _prepare(arguments, header, arguments.cases, [arguments.folder])
    folders = find_results(arguments.folder)
    if arguments.cases and len(folders) > 1:
        raise InputError(f"--cases: {arguments.folder} holds {len(folders)} leaderboards: give the folder of one")
    verdicts: list[Verdict] = []
    problems: list[str] = []
    for folder in folders:
        try:
            verdicts.append(verify(folder, arguments.cases))
        except InputError as error:
            problems += error.problems
    rows = [
        (str(verdict.folder / found.file), found.row, found.column, found.first, found.second)
        for verdict in verdicts
        for found in verdict.differences
    ]
    _write(arguments, header, rows)
    try:
        print_verdicts(verdicts)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return 0


def print_verdicts(verdicts: Sequence[Verdict]) -> int:
    """Report for each folder what was compared.

    Returns:
        Exit status 0.

    Raises:
        InputError: something differs; one line for each cell.
    """
    from leaderboard.report.origin import own_version

    problems = []
    for verdict in verdicts:
        count = len(verdict.differences)
        found = (
            f"{count} {'difference' if count == 1 else 'differences'}" if count else f"agrees with {_scores(verdict)}"
        )
        parts = [f"{found} ({', '.join(verdict.compared)}: {verdict.cells} cells; {verdict.origin.words})"]
        if verdict.origin.version not in ("", own_version()):
            parts.append(f"made by version {verdict.origin.version}, compared by {own_version() or 'an unknown one'}")
        if verdict.others:
            parts.append(f"not made from scores, and not compared: {listed(verdict.others, 10)}")
        print(printable(f"{verdict.folder}: {'; '.join(parts)}"))
        problems += [
            f"{verdict.folder}/{_published(found, _scores(verdict))}" for found in verdict.differences[:MOST_LINES]
        ]
        if count > MOST_LINES:
            problems.append(f"{verdict.folder}: {count - MOST_LINES} more: leaderboard verify --csv FILE lists all")
    if problems:
        raise InputError(problems)
    return 0


def _scores(verdict: Verdict) -> str:
    return "the given tables" if verdict.given else "its cases.csv"


def _published(found: Difference, scores: str) -> str:
    """A difference between what was published and what was made again from some scores."""
    whole = not found.row and not found.column
    if found.second is None:
        fault = "is surplus: the settings name no such file" if whole else f"surplus: {_shown(found.first)}"
    elif found.first is None:
        fault = "is missing" if whole else f"missing: {_shown(found.second)}"
    else:
        gives = f"{scores} {'gives' if scores.endswith('.csv') else 'give'}"
        fault = f"published {_shown(found.first)}, {gives} {_shown(found.second)}"
    return f"{found.place}: {fault}"


def run_diff(arguments: argparse.Namespace) -> int:
    """Print what changed between two leaderboards.

    Raises:
        InputError: one of them is at fault.
    """
    from leaderboard.report.changes import changes, files_of, read_board
    from leaderboard.report.leaderboard_files import counted

    header = ("kind", "row", "column", "a", "b")
    given = [arguments.first, arguments.second]
    tables = [path for path in given if not path.is_dir()]
    _prepare(arguments, header, files_of(tables), [path for path in given if path.is_dir()])
    boards: list[Board] = []
    problems: list[str] = []
    for path in (arguments.first, arguments.second):
        try:
            boards.append(read_board(path))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    found = changes(*boards)
    rows = [(change.file, change.row, change.column, change.first, change.second) for change in found]
    _write(arguments, header, rows)
    for name, board in zip("AB", boards, strict=True):
        print(printable(f"{name}: {board.path} ({counted(len(board.sheet.rows), 'method')})"))
    for what, file, without in (
        ("versions and digests", "leaderboard.json", [board.path for board in boards if board.origin is None]),
        ("cases, folds and references", "cases.csv", [board.path for board in boards if board.cases is None]),
    ):
        if without:
            print(printable(f"{what} are not compared: no {file} beside {' and '.join(map(str, without))}"))
    for kind, group in groupby(found, key=lambda change: change.file):
        several = list(group)
        print(f"\n{_TITLES[kind]} ({len(several)})")
        for change in several[:MOST_LINES]:
            print(printable(f"  {_changed(change)}"))
        if several[MOST_LINES:]:
            print(f"  and {len(several) - MOST_LINES} more: --csv FILE lists all")
    if not found:
        print("no difference")
    return 0


_TITLES = {
    "setting": "Settings of the ranking",
    "origin": "Versions and where the results come from",
    "cohort": "Cases",
    "method": "Methods",
    "rank": "Ranks",
    "cell": "Cells",
}


def _changed(change: Difference) -> str:
    name = ", ".join(part for part in (change.row, change.column) if part)
    if change.first is None:
        return f"{name}: only in B" + (f" ({_shown(change.second)})" if change.second != "there" else "")
    if change.second is None:
        return f"{name}: only in A" + (f" ({_shown(change.first)})" if change.first != "there" else "")
    return f"{name}: {_shown(change.first)} -> {_shown(change.second)}"


def _shown(value: str | None) -> str:
    """A value as shown in a line: empty ones by name, long ones cut."""
    text = value or ""
    return "(empty)" if not text else text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def _prepare(
    arguments: argparse.Namespace, header: Sequence[str], files: Sequence[Path], folders: Sequence[Path]
) -> None:
    """Refuse outputs that would replace what is examined, or anything else than an earlier list of differences."""
    keep_apart(arguments.fail, [("--csv", arguments.csv), ("--json", arguments.json)], files, folders)
    if arguments.csv:
        prepare_output(arguments.csv, begins=",".join(header))
    if arguments.json:
        prepare_output(arguments.json, begins="[")


def _write(arguments: argparse.Namespace, header: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Write the files that were asked for."""
    from leaderboard.io.images import write_text
    from leaderboard.io.tables import inert

    if arguments.csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [header, *([None if cell is None else inert(cell) for cell in row] for row in rows)]
        )
        write_text(arguments.csv, text.getvalue())
    if arguments.json:
        content = [dict(zip(header, row, strict=True)) for row in rows]
        write_text(arguments.json, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
