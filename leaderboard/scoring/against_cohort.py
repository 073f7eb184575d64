"""A folder of predictions against a cohort on disk: what ``leaderboard score`` does, without writing a file."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from types import NoneType

import pandas as pd

from leaderboard.cases import A_PATH
from leaderboard.cohort.banner import is_synthetic
from leaderboard.cohort.case import Partition
from leaderboard.cohort.formats import check_choices
from leaderboard.errors import A_FUNCTION, InputError, check_types
from leaderboard.io import GridRule
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.references import (
    check_folds,
    find_references,
    mixed_patients,
    partition_of,
    read_case_folds,
    scored_against_themselves,
    with_patients,
)


def score_folder(
    cohort: Path | str,
    predictions: Path | str,
    method: str,
    *,
    probabilities: Path | str | None = None,
    partition: Partition | None = None,
    format_name: str | None = None,
    grid: GridRule = "auto",
    folds: Path | str | None = None,
    patients: Path | str | None = None,
    jobs: int | None = None,
    lenient: bool = False,
    complete: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
    on_missing: Callable[[list[str], list[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    journal: Path | None = None,
) -> pd.DataFrame:
    """Score a folder or a zip of masks against the references of a cohort.

    Args:
        cohort: a cohort's tree, or a folder of reference masks.
        predictions: folder or zip of masks, named like their cases.
        method: the method's name in the rows.
        probabilities: folder or zip of the probability maps behind the masks, named like these; None: there are none.
        partition: of a cohort with both; None: the one that the predictions fit.
        format_name: the cohort's format, one of `cohort.formats.FORMATS`; None recognises it.
        grid: how the grids of masks and references are compared.
        folds: a CSV with the columns ``case`` and ``fold``, which fills the column ``fold``.
        patients: a CSV with the columns ``case`` and ``patient``, if the cohort does not have them.
        jobs: processes; None uses all cores as soon as that pays.
        lenient: a prediction that cannot be scored counts as missing.
        complete: a case without a prediction is a problem.
        progress: called with (done, total).
        on_problem: called with the line of each problem that `lenient` lets pass.
        on_missing: called with the names of the cases that count as missing, refused and absent.
        on_note: called with each line that is worth knowing and no problem.
        journal: see `folder.score_cases`.

    Returns:
        One row per case in the layout of cases.csv (`cases.write_cases` writes it). ``attrs["partition"]`` is that of
        the cases, None for a folder of masks.

    Raises:
        InputError: every problem of every file, each with its remedy; or an argument is of a wrong type or unknown.
    """
    paths = (("cohort", cohort), ("predictions", predictions))
    further = (("probabilities", probabilities), ("folds", folds), ("patients", patients), ("journal", journal))
    calls = (("progress", progress), ("on_problem", on_problem), ("on_missing", on_missing), ("on_note", on_note))
    check_types(
        *((name, path, A_PATH, "a path") for name, path in paths),
        ("method", method, str, "the method's name"),
        *((name, path, (*A_PATH, NoneType), "a path or None") for name, path in further),
        ("jobs", jobs, (Integral, NoneType), "a number of processes or None"),
        *((name, call, A_FUNCTION, "a function or None") for name, call in calls),
    )
    check_choices(partition, format_name, grid)
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: is {jobs}: give a number of at least 1, or None")
    cohort, predictions = Path(cohort), Path(predictions)
    cases = find_references(cohort, predictions, partition, format_name, grid)
    notes: list[str] = []
    fold_of = None
    if folds:
        fold_of = read_case_folds(Path(folds), [case.name for case in cases])
        notes += check_folds(fold_of, cases, Path(folds))
    if patients:
        cases, beyond = with_patients(cases, Path(patients))
        notes += beyond
    else:
        notes += mixed_patients(cohort, cases)
    notes += scored_against_themselves(cases, predictions)
    frame = score_cases(
        cases,
        predictions,
        method,
        probabilities=Path(probabilities) if probabilities else None,
        grid=grid,
        folds=fold_of,
        jobs=jobs,
        lenient=lenient,
        complete=complete,
        synthetic=is_synthetic(cohort),
        progress=progress,
        on_problem=on_problem,
        on_missing=on_missing,
        on_note=notes.append,
        journal=journal,
    )
    for note in notes:
        if on_note:
            on_note(note)
    frame.attrs["partition"] = partition_of(cohort, cases)
    return frame
