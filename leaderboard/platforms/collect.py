"""Downloaded results of a platform as one table, which ``leaderboard rank`` reads: ranks per case for any challenge.

What is read, each as JSON: the results of `evaluate` with a row a case (``metrics.json``, ``per_case.json``,
``result.json``); ``{"results": [{"case": ..., ...}]}`` of scorers made from the platform's template;
``{"case": {metric: {case: value}}}`` of evalutils; and Grand Challenge's list of evaluations, each with such a
``metrics-json-file``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.cases import cases_frame, complete, field_faults, sort_cases, write_cases
from leaderboard.cohort.names import mask_stem
from leaderboard.columns import CASE_COLUMNS, DATA, NUMBERS, SEED, TEXT, WITHOUT_UNIT
from leaderboard.errors import InputError, closest, listed
from leaderboard.io.images import write_text
from leaderboard.io.tables import shown
from leaderboard.platforms.grand_challenge import read_json

#: Files that every submission has: the folder's name then tells whose it is.
_SAME_NAMES = ("metrics", "per_case", "result", "results", "scores")
#: Where evalutils has the name of a case's reference.
_REFERENCE_NAME = "gt_fname"
#: What identifies a row: the file tells the method, and the row its case.
_ROW_NAMES = ("method", "case")
_OUTPUT = "metrics-json-file"
#: The columns of cases.csv that another one may be renamed to, and how like one of them a mistyped name is. A column
#: seed is rare, and ``speed`` is no slip of it.
_KNOWN = tuple(name for name in (*NUMBERS, *TEXT) if name not in (*_ROW_NAMES, SEED, DATA))
_LIKENESS = 0.75
Row = dict[str, Any]


def collect(paths: Sequence[Path], rename: Sequence[tuple[str, str]] = ()) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all submissions.

    Args:
        paths: result files; the method is called like the file, or like its folder where that is ``metrics.json``.
        rename: pairs of a column's name in the results and its new name.

    Returns:
        A row for each (method, case), sorted: in the layout of cases.csv where it has all its columns, else as it is;
        and a line on each evaluation that a later one of the same team replaces.

    Raises:
        InputError: a file holds no row a case or a number that makes no sense, a method comes twice, or columns cannot
            be renamed so (a new name that is nearly one of cases.csv among them); with a line for each.
    """
    new_names = _new_names(rename)
    found: dict[str, tuple[Path, list[Row]]] = {}
    problems, notes = list[str](), list[str]()
    for path in paths:
        try:
            content = read_json(path)
            evaluations = _evaluations(content, path, notes)
            for method, metrics in evaluations.items() if evaluations else [(_method_of(path), content)]:
                given = list(_rows(metrics))
                _refuse_merging(given, new_names)
                rows = [_plain(row, new_names) for row in given]
                if not rows:
                    problems.append(f"{path}: holds no row a case of {method}: have results written with --per-case")
                elif method in found:
                    problems.append(f"{path}: {method} is in {found[method][0]} as well: name one of them otherwise")
                else:
                    found[method] = path, rows
        except InputError as error:
            problems += [fault if fault.startswith(str(path)) else f"{path}: {fault}" for fault in error.problems]
    if problems:
        raise InputError(problems)
    every = [{"method": method, **row} for method, (_, rows) in found.items() for row in rows]
    columns = sorted({name for row in every for name in row})
    if unused := [old for old, new in new_names.items() if new not in columns]:
        names = "; ".join(f"--rename {old}={new_names[old]}: no result has numbers called {old}" for old in unused)
        raise InputError(f"{names}: choose from {listed(columns, 20)}")
    if mistyped := _mistyped(new_names, columns):
        raise InputError(mistyped)
    return _framed(every), notes


