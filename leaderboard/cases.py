"""cases.csv: a row a (method, case), raw truth, an undefined value an empty field.

In memory it is a data frame with the same columns. One that was read from files carries ``file:line`` of each row as
its index (named ``source``), so that whatever is wrong with a row can be told.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.cohort.names import natural_key
from leaderboard.columns import CASE_COLUMNS, FURTHER_COLUMNS, NUMBERS, STATUSES, TEXT
from leaderboard.errors import InputError

_MOST_PROBLEMS = 20


def cases_frame(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Rows as a frame in the layout of cases.csv: columns, types and order; absent values are undefined."""
    columns = [*CASE_COLUMNS, *FURTHER_COLUMNS]
    return sort_cases(_typed(pd.DataFrame(list(rows), columns=columns)))


def sort_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """By method, then case in natural order (``case_2`` before ``case_10``)."""
    keys = {case: natural_key(str(case)) for case in cases["case"].unique()}
    place = {case: number for number, case in enumerate(sorted(keys, key=lambda case: keys[case]))}
    order = np.lexsort((cases["case"].map(place).to_numpy(), pd.factorize(cases["method"], sort=True)[0]))
    return cases.iloc[order]


def write_cases(path: Path, cases: pd.DataFrame) -> None:
    """Write cases.csv atomically; the same rows, in whatever order, give the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    from leaderboard.io.images import write_text

    columns = [*CASE_COLUMNS, *(column for column in cases.columns if column not in CASE_COLUMNS)]
    # pandas writes a float with the fewest digits that read back as the same number
    write_text(path, sort_cases(_typed(cases))[columns].to_csv(index=False, lineterminator="\n"))


def read_cases(paths: Path | Sequence[Path]) -> pd.DataFrame:
    """Read one or several cases.csv into one frame, indexed by ``file:line``.

    Columns that are not in every file come out undefined where they are absent.

    Raises:
        InputError: a file is given twice, missing, no such table, cut short, lacks columns or holds a value that makes
            no sense; every problem with file and line.
    """
    frames, problems = [], []
    read: set[Path] = set()
    for path in [Path(paths)] if isinstance(paths, str | Path) else map(Path, paths):
        place = Path(os.path.realpath(path))
        if place in read:
            problems.append(f"{path}: is given twice: name it once")
            continue
        read.add(place)
        try:
            frames.append(_read_one(path))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if not frames:
        raise InputError("no cases.csv was given: name at least one")
    return pd.concat(frames) if len(frames) > 1 else frames[0]


def _read_one(path: Path) -> pd.DataFrame:
    try:
        raw = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            compression=None,
            index_col=False,
            skip_blank_lines=False,
        )
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty: score the predictions again") from None
    except pd.errors.ParserError as error:
        if "out of memory" in str(error):
            raise MemoryError from None
        where = re.search(r"line (\d+)", str(error))
        line = f":{where[1]}" if where else ""
        raise InputError(f"{path}{line}: is not a row of a table: correct or remove the line") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file: give a cases.csv") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): give a cases.csv") from None
    except ValueError:
        raise InputError(f"{path}: is not a table: give a cases.csv") from None
    absent = [column for column in CASE_COLUMNS if column not in raw.columns]
    if absent:
        raise InputError(f"{path}: lacks the columns {', '.join(absent)}: give a cases.csv of leaderboard score")
    raw.index = pd.Index([f"{path}:{line}" for line in range(2, len(raw) + 2)], name="source")
    raw = raw[(raw != "").any(axis=1)]
    if raw.empty:
        raise InputError(f"{path}: has no rows: score the predictions again")
    problems = _cut_short(path, raw) or _faults(raw)
    if problems:
        more = [f"{path}: {len(problems) - _MOST_PROBLEMS} more problems"] if len(problems) > _MOST_PROBLEMS else []
        raise InputError(problems[:_MOST_PROBLEMS] + more)
    return _typed(raw)


def _cut_short(path: Path, raw: pd.DataFrame) -> list[str]:
    """Rows with fewer fields than the table has columns, which pandas would fill up with empty ones."""
    if not (raw.iloc[:, -1] == "").any():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lengths = [len(row) for row in csv.reader(file)]
    except csv.Error as error:
        raise InputError(f"{path}: is not a table ({error}): correct it") from None
    columns = lengths[0]
    return [
        f"{path}:{line}: has {length} of {columns} fields: the file was cut short, score the predictions again"
        for line, length in enumerate(lengths, start=1)
        if 0 < length < columns and f"{path}:{line}" in raw.index
    ]


def _faults(raw: pd.DataFrame) -> list[str]:
    """What is wrong with single fields of a table of strings."""
    faults: list[str] = []
    for name in ("method", "case"):
        faults += [f"{label}: {name} is empty: fill it in" for label in raw.index[raw[name] == ""]]
    for label, status in raw["status"][~raw["status"].isin(STATUSES)].items():
        faults.append(f"{label}: status is {status!r}: it may be {', '.join(STATUSES)}")
    for name in [name for name in NUMBERS if name in raw.columns]:
        column, text = NUMBERS[name], raw[name]
        numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
        wrong = numbers.isna() & (text != "") | np.isinf(numbers)
        if column.least is not None:
            wrong |= numbers < column.least
        if column.most is not None:
            wrong |= numbers > column.most
        expected = column.expected
        if name == "fold":
            wrong |= (numbers % 1 != 0) & numbers.notna()
            expected = "a whole number"
        faults += [f"{label}: {name} is {text[label]!r}: it must be {expected}" for label in raw.index[wrong]]
    undefined = raw["reference_ml"] == ""
    return faults + [f"{label}: reference_ml is empty: fill it in" for label in raw.index[undefined]]


def _typed(cases: pd.DataFrame) -> pd.DataFrame:
    """Text, whole numbers (nullable) and floats, each column as what it is."""
    typed = cases.copy()
    for column in typed.columns:
        if column in TEXT:
            typed[column] = typed[column].fillna("").astype(str)
        elif column in NUMBERS:
            numbers = _numbers(typed[column])
            typed[column] = numbers.round().astype("Int64") if NUMBERS[column].whole else numbers
    return typed


def _numbers(column: pd.Series) -> pd.Series:
    """Floats; text goes through Python's own conversion, which is exact."""
    if not pd.api.types.is_numeric_dtype(column):
        column = column.map(lambda value: np.nan if pd.isna(value) or value == "" else float(value))
    return column.astype(float)
