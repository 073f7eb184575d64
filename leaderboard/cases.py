"""cases.csv: one row for each (method, seed, case) with raw values; undefined values are empty.

A table whose methods were trained once has no column ``seed``.

In memory it is a data frame with the same columns. If it was read from files, its index (named ``source``) holds the
``file:line`` of each row, so that messages can name a faulty row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.cohort.names import natural_key
from leaderboard.columns import (
    CASE_COLUMNS,
    DATA,
    FURTHER_COLUMNS,
    LARGEST,
    METRICS,
    NUMBERS,
    OF_PROBABILITIES,
    SEED,
    STATUSES,
    SYNTHETIC_DATA,
    TEXT,
)
from leaderboard.errors import InputError, check_types, listed
from leaderboard.io.tables import name_fault, read_table, shortened, shown

#: What a case without a prediction does not have.
_OF_A_PREDICTION = (
    *METRICS, "predicted_ml", "predicted_lesions", "average_precision",
    *(name for name in FURTHER_COLUMNS if name.startswith("lesion_recall_")),
)  # fmt: skip
_NAMED = ("method", "case", "patient")
#: What is given where rows are asked for, in words.
A_TABLE = "a data frame, as read_cases gives it"
#: What a path may be.
A_PATH = (str, os.PathLike)


def cases_frame(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Rows as a frame in the layout of cases.csv: columns, types and order; absent values are undefined."""
    seeded = [SEED] if any(row.get(SEED) is not None for row in rows) else []
    marked = [DATA] if any(row.get(DATA) for row in rows) else []
    mapped = list(OF_PROBABILITIES) if any(name in row for row in rows for name in OF_PROBABILITIES) else []
    columns = [*CASE_COLUMNS, *FURTHER_COLUMNS, *mapped, *seeded, *marked]
    return sort_cases(_typed(pd.DataFrame(list(rows), columns=columns)))


def sort_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """By method, then seed, then case in natural order (``case_2`` before ``case_10``)."""
    keys = {case: natural_key(str(case)) for case in cases["case"].unique()}
    place = {case: number for number, case in enumerate(sorted(keys, key=lambda case: keys[case]))}
    seeds = cases[SEED].fillna(-1).to_numpy(dtype=float) if SEED in cases.columns else np.zeros(len(cases))
    order = np.lexsort((cases["case"].map(place).to_numpy(), seeds, pd.factorize(cases["method"], sort=True)[0]))
    return cases.iloc[order]


def write_cases(path: Path | str, cases: pd.DataFrame) -> None:
    """Write cases.csv atomically; the same rows, in whatever order, give the same bytes.

    Raises:
        InputError: the file cannot be written, a name may not (`io.tables.name_fault`), or these are no path and rows.
    """
    from leaderboard.io.images import write_text

    check_types(("path", path, A_PATH, "a path"), ("cases", cases, pd.DataFrame, A_TABLE))
    require(cases, ("method", "case"), "cases.csv")
    write_text(Path(path), cases_csv(cases))


def cases_csv(cases: pd.DataFrame) -> str:
    """The text of cases.csv; the same rows, in whatever order, give the same text.

    Raises:
        InputError: a name is not allowed (`io.tables.name_fault`).
    """
    if faults := name_faults({name: cases[name].dropna().unique() for name in _NAMED if name in cases.columns}):
        raise InputError(faults)
    last = ([SEED] if has_seeds(cases) else []) + ([DATA] if DATA in cases.columns else [])
    first = [column for column in CASE_COLUMNS if column in cases.columns]
    further = [column for column in cases.columns if column not in (*CASE_COLUMNS, SEED, DATA)]
    # pandas writes a float with the fewest digits that read back to the same number
    return sort_cases(_typed(cases))[[*first, *further, *last]].to_csv(index=False, lineterminator="\n")


