"""The one reader of CSV files, and the one rule for the names that are written into them.

A file is taken as it is or refused by name of the cause; nothing of a row is dropped or filled up.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.errors import InputError, listed

#: So many problems of a file are told one by one.
MOST_PROBLEMS = 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ZIP = b"PK\x03\x04"
#: Which of the first three bytes are 0 where text in Latin letters is UTF-16 without a mark.
_UNMARKED_UTF16 = ([False, True, False], [True, False, True])
_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
# A cell that begins so is a formula to a spreadsheet; one that splits at semicolons begins a cell there too.
_FORMULA = re.compile(r"(?:^|;)\s*[=+\-@]")


@dataclass(frozen=True)
class Table:
    """What a CSV file holds, all of it text.

    Attributes:
        path: of the file.
        columns: names, each once, stripped.
        lines: the line in which each row begins, the header being line 1 where nothing stands above it.
        rows: as many fields each as there are columns; blank rows are left out.
    """

    path: Path
    columns: tuple[str, ...]
    lines: list[int]
    rows: list[list[str]]

    def fields(self, *columns: str) -> list[tuple[str, ...]]:
        """The stripped fields of some columns, a tuple a row; empty where the file has no such column."""
        places = [self.columns.index(name) if name in self.columns else None for name in columns]
        return [tuple("" if place is None else row[place].strip() for place in places) for row in self.rows]

    def where(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.path}:{self.lines[row]}"


def read_table(path: Path, *needed: str, comments: bool = False) -> Table:
    """Read a CSV file: UTF-8 with or without a byte-order mark, commas, a header.

    Args:
        path: of the file.
        needed: columns that it must have.
        comments: whether lines that begin with ``#`` are left out.

    Raises:
        InputError: it is missing or no text in UTF-8, its columns are separated by something else than commas, the
            header lacks a column or has one twice, or a row has more or fewer fields than the header; every such row
            by its line.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder and cannot be read as a table: give a CSV file")
        if path.exists() and stat.S_ISCHR(path.stat().st_mode):
            raise InputError(f"{path}: is a device and no file: give a CSV file")
        rows, lines = _read_rows(path, comments)
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except (OSError, ValueError) as error:
        fault = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({fault}): give a CSV file") from None
    if not rows:
        raise InputError(f"{path}: is empty: give a table with a header and rows")
    columns = [name.strip() for name in rows[0]]
    _refuse_separators(path, rows[0])
    problems = [
        f"{path}:{lines[0]}: the column {shown(name)} {fault}" for name in columns if (fault := name_fault(name))
    ]
    if set(needed) <= set(columns):  # otherwise it is another kind of file
        problems += _ragged(path, rows, lines)
    columns = _without_nameless(path, columns, rows)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        problems.append(f"{path}: has the columns {listed(twice)} more than once: keep one of each")
    if problems:
        raise InputError(shortened(path, problems))
    absent = [name for name in needed if name not in columns]
    if absent:
        noun = "column" if len(absent) == 1 else "columns"
        raise InputError(
            f"{path}: lacks the {noun} {', '.join(absent)} (it has {listed(columns, 12) or 'none'}): "
            f"add {'it' if len(absent) == 1 else 'them'}"
        )
    return Table(path, tuple(columns), lines[1:], rows[1:])


def shortened(path: Path, problems: Sequence[str]) -> list[str]:
    """The first of many problems of a file, and how many more there are."""
    more = len(problems) - MOST_PROBLEMS
    return [*problems[:MOST_PROBLEMS], *([f"{path}: {more} more problems"] if more > 0 else [])]


def shown(text: str, most: int = 60) -> str:
    """A field in quotation marks for a message, cut where it is long."""
    return repr(text if len(text) <= most else f"{text[:most]}…")


def name_fault(name: str) -> str | None:
    """What forbids this name in a table, and what to do; None where nothing does.

    The rule for the name of everything: methods, cases, patients, columns. A name is one line of characters that can
    be seen, without spaces at its ends, and no spreadsheet that opens the table takes it for a formula. What else it
    holds is escaped by whoever writes Markdown, LaTeX or HTML.
    """
    if hidden := next((letter for letter in name if not letter.isprintable()), ""):
        return f"holds {_named(hidden)}, which cannot be seen: name it without"
    if name != name.strip():
        return "begins or ends with a space: name it without"
    if _FORMULA.search(name):
        return "begins a spreadsheet's formula (with =, +, - or @): name it otherwise"
    return None


