"""Reading a fold file: every row is checked by itself here; `folds` checks them together and against a cohort."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import NamedTuple

from leaderboard.errors import InputError

COLUMNS = ("case", "patient", "fold", "lesion_ml")
_NEEDED = COLUMNS[:3]


class FoldRow(NamedTuple):
    """A row: the fold that a case is validated in, its patient, and its lesion volume where known."""

    case: str
    patient: str
    fold: int
    lesion_ml: float | None


def read_rows(path: Path) -> list[FoldRow]:
    """Read a fold file's rows.

    Raises:
        InputError: with every problem: no CSV, a missing column or value, a case twice, a fold or volume that is not a
            number, folds that are not 0 to K-1 with K at least 2.
    """
    rows: list[FoldRow] = []
    problems: list[str] = []
    line_of: dict[str, int] = {}
    for line, fields in _read_fields(path):
        fault = _fault(fields)
        if not fault and fields["case"] in line_of:
            fault = f"{fields['case']} is there already, in line {line_of[fields['case']]}: keep one row"
        if fault:
            problems.append(f"{path}: line {line}: {fault}")
            continue
        line_of[fields["case"]] = line
        lesion_ml = float(fields["lesion_ml"]) if fields["lesion_ml"] else None
        rows.append(FoldRow(fields["case"], fields["patient"], int(fields["fold"]), lesion_ml))
    present = {row.fold for row in rows}
    if not problems and (len(present) < 2 or present != set(range(len(present)))):
        found = ", ".join(map(str, sorted(present))) or "none"
        problems.append(f"{path}: has the folds {found}: number two or more folds from 0 on without a gap")
    if problems:
        raise InputError(problems)
    return rows


def _read_fields(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and stripped fields of each row that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, {key: (row.get(key) or "").strip() for key in COLUMNS}) for row in reader]
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: give a fold file") from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: is not a CSV file in UTF-8: save it again as one") from None
    absent = [column for column in _NEEDED if column not in columns]
    if absent:
        raise InputError(f"{path}: has no column {' and no column '.join(absent)}: add it")
    return [(line, fields) for line, fields in rows if any(fields.values())]


def _fault(fields: dict[str, str]) -> str | None:
    """What is wrong with a row by itself, and what to do."""
    empty = [column for column in _NEEDED if not fields[column]]
    if empty:
        return f"{' and '.join(empty)} is empty: fill it in"
    if not re.fullmatch("[0-9]{1,6}", fields["fold"]):
        return f"fold {fields['fold']} is not a whole number from 0 on: correct it"
    if fields["lesion_ml"]:
        try:
            lesion_ml = float(fields["lesion_ml"])
        except ValueError:
            lesion_ml = math.nan
        if not (math.isfinite(lesion_ml) and lesion_ml >= 0):
            return f"lesion_ml {fields['lesion_ml']} is not a volume: correct it, or leave it empty"
    return None
