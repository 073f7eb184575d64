"""The cells in which two texts of the same table (CSV, Markdown or LaTeX) differ; pure functions on texts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import count, zip_longest

#: Columns that name a row, and the one that tells rows of the same name apart.
_NAMES = ("method", "Method", "Team")
_GROUP = "stratum"
_LATEX_RULES = (r"\toprule", r"\midrule", r"\bottomrule")


@dataclass(frozen=True)
class Difference:
    """One difference between two tables."""

    file: str  #: the file, or the kind of thing, that differs
    row: str  #: the method, or ``line 7`` outside a table; empty: the whole file or column
    column: str  #: of the table; empty: the whole row or line
    first: str | None  #: the value in the first; None if it has no such file, row or column
    second: str | None  #: the value in the second, likewise

    @property
    def place(self) -> str:
        """``leaderboard.csv: strokenet, dice_mean``."""
        return ": ".join(part for part in (self.file, ", ".join(filter(None, (self.row, self.column)))) if part)


@dataclass
class Sheet:
    """The tables of a text as cells, and the lines between them."""

    #: row -> column -> value, in order; rows of one name are told apart by a number
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)  #: in order
    lines: list[tuple[int, str]] = field(default_factory=list)  #: lines outside tables, with their numbers

    def add(self, header: Sequence[str], rows: Iterable[Sequence[str]], group: str = "") -> None:
        """Add a table.

        Args:
            header: its columns.
            rows: their fields; those beyond the header are columns without a name.
            group: the group that its rows belong to.
        """
        self.columns += [name for name in header if name not in self.columns]
        place = next((header.index(name) for name in _NAMES if name in header), 0)
        for fields in rows:
            named = dict(zip(header, fields, strict=False))
            if fields[len(header) :]:
                named["(surplus fields)"] = ",".join(fields[len(header) :])
            name = fields[place] if place < len(fields) else ""
            name = ", ".join(part for part in (group or named.get(_GROUP, ""), name) if part) or "(no name)"
            keys = (f"{name} ({number})" if number > 1 else name for number in count(1))
            self.rows[next(key for key in keys if key not in self.rows)] = named


def read_sheet(name: str, text: str) -> Sheet:
    """The cells of a table.

    Args:
        name: of its file; the ending gives the format: ``.csv``, ``.md``, ``.tex``.
        text: its content.

    Raises:
        csv.Error: it is not CSV.
    """
    if name.endswith(".csv"):
        sheet = Sheet()
        header, *rows = [fields for fields in csv.reader(io.StringIO(text)) if fields] or [[]]
        sheet.add(header, rows)
        return sheet
    lines = text.replace("\r\n", "\n").split("\n")
    return _read_marked(lines, _markdown_fields if name.endswith(".md") else _latex_fields)


def _read_marked(lines: Sequence[str], split: Callable[[str], list[str] | None]) -> Sheet:
    sheet, heading, header, group = Sheet(), "", list[str](), list[list[str]]()
    for number, line in enumerate([*lines, ""], start=1):
        fields = split(line)
        if fields is not None:
            if header:
                group.append(fields)
            else:
                header = fields
            continue
        if line in _LATEX_RULES or (line.startswith("|") and not line.strip("-:| ")):
            continue
        if header:
            sheet.add(header, group, heading)
            header, group = [], []
        if line.startswith("## "):
            heading = line[3:]
        if number <= len(lines):
            sheet.lines.append((number, line))
    return sheet


def _markdown_fields(line: str) -> list[str] | None:
    if not line.startswith("|") or not line.strip("-:| "):
        return None
    return [field.strip().replace("\\|", "|") for field in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _latex_fields(line: str) -> list[str] | None:
    return line.removesuffix(r" \\").split(" & ") if line.endswith(r" \\") else None


def compare(name: str, first: str, second: str) -> list[Difference]:
    """Every cell, row, column and line in which two texts of a table differ; none if the texts are the same.

    Args:
        name: of the file; its ending gives the format (`read_sheet`).
        first: a text.
        second: another.

    Raises:
        csv.Error: one is not CSV.
    """
    if first == second:
        return []
    one, other = read_sheet(name, first), read_sheet(name, second)
    found = [*_compare_names(name, one, other), *_compare_cells(name, one, other), *_compare_lines(name, one, other)]
    return found or [_compare_layout(name, one, other, first, second)]


def _compare_names(name: str, one: Sheet, other: Sheet) -> Iterator[Difference]:
    """Columns and rows that only one of two tables has."""
    for column in _of_both(one.columns, other.columns):
        if (column in one.columns) != (column in other.columns):
            yield Difference(name, "", f"column {column}", *_presence(column in one.columns))
    for row in _of_both(one.rows, other.rows):
        if (row in one.rows) != (row in other.rows):
            yield Difference(name, row, "", *_presence(row in one.rows))


def _compare_cells(name: str, one: Sheet, other: Sheet) -> Iterator[Difference]:
    told = set(one.columns) ^ set(other.columns)
    for row in [row for row in one.rows if row in other.rows]:
        for column in _of_both(one.rows[row], other.rows[row]):
            cells = one.rows[row].get(column), other.rows[row].get(column)
            if cells[0] != cells[1] and column not in told:
                yield Difference(name, row, column, *cells)


def _compare_lines(name: str, one: Sheet, other: Sheet) -> Iterator[Difference]:
    """Differing lines outside the tables."""
    texts = [line for _, line in one.lines], [line for _, line in other.lines]
    for kind, start, end, start_of_other, end_of_other in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        pairs = zip_longest(one.lines[start:end], other.lines[start_of_other:end_of_other])
        for mine, its in pairs:
            number = mine[0] if mine else its[0]
            yield Difference(name, f"line {number}", "", mine and mine[1], its and its[1])


def _compare_layout(name: str, one: Sheet, other: Sheet, first: str, second: str) -> Difference:
    """How two texts with the same cells differ."""
    for what, mine, its in (("columns", one.columns, other.columns), ("rows", list(one.rows), list(other.rows))):
        if mine != its:
            return Difference(name, "", f"order of {what}", ", ".join(mine), ", ".join(its))
    pairs = zip_longest(first.splitlines(keepends=True), second.splitlines(keepends=True))
    number, (text, its_text) = next((number, pair) for number, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    return Difference(name, f"bytes of line {number}", "", text and repr(text), its_text and repr(its_text))


def _of_both(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _presence(in_first: bool) -> tuple[str | None, str | None]:
    return ("there", None) if in_first else (None, "there")
