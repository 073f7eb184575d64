"""Tables that come with a cohort, as CSV or as a workbook of Excel."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from leaderboard.errors import InputError
from leaderboard.io.tables import read_table

#: Of a workbook, packed and unpacked, and of a JSON file.
_MOST_BYTES = 16 << 20
_MOST_ROWS, _MOST_COLUMNS = 10_000, 200


def find_table(folders: Iterable[Path], stem: str) -> Path | None:
    """The first ``<stem>.csv`` or ``<stem>.xlsx`` in any of some folders."""
    places = (folder / f"{stem}{ending}" for folder in folders for ending in (".csv", ".xlsx"))
    return next((path for path in places if path.is_file()), None)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column, as text; of a workbook the first sheet.

    Raises:
        InputError: it cannot be read, or is a workbook that is larger than any such table.
    """
    if path.suffix.lower() != ".xlsx":
        table = read_table(path)
        return [dict(zip(table.columns, row, strict=True)) for row in table.fields(*table.columns)]
    header, *rows = [line for line in _workbook(path) if any(line)] or [[]]
    return [dict(zip(header, row, strict=False)) for row in rows]


def refuse_large(path: Path) -> None:
    """Refuse a description of a cohort that is far longer than any is.

    Raises:
        InputError: it is.
        OSError: there is no such file.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: is larger than the {_MOST_BYTES >> 20} MiB that are read: give the table alone")


def _workbook(path: Path) -> list[list[str]]:
    """The cells of the first sheet, within the limits of this module.

    Raises:
        InputError: it goes beyond them, or cannot be read.
    """
    import openpyxl

    try:
        refuse_large(path)
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MOST_BYTES:
            raise InputError(f"{path}: unpacks to more than {_MOST_BYTES >> 20} MiB: save the table alone, or as CSV")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        # one row and column more than are allowed, whatever size the sheet claims
        cells = book.worksheets[0].iter_rows(max_row=_MOST_ROWS + 1, max_col=_MOST_COLUMNS + 1, values_only=True)
        lines = [["" if cell is None else str(cell).strip() for cell in line] for line in cells]
        if any(map(any, lines[_MOST_ROWS:])) or any(any(line[_MOST_COLUMNS:]) for line in lines):
            raise InputError(
                f"{path}: has more than {_MOST_ROWS} rows or {_MOST_COLUMNS} columns: save the table alone, or as CSV"
            )
        return lines
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises whatever its parts raise
        raise InputError(f"{path}: cannot be read as a workbook ({error}): save it again, or as CSV") from None