def _named(letter: str) -> str:
    """A character that cannot be seen, by name: ``a line break``, ``NO-BREAK SPACE (U+00A0)``."""
    if letter in "\n\r\v\f\x85\u2028\u2029":
        return "a line break"
    code = f"U+{ord(letter):04X}"
    return f"{known} ({code})" if (known := unicodedata.name(letter, "")) else f"the character {code}"


def inert(cell: str) -> str:
    """A cell of someone else's file as no spreadsheet executes it: an apostrophe before each sign of a formula."""
    try:
        float(cell)
    except ValueError:
        return _FORMULA.sub(lambda found: f"{found[0][:-1]}'{found[0][-1]}", cell)
    return cell


def _read_rows(path: Path, comments: bool) -> tuple[list[list[str]], list[int]]:
    """All rows that are not blank, the header among them, and the line in which each begins."""
    rows: list[list[str]] = []
    lines: list[int] = []
    with path.open("rb") as file:
        head = file.peek(4)[:4]
        if head.startswith(_ZIP):
            raise InputError(f"{path}: is a spreadsheet file or another archive: save it as CSV in UTF-8")
        if head.startswith(_UTF16) or [byte == 0 for byte in head[:3]] in _UNMARKED_UTF16:
            raise InputError(f"{path}: is not a text file in UTF-8, but in UTF-16: save it as CSV in UTF-8")
        if head.lstrip(codecs.BOM_UTF8).lstrip()[:1] == b"{":
            raise InputError(
                f"{path}: is JSON and no table (a results.json holds means alone, of which no cases can be ranked or "
                "resampled): give the cases.csv"
            )
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        between_rows = True

        def without_comments() -> Iterator[str]:
            nonlocal between_rows
            for line in text:
                comment, between_rows = between_rows and line.startswith("#"), False
                yield "\n" if comment else line

        reader = csv.reader(without_comments() if comments else text, strict=True)
        begin = 1
        try:
            for row in reader:
                between_rows = True
                if any(field.strip() for field in row):
                    rows.append(row)
                    lines.append(begin)
                begin = reader.line_num + 1
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: is not a text file in UTF-8 (see line {_undecodable_line(path) or begin}): save it as CSV in "
                "UTF-8"
            ) from None
        except csv.Error as error:
            if "field limit" in str(error):
                fault = f"a field has more than {csv.field_size_limit()} characters"
            elif "end of data" in str(error):
                fault = "a quotation mark is opened and never closed"
            else:
                fault = str(error)
            raise InputError(f"{path}:{begin}: is not a row of a table ({fault}): correct or remove it") from None
    return rows, lines


def _undecodable_line(path: Path) -> int | None:
    """The first line that is not UTF-8; None where the file cannot be read twice."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _ragged(path: Path, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> list[str]:
    """Rows with more or fewer fields than the header."""
    width = len(rows[0])
    return [
        f"{path}:{line}: has {len(row)} of {width} fields: the file was cut short, or a field is missing: complete it"
        if len(row) < width
        else f"{path}:{line}: has {len(row)} fields where the table has {width} columns: remove what is too much, or "
        "quote a field that holds a comma"
        for line, row in zip(lines, rows, strict=True)
        if len(row) != width
    ]


def _without_nameless(path: Path, columns: Sequence[str], rows: list[list[str]]) -> list[str]:
    """The columns but those at the end that have neither a name nor any content, as spreadsheets write them.

    Raises:
        InputError: a column that has content has no name.
    """
    width = len(columns)
    kept = width
    while kept and not columns[kept - 1] and not any(row[kept - 1].strip() for row in rows if len(row) == width):
        kept -= 1
    nameless = [str(place + 1) for place, name in enumerate(columns[:kept]) if not name]
    if nameless:
        raise InputError(f"{path}: column {listed(nameless)} has no name: give it one in the header, or remove it")
    if kept < width:
        for row in rows:
            del row[kept:]
    return list(columns[:kept])


def _refuse_separators(path: Path, header: Sequence[str]) -> None:
    """Refuse a header of one column that holds the separators of another kind of table."""
    if len(header) > 1:
        return
    for separator, name in _OTHER_SEPARATORS.items():
        if separator in header[0]:
            raise InputError(f"{path}: its columns are separated by {name}: save it with commas (and decimal points)")