def write_collected(path: Path, frame: pd.DataFrame) -> None:
    """Write the table.

    Raises:
        InputError: it cannot be written.
    """
    if set(CASE_COLUMNS) <= set(frame.columns):
        write_cases(path, frame)
    else:
        write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _framed(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table, checked as tables are."""
    if all({"status", "reference_ml", "dice"} <= row.keys() for row in rows if row.get("status") != "missing"):
        known = {*NUMBERS, *TEXT}
        frame = cases_frame([{key: value for key, value in row.items() if key in known} for row in rows])
    else:
        frame = sort_cases(pd.DataFrame(list(rows)))
    complete(frame)
    texts = frame.astype(object).where(frame.notna(), "").astype(str)
    texts.index = pd.Index([f"{row.method}: {row.case}" for row in frame[["method", "case"]].itertuples()])
    if faults := field_faults(texts):
        raise InputError(faults)
    doubled = frame[frame.duplicated(["method", "case"])]
    if len(doubled):
        method, case = doubled.iloc[0][["method", "case"]]
        raise InputError(f"{method}: has the case {case} twice: correct its results")
    return frame


def _new_names(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """New names by old ones.

    Raises:
        InputError: a name is there twice, or is that of a column that identifies rows.
    """
    problems = [
        f"--rename {old}={new}: {name} identifies the rows and keeps its name: rename another column"
        for old, new in pairs
        for name in dict.fromkeys((old, new))
        if name in _ROW_NAMES
    ]
    for place, what in enumerate(("renamed twice", "the new name of two columns")):
        counts = Counter(pair[place] for pair in dict.fromkeys(pairs))
        problems += [f"--rename: {name} is {what}: name it once" for name, count in counts.items() if count > 1]
    if problems:
        raise InputError(problems)
    return dict(pairs)


def _mistyped(rename: Mapping[str, str], columns: Sequence[str]) -> list[str]:
    """A line for each new name that is nearly one of cases.csv, which no column has.

    Names whose digits differ (``lesion_f1_iou50``, ``lesion_f1_iou20``) are those of two things.
    """
    problems = []
    for old, new in rename.items():
        alike = [name for name in _KNOWN if name not in columns and _digits(name) == _digits(new)]
        close = WITHOUT_UNIT.get(new.lower()) or closest(new, alike, _LIKENESS)
        if new not in _KNOWN and close and close not in columns:
            problems.append(
                f"--rename {old}={new}: cases.csv has no column {new}: did you mean {close}? write it so, or choose a "
                "name that is less like it"
            )
    return problems


def _digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))


def _refuse_merging(rows: Sequence[Row], rename: Mapping[str, str]) -> None:
    """Refuse rows that have a column of the new name already.

    Raises:
        InputError: with a line for each name.
    """
    has = {name for row in rows for name in row}
    taken = [(old, new) for old, new in rename.items() if old in has and new in has and new not in rename]
    if taken:
        raise InputError(
            f"--rename {old}={new}: some results already have {new}: drop this renaming, or rename {new} as well, "
            f"as in --rename {new}=other"
            for old, new in taken
        )


def _evaluations(content: Any, path: Path, notes: list[str]) -> dict[str, Any]:
    """The metrics of each team in the platform's list of evaluations, the latest where it has several; else nothing."""
    items = content.get("results") if isinstance(content, dict) else content
    if not isinstance(items, list) or not all(isinstance(item, dict) and "outputs" in item for item in items):
        return {}
    latest: dict[str, tuple[str, Any]] = {}
    for number, item in enumerate(items, start=1):
        values = [value for value in item["outputs"] if isinstance(value, dict)] if item["outputs"] else []
        metrics = [value.get("value") for value in values if _slug(value) == _OUTPUT]
        submission = item.get("submission")
        team = submission.get("creator") if isinstance(submission, dict) else None
        team = team or item.get("title")
        if not metrics:
            notes.append(f"{path}: evaluation {number} has no {_OUTPUT} and is left out")
            continue
        if not isinstance(team, str) or not team:
            raise InputError(f"{path}: evaluation {number} names neither a creator nor a title: add one")
        when = str(item.get("created", ""))
        if team in latest:
            notes.append(f"{path}: {team} has several evaluations, the latest counts")
        if team not in latest or when > latest[team][0]:
            latest[team] = when, metrics[0]
    return {team: metrics for team, (_, metrics) in latest.items()}


def _slug(value: Mapping[str, Any]) -> object:
    socket = value.get("socket", value.get("interface"))
    return socket.get("slug") if isinstance(socket, dict) else None


def _rows(metrics: Any) -> Iterator[Row]:
    """The rows of a submission in any of the forms that are read."""
    if not isinstance(metrics, dict):
        return
    by_metric = metrics.get("case")
    if isinstance(by_metric, dict):  # evalutils
        columns = {name: values for name, values in by_metric.items() if isinstance(values, dict)}
        for key in dict.fromkeys(key for values in columns.values() for key in values):
            row = {name: values.get(key) for name, values in columns.items()}
            named = row.pop(_REFERENCE_NAME, None)
            yield {"case": mask_stem(Path(named).name) if isinstance(named, str) else f"case_{key}", **row}
        return
    of_hosts = metrics.get("submission_metadata")  # EvalAI
    items = (of_hosts if isinstance(of_hosts, dict) else metrics).get("results")
    for row in items if isinstance(items, list) else []:
        if isinstance(row, dict) and "case" in row:
            yield row


def _plain(row: Row, rename: Mapping[str, str]) -> Row:
    """A row with text and finite numbers alone, under new names, and without a method: the file tells it.

    Raises:
        InputError: a value is infinite.
    """
    plain: Row = {}
    for key, value in row.items():
        if key == "method":
            continue
        name = rename.get(key, key)
        if isinstance(value, bool | int | float) and not (isinstance(value, float) and math.isnan(value)):
            if not math.isfinite(value):
                raise InputError(f"{shown(str(row['case']))}: {shown(key)} is infinite: leave out what is undefined")
            plain[name] = value
        elif isinstance(value, str) and (name in TEXT or name == "case"):
            plain[name] = value
    plain["case"] = str(plain.get("case", row["case"]))
    return plain


def _method_of(path: Path) -> str:
    """Whose results a file holds, by its name or its folder's."""
    return path.resolve().parent.name if path.stem in _SAME_NAMES else path.stem