def refuse_other_method(path: Path, method: str) -> None:
    """Refuse to replace a file by the scores of a method, unless it is empty or holds that method's.

    Raises:
        InputError: it holds another method's, or something else.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    remedy = "choose another --out, or remove it"
    try:
        table = read_table(path, *CASE_COLUMNS)
    except InputError:
        raise InputError(f"{path}: is there already and is no table of scores: {remedy}") from None
    others = [name for (name,) in dict.fromkeys(table.fields("method")) if name != method]
    if others:
        named = listed([shown(name) for name in others])
        raise InputError(f"{path}: holds the scores of {named}, which {shown(method)} would replace: {remedy}")


def read_cases(paths: Path | str | Sequence[Path | str]) -> pd.DataFrame:
    """Read one or several cases.csv, or other tidy tables, into one frame, indexed by ``file:line``.

    A table has at least the columns ``method`` and ``case``, in any order and with any others; `complete` says what
    holds if others are absent. A column that only some files have is undefined for the rows of the others.

    Raises:
        InputError: a file is given twice, is not such a table (`io.tables.read_table`) or holds a value that makes no
            sense; every problem with file and line. Or what is given is no path.
    """
    frames, problems = [], []
    read: set[Path] = set()
    for path in path_list("paths", paths, "the path of a table, or a list of paths"):
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
    return _typed(pd.concat(frames)) if len(frames) > 1 else frames[0]


def path_list(name: str, given: Path | str | Iterable[Path | str], words: str) -> list[Path]:
    """One path or several, as a list.

    Args:
        name: of the argument.
        given: its value.
        words: what to give.

    Raises:
        InputError: it is neither.
    """
    check_types((name, given, (*A_PATH, Iterable), words))
    several = [given] if isinstance(given, str | Path) else list(given)
    check_types(*((name, path, A_PATH, words) for path in several))
    return [Path(path) for path in several]


def _read_one(path: Path) -> pd.DataFrame:
    table = read_table(path, "method", "case")
    if not table.rows:
        raise InputError(f"{path}: has no rows: score the predictions again")
    raw = pd.DataFrame(table.rows, columns=list(table.columns), dtype=str)
    raw.index = pd.Index([table.where(row) for row in range(len(raw))], name="source")
    if problems := field_faults(raw):
        raise InputError(shortened(path, problems))
    return complete(raw)


def complete(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of any tidy table, with the types of cases.csv and defaults for absent columns.

    Args:
        cases: at least the columns ``method`` and ``case``, in any order and with any others.

    Returns:
        The same rows; if these columns are absent, patients and folds are unknown and every status is ``ok``.

    Raises:
        InputError: a column is absent or there twice, a name is not allowed (`io.tables.name_fault`) or a number is too
            large.
    """
    _check_columns(cases)
    filled = cases.copy()
    for name, value in (("patient", ""), ("fold", None), ("status", "ok")):
        if name not in filled.columns:
            filled[name] = value
    typed = _typed(filled)
    problems = [f"the column {shown(str(name))} {fault}" for name in cases.columns if (fault := name_fault(str(name)))]
    problems += name_faults({name: typed[name].unique() for name in _NAMED})
    if problems:
        raise InputError(problems)
    return typed


def check_values(cases: pd.DataFrame) -> None:
    """Refuse rows as a caller gives them, not yet averaged over trainings, with values that cases.csv may not have.

    Raises:
        InputError: a column is absent or there twice; or, with a line for each column, by its first row: a name is
            empty, a status or a number is none that it may have, or a case that is missing has a number.
    """
    _check_columns(cases)
    expected = dict.fromkeys(("method", "case"), "a name") | {"status": ", ".join(STATUSES)}
    wrong = {name: cases[name].isna() | (cases[name] == "") for name in ("method", "case")}
    if "status" in cases.columns:
        wrong["status"] = ~cases["status"].isin(STATUSES)
    for name in [name for name in NUMBERS if name in cases.columns]:
        wrong[name], expected[name] = NUMBERS[name].wrong(_numbers(cases[name])), NUMBERS[name].expected
    problems = [
        f"{row['method']}, {row['case']}: {name} is {shown(str(row[name]))}: it must be {expected[name]}"
        for name, rows in wrong.items()
        for _, row in cases[rows.to_numpy()].head(1).iterrows()
    ]
    if "status" in cases.columns:
        missing = cases[cases["status"] == "missing"]
        problems += [
            f"{row['method']}, {row['case']}: has the status missing, but a {name}: correct one of the two"
            for name in _OF_A_PREDICTION
            if name in cases.columns
            for _, row in missing[_numbers(missing[name]).notna()].head(1).iterrows()
        ]
    if problems:
        raise InputError(problems)


def _check_columns(cases: pd.DataFrame) -> None:
    require(cases, ("method", "case"), "a table to rank")
    if twice := list(map(str, cases.columns[cases.columns.duplicated()])):
        raise InputError(f"the table has more than one column of the name {listed(twice)}: keep one")


