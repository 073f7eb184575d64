"""Tables that come with a cohort, as CSV or as a workbook of Excel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from leaderboard.errors import InputError
from leaderboard.io.tables import read_table


def find_table(folders: Iterable[Path], stem: str) -> Path | None:
    """The first ``<stem>.csv`` or ``<stem>.xlsx`` in any of some folders."""
    places = (folder / f"{stem}{ending}" for folder in folders for ending in (".csv", ".xlsx"))
    return next((path for path in places if path.is_file()), None)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column, as text; of a workbook the first sheet.

    Raises:
        InputError: it cannot be read.
    """
    if path.suffix.lower() != ".xlsx":
        table = read_table(path)
        return [dict(zip(table.columns, row, strict=True)) for row in table.fields(*table.columns)]
    header, *rows = [line for line in _workbook(path) if any(line)] or [[]]
    return [dict(zip(header, row, strict=False)) for row in rows]


def _workbook(path: Path) -> list[list[str]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        lines = book.worksheets[0].iter_rows(values_only=True)
        return [["" if cell is None else str(cell).strip() for cell in line] for line in lines]
    except Exception as error:  # a damaged archive raises whatever its parts raise
        raise InputError(f"{path}: cannot be read as a workbook ({error}): save it again, or as CSV") from None
