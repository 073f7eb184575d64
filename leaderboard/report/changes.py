"""What changed between two leaderboards: settings, versions, the cohort, methods, ranks, cells."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leaderboard.cohort.names import natural_key
from leaderboard.errors import InputError, listed
from leaderboard.ranking.reading import VOLUME_TOLERANCE
from leaderboard.report.differences import Difference, Sheet, read_sheet
from leaderboard.report.origin import Origin, read_origin
from leaderboard.report.rebuild import CASES, TABLE

if TYPE_CHECKING:
    import pandas as pd

#: Columns with one value for the whole table: how it was ranked.
_SETTINGS = ("preset", "scheme", "policy", "metrics", "unit", "resamples", "seed", "sets")
#: The kinds of change, in the order in which they are reported.
KINDS = ("setting", "origin", "cohort", "method", "rank", "cell")


@dataclass(frozen=True)
class Board:
    """A leaderboard on disk."""

    path: Path  #: of its CSV
    sheet: Sheet  #: its cells, one row per method
    origin: Origin | None = None  #: from its leaderboard.json; None if it has none
    cases: pd.DataFrame | None = None  #: the rows it was made from; None if there is no cases.csv beside it


def files_of(tables: Iterable[Path]) -> list[Path]:
    """The files that `read_board` reads of leaderboards that are given as tables."""
    return [path for table in tables for path in (table, table.with_suffix(".json"), table.with_name(CASES))]


def read_board(path: Path) -> Board:
    """Read a leaderboard and the files beside it.

    Args:
        path: a leaderboard.csv, or the folder that holds one.

    Raises:
        InputError: there is no leaderboard, or a file is at fault.
    """
    from leaderboard.cases import read_cases

    table = path / TABLE if path.is_dir() else path
    remedy = f"give a {TABLE} of leaderboard rank, or the folder that holds it"
    try:
        sheet = read_sheet("table.csv", table.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{table}: does not exist: {remedy}") from None
    except OSError as error:
        raise InputError(f"{table}: cannot be read ({error.strerror or error}): {remedy}") from None
    except (csv.Error, UnicodeDecodeError):
        raise InputError(f"{table}: is not a table: {remedy}") from None
    if not {"rank", "method"} <= set(sheet.columns) or not sheet.rows:
        raise InputError(f"{table}: is not a leaderboard: {remedy}")
    if ragged := [row for row, cells in sheet.rows.items() if cells.keys() != set(sheet.columns)]:
        raise InputError(
            f"{table}: {listed(ragged, 3)}: more or fewer fields than the header: it was cut short or edited, rank anew"
        )
    origin, cases = table.with_suffix(".json"), table.with_name(CASES)
    return Board(
        table,
        sheet,
        read_origin(origin) if origin.is_file() else None,
        read_cases(cases) if cases.is_file() and cases != table else None,
    )


def changes(one: Board, other: Board) -> list[Difference]:
    """The differences between two leaderboards; each change's `file` is one of `KINDS`."""
    return [
        *_settings(one, other),
        *_origins(one.origin, other.origin),
        *(_cohorts(one.cases, other.cases) if one.cases is not None and other.cases is not None else ()),
        *_tables(one.sheet, other.sheet),
    ]


def _settings(one: Board, other: Board) -> Iterator[Difference]:
    for name in _SETTINGS:
        values = _only_value(one.sheet, name), _only_value(other.sheet, name)
        if values[0] != values[1]:
            yield Difference("setting", "", name, *values)


def _only_value(sheet: Sheet, column: str) -> str | None:
    """The value of a column in every row; None without such a column, all values if there are several."""
    values = dict.fromkeys(row[column] for row in sheet.rows.values() if column in row)
    return " and ".join(values) if values else None


def _origins(one: Origin | None, other: Origin | None) -> Iterator[Difference]:
    """Changed versions, digests and other notes of leaderboard.json; nothing if one of the two has no such file."""
    if one is None or other is None:
        return
    facts = [{"version": origin.version, "quoted table": origin.published, **origin.notes} for origin in (one, other)]
    for name, *values in _unlike(*facts):
        yield Difference("origin", "", name, *values)


def _cohorts(one: pd.DataFrame, other: pd.DataFrame) -> Iterator[Difference]:
    """Cases that came or went, folds, patients and references that changed."""
    mine, its = _by_case(one), _by_case(other)
    if gone := [case for case in mine if case not in its]:
        yield Difference("cohort", listed(gone, 10), "", "there", None)
    if new := [case for case in its if case not in mine]:
        yield Difference("cohort", listed(new, 10), "", None, "there")
    for case in [case for case in mine if case in its]:
        for column in ("patient", "fold"):
            first, second = str(mine[case][column]), str(its[case][column])
            if first != second:
                yield Difference("cohort", case, column, first, second)
        volume, other_volume = float(mine[case]["reference_ml"]), float(its[case]["reference_ml"])
        if abs(volume - other_volume) > VOLUME_TOLERANCE * max(volume, other_volume):
            yield Difference("cohort", case, "reference_ml", str(volume), str(other_volume))


def _by_case(cases: pd.DataFrame) -> dict[str, dict[Hashable, Any]]:
    """One row of each case, in natural order."""
    rows = {str(row["case"]): row for row in cases.drop_duplicates("case").to_dict("records")}
    return {case: rows[case] for case in sorted(rows, key=natural_key)}


def _tables(one: Sheet, other: Sheet) -> Iterator[Difference]:
    methods = dict.fromkeys([*one.rows, *other.rows])
    for method in methods:
        if method not in other.rows:
            yield Difference("method", method, "", f"rank {one.rows[method].get('rank')}", None)
        elif method not in one.rows:
            yield Difference("method", method, "", None, f"rank {other.rows[method].get('rank')}")
    both = [method for method in methods if method in one.rows and method in other.rows]
    for method in both:
        ranks = one.rows[method].get("rank"), other.rows[method].get("rank")
        if ranks[0] != ranks[1]:
            yield Difference("rank", method, "", *ranks)
    for column in dict.fromkeys([*one.columns, *other.columns]):
        if column not in _SETTINGS and (column in one.columns) != (column in other.columns):
            yield Difference("cell", "", column, *("there" if column in s.columns else None for s in (one, other)))
    shared = {column for column in one.columns if column in other.columns} - {"rank", *_SETTINGS}
    for method in both:
        for column, first, second in _unlike(one.rows[method], other.rows[method]):
            if column in shared:
                yield Difference("cell", method, column, first, second)


def _unlike(one: Mapping[str, str], other: Mapping[str, str]) -> Iterable[tuple[str, str | None, str | None]]:
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            yield name, one.get(name), other.get(name)