def require(cases: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse rows that lack a column.

    Args:
        cases: the rows.
        columns: the names that are needed.
        what: the thing that needs them, in words.

    Raises:
        InputError: with the columns that are absent.
    """
    absent = [name for name in columns if name not in cases.columns]
    if absent:
        raise InputError(
            f"{what} needs the column{'s' * (len(absent) > 1)} {', '.join(absent)}, which the table lacks (it has "
            f"{listed(list(map(str, cases.columns)), 12) or 'none'}): add {'them' if absent[1:] else 'it'}"
        )


def name_faults(names: Mapping[str, Iterable[str | None]]) -> list[str]:
    """One line for each name that is not allowed; names by kind."""
    return [
        f"the {kind} {shown(name)} {fault}"
        for kind, texts in names.items()
        for name in dict.fromkeys(texts)
        if name and (fault := name_fault(name))
    ]


def synthetic_rows(cases: pd.DataFrame) -> pd.Series:
    """Which rows are marked as those of invented patients, same index."""
    if DATA not in cases.columns:
        return pd.Series(False, index=cases.index)
    return cases[DATA].astype(str).str.contains(SYNTHETIC_DATA, case=False)


def has_seeds(cases: pd.DataFrame) -> bool:
    """Whether some row says which training made it."""
    return SEED in cases.columns and bool(cases[SEED].notna().any())


def row_key(cases: pd.DataFrame) -> list[str]:
    """The columns that no two rows may have in common: method, case and, where there is one, seed."""
    return ["method", *([SEED] if has_seeds(cases) else []), "case"]


def seed_faults(cases: pd.DataFrame) -> list[str]:
    """One line for each method whose seeds cannot be compared: some rows without one, or seeds on different cases.

    Args:
        cases: from `complete`.
    """
    if not has_seeds(cases):
        return []
    faults = []
    for method, rows in cases.groupby("method", sort=True):
        lacking = rows[SEED].isna()
        if lacking.any() and not lacking.all():
            faults.append(
                f"{method}: {int((~lacking).sum())} of its {len(rows)} rows have a seed: give each row its seed, "
                "or rename the method in the rows that have none"
            )
        elif not lacking.any():
            every = set(rows["case"])
            for seed, own in rows.groupby(SEED, sort=True)["case"]:
                if absent := sorted(every - set(own), key=natural_key):
                    faults.append(
                        f"{method}: has no row for {listed(absent)} with the seed {seed}, which its other seeds have: "
                        "score all its seeds on the same cases"
                    )
    return faults


def field_faults(raw: pd.DataFrame) -> list[str]:
    """The faults of single fields, a line each: a name, a status or a number that is not allowed.

    Args:
        raw: of strings, empty where undefined, with at least ``method`` and ``case``; a line begins with its index.
    """
    faults: list[str] = []
    for name in ("method", "case"):
        faults += [f"{label}: {name} is empty: fill it in" for label in raw.index[raw[name] == ""]]
    for name in [name for name in _NAMED if name in raw.columns]:
        wrong = {text: fault for text in raw[name].unique() if (fault := name_fault(text))}
        for label, text in raw[name][raw[name].isin(wrong)].items():
            faults.append(f"{label}: the {name} {shown(text)} {wrong[text]}")
    if "status" in raw.columns:
        for label, status in raw["status"][~raw["status"].isin(STATUSES)].items():
            faults.append(f"{label}: status is {shown(status)}: it may be {', '.join(STATUSES)}")
    for name in [name for name in NUMBERS if name in raw.columns]:
        column, text = NUMBERS[name], raw[name]
        numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
        wrong_rows = (numbers.isna() & (text != "")) | column.wrong(numbers)
        faults += [
            f"{label}: {name} is {shown(text[label])}: it must be {column.expected}" for label in raw.index[wrong_rows]
        ]
    if "status" in raw.columns:
        missing = raw["status"] == "missing"
        for name in [name for name in _OF_A_PREDICTION if name in raw.columns]:
            faults += [
                f"{label}: has the status missing, but {name} is {shown(raw[name][label])}: correct one of the two"
                for label in raw.index[missing & (raw[name] != "")]
            ]
    if "reference_ml" in raw.columns:
        empty = raw.index[raw["reference_ml"] == ""]
        faults += [f"{label}: reference_ml is empty: fill it in" for label in empty]
    return faults


def _typed(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows with each column as its type: text, whole numbers (nullable) or floats."""
    typed = cases.copy()
    for column in typed.columns:
        if column in TEXT and not (typed[column].dtype == "str" and not typed[column].hasnans):
            typed[column] = typed[column].astype(object).fillna("").astype(str)
        elif column in NUMBERS and typed[column].dtype != "Int64":
            numbers = _numbers(typed[column])
            typed[column] = numbers.round().astype("Int64") if NUMBERS[column].whole else numbers
    return typed


def _numbers(column: pd.Series) -> pd.Series:
    """Floats; text goes through Python's own conversion, which is exact.

    Raises:
        InputError: a value is not a number, or is larger than any that is accepted.
    """
    if not pd.api.types.is_numeric_dtype(column):
        try:
            values = column.to_numpy(dtype=object)
            values = np.where(pd.isna(values), np.nan, values)
            values = np.where(values == "", np.nan, values)
            column = pd.Series(values.astype(float), column.index, name=column.name)
        except (TypeError, ValueError) as error:
            raise InputError(f"{column.name} holds a value that is not a number ({error}): correct it") from None
    numbers = column.astype(float)
    if (numbers.abs() > LARGEST).any():
        raise InputError(f"{column.name} holds a number beyond {LARGEST:g}: correct it")
    return numbers
