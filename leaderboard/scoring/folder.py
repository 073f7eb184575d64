"""References and predictions to the rows of cases.csv."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from leaderboard.cases import cases_frame, read_cases, write_cases
from leaderboard.cohort.trees import Case
from leaderboard.errors import InputError
from leaderboard.parallel import run_tasks
from leaderboard.scoring.journal import Journal
from leaderboard.scoring.one_case import Scored, content_digest, score_case, score_files
from leaderboard.scoring.references import (
    check_folds,
    find_cases,
    find_references,
    partition_of,
    read_folds,
    with_patients,
)
from leaderboard.scoring.submission import Submission, absence, check_file, match_predictions, open_submission

__all__ = [
    "check_folds", "find_cases", "find_references", "journal_of", "partition_of", "read_cases", "read_folds",
    "score_case", "score_cases", "with_patients", "write_cases",
]  # fmt: skip

_Task = tuple[Path, Path | None]


def score_cases(
    cases: Sequence[Case],
    predictions: Path,
    method: str,
    *,
    folds: Mapping[str, int] | None = None,
    jobs: int | None = None,
    lenient: bool = False,
    complete: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
    on_missing: Callable[[list[str], list[str]], None] | None = None,
    journal: Path | None = None,
) -> pd.DataFrame:
    """Score a folder or a zip of predictions against the references of `cases`.

    Args:
        cases: the cases, each with a reference.
        predictions: folder or zip of masks, named as `submission` says.
        method: the method's name.
        folds: the fold of each case by name; a case without one has an empty fold.
        jobs: processes; None takes all cores as soon as that pays.
        lenient: a prediction that cannot be scored counts as missing instead of stopping everything.
        complete: a case without a prediction is a problem.
        progress: called with (done, total).
        on_problem: called with each line that `lenient` lets pass.
        on_missing: called with the cases that count as missing: those whose predictions cannot be scored, and those
            without any.
        journal: where finished cases are kept as they come, and taken from if an earlier scoring of the same bytes
            was interrupted or refused (see `journal`); the table is the same with it and without. Whoever has written
            the table removes it.

    Returns:
        A row a case in the layout of cases.csv; a case without a prediction has the status ``missing``.

    Raises:
        InputError: every problem of every file, in the order of the cases; or there is no mask that can be scored.
    """
    if not method.strip() or not method.isprintable():
        raise InputError("the method's name is empty or has control characters: give it a name")
    problems = [f"{case.name}: has no reference: score cases that have one" for case in cases if not case.reference]
    if problems or not cases:
        raise InputError(problems or ["there are no cases to score: give a cohort with references"])
    with open_submission(predictions) as submission:
        matches = match_predictions(list(submission.files), cases)
        tolerated = submission.problems + matches.problems
        shown = [matches.files.get(case.name) for case in cases]
        tasks = [
            (case.reference, submission.files[path] if path else None)
            for case, path in zip(cases, shown, strict=True)
            if case.reference
        ]
        results = _score(tasks, jobs, progress, journal)
        rows: list[dict[str, object]] = []
        for case, path, result in zip(cases, shown, results, strict=True):
            problems += result.reference_faults
            tolerated += _named(submission, path, result.prediction_faults)
            fold = folds.get(case.name) if folds else None
            rows.append({"method": method, "case": case.name, "patient": case.patient, "fold": fold, **result.measures})
        sound = {
            case.name: case.reference
            for case, result in zip(cases, results, strict=True)
            if case.reference and not result.reference_faults
        }
        doubled = [(sound[case], path) for case, paths in matches.doubled.items() if case in sound for path in paths]
        checks = [(reference, submission.files[path]) for reference, path in doubled]
        faults = dict(run_tasks(check_file, checks, jobs=jobs))
        for number, (_, path) in enumerate(doubled):
            tolerated += submission.named(faults[number], path)
    absent = matches.absent(cases)
    if complete and absent:
        problems.append(absence(predictions, absent))
    if problems or (tolerated and not lenient):
        raise InputError(problems + tolerated)
    missing = [str(row["case"]) for row in rows if row["status"] == "missing"]
    if len(missing) == len(rows):
        raise InputError([*tolerated, f"{predictions}: holds no mask that can be scored: correct the masks"])
    for problem in tolerated:
        if on_problem:
            on_problem(problem)
    if on_missing:
        on_missing([name for name in missing if name not in absent], absent)
    return cases_frame(rows)


def journal_of(table: Path) -> Path:
    """Where the finished cases of an unfinished cases.csv are kept: ``cases.csv.partial`` beside it."""
    return table.with_name(f"{table.name}.partial")


def _named(submission: Submission, shown: Path | None, problems: list[str]) -> list[str]:
    return submission.named(problems, shown) if shown else problems


def _score(
    tasks: Sequence[_Task],
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
    path: Path | None,
) -> list[Scored]:
    """The result of each task, in their order; those that the journal has are not measured again."""
    results: dict[int, Scored] = {}
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(path)) if path else None
        if journal and journal.holds_any:
            for number, content in run_tasks(content_digest, tasks, jobs=jobs):
                measures = journal.find(content)
                if measures is not None:
                    results[number] = Scored(measures, [], [], content)
        known = len(results)
        if progress and known:
            progress(known, len(tasks))
        left = [number for number in range(len(tasks)) if number not in results]
        report = (lambda done, _: progress(known + done, len(tasks))) if progress else None
        for place, result in run_tasks(score_files, [tasks[number] for number in left], jobs=jobs, progress=report):
            results[left[place]] = result
            if journal and not result.reference_faults and not result.prediction_faults:
                journal.add(result.content, result.measures)
    return [results[number] for number in range(len(tasks))]
