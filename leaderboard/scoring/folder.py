"""From references and predictions to the rows of cases.csv."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from leaderboard.cases import cases_frame, name_faults
from leaderboard.cohort.case import Case
from leaderboard.columns import DATA, SYNTHETIC_DATA
from leaderboard.errors import InputError, MachineError
from leaderboard.io import GridRule
from leaderboard.parallel import run_tasks
from leaderboard.scoring.journal import Journal
from leaderboard.scoring.one_case import CaseFiles, CaseResult, content_digest, score_files
from leaderboard.scoring.submission import (
    ASKED_FOR,
    MapWords,
    Submission,
    absence_fault,
    check_file,
    match_predictions,
    open_maps,
    open_submission,
    turning_note,
    unpaired,
    unused_maps_note,
)

#: Beside the measures in a journal: the prediction is turned.
_TURNED = "was_turned"


def score_cases(
    cases: Sequence[Case],
    predictions: Path | Submission,
    method: str,
    *,
    probabilities: Path | Submission | None = None,
    map_words: MapWords = ASKED_FOR,
    grid: GridRule = "auto",
    folds: Mapping[str, int] | None = None,
    jobs: int | None = None,
    lenient: bool = False,
    complete: bool = False,
    synthetic: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
    on_missing: Callable[[list[str], list[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    journal: Path | None = None,
) -> pd.DataFrame:
    """Score a folder or a zip of predictions against the references of `cases`.

    Args:
        cases: the cases, each with a reference.
        predictions: folder or zip of masks, named as `submission` says, or an opened one.
        method: the method's name.
        probabilities: folder or zip of the maps behind the masks, named like these, one for each (the place of the
            masks means the maps within it, see `submission.open_maps`); None: there are none.
        map_words: what is said of maps that are not there, or not used.
        grid: how the grids of predictions and references are compared.
        folds: the fold of each case by name; a case without one has an empty fold.
        jobs: number of processes; None uses all cores as soon as that pays.
        lenient: a prediction that cannot be scored counts as missing instead of stopping everything.
        complete: a case without a prediction is a problem.
        synthetic: the cases are invented; every row says so in the column ``data``.
        progress: called with (done, total).
        on_problem: called with the line of each problem that `lenient` lets pass.
        on_missing: called with the cases that count as missing: those whose predictions cannot be scored, and those
            without any.
        on_note: called with a line on masks that are turned, and one on files that are left aside.
        journal: where finished cases are kept, and read from if an earlier scoring of the same bytes was interrupted
            or refused (see `journal`); the table is the same with it and without. The caller removes it once the
            table is written.

    Returns:
        One row per case in the layout of cases.csv; a case without a prediction has the status ``missing``.

    Raises:
        InputError: every problem of every file, in the order of the cases; or no mask can be scored.
        MachineError: a reference or the machine is at fault, so that nothing is known of the predictions.
    """
    if not method.strip():
        raise InputError("the method's name is empty: give it a name")
    about: dict[str, list[str | None]] = {
        "method": [method],
        "case": [case.name for case in cases],
        "patient": [case.patient for case in cases],
    }
    if faults := name_faults(about):
        raise InputError(faults)
    problems = [f"{case.name}: has no reference: score cases that have one" for case in cases if not case.reference]
    if problems or not cases:
        raise InputError(problems or ["there are no cases to score: give a cohort with references"])
    with contextlib.ExitStack() as stack:
        submission = _opened(stack, predictions)
        matches = match_predictions(list(submission.files), cases, submission.owners)
        notes = submission.notes + ([] if probabilities else unused_maps_note(submission, map_words))
        tolerated = submission.problems + matches.problems
        shown = [matches.files.get(case.name) for case in cases]
        maps: Submission | None = None
        shown_maps: list[Path | None] = [None] * len(cases)
        if probabilities:
            maps = stack.enter_context(open_maps(probabilities, submission, map_words))
            of_maps = match_predictions(list(maps.files), cases, maps.owners)
            notes += maps.notes
            tolerated += maps.problems + of_maps.problems + unpaired(maps.place, matches, of_maps)
            shown_maps = [of_maps.files.get(case.name) for case in cases]
        pairs: list[CaseFiles] = [
            (
                case.reference,
                submission.files[path] if path and (map_path or not maps) else None,
                maps.files[map_path] if maps and path and map_path else None,
            )
            for case, path, map_path in zip(cases, shown, shown_maps, strict=True)
            if case.reference
        ]
        results = _results(pairs, grid, jobs, progress, journal)
        rows: list[dict[str, object]] = []
        for case, path, map_path, result in zip(cases, shown, shown_maps, results, strict=True):
            problems += result.reference_faults
            tolerated += submission.with_shown_path(result.prediction_faults, path)
            tolerated += maps.with_shown_path(result.map_faults, map_path) if maps else []
            fold = folds.get(case.name) if folds else None
            row: dict[str, object] = {
                "method": method,
                "case": case.name,
                "patient": case.patient,
                "fold": fold,
                **result.measures,
            }
            rows.append(row | ({DATA: SYNTHETIC_DATA} if synthetic else {}))
        sound = {
            case.name: case.reference
            for case, result in zip(cases, results, strict=True)
            if case.reference and not result.reference_faults
        }
        doubled = [(sound[case], path) for case, paths in matches.doubled.items() if case in sound for path in paths]
        checks = [(reference, submission.files[path], False) for reference, path in doubled]
        found = dict(run_tasks(functools.partial(check_file, rule=grid), checks, jobs=jobs))
        for number, (_, path) in enumerate(doubled):
            tolerated += submission.with_shown_path(found[number].problems, path)
        turned = [case.name for case, result in zip(cases, results, strict=True) if result.was_turned]
        notes += turning_note(submission.place, turned)
    absent = matches.absent(cases)
    if complete and absent:
        problems.append(absence_fault(submission.place, absent))
    if any(result.reference_faults for result in results):  # nothing is known of the predictions
        raise MachineError(problems + tolerated)
    if problems or (tolerated and not lenient):
        raise InputError(problems + tolerated)
    missing = [str(row["case"]) for row in rows if row["status"] == "missing"]
    if len(missing) == len(rows):
        raise InputError([*tolerated, f"{submission.place}: holds no mask that can be scored: correct the masks"])
    for problem in tolerated:
        if on_problem:
            on_problem(problem)
    for note in notes:
        if on_note:
            on_note(note)
    if on_missing:
        on_missing([name for name in missing if name not in absent], absent)
    return cases_frame(rows)


def _opened(stack: contextlib.ExitStack, predictions: Path | Submission) -> Submission:
    """The masks, until the stack is closed where they had to be unpacked."""
    return predictions if isinstance(predictions, Submission) else stack.enter_context(open_submission(predictions))


def journal_of(table: Path) -> Path:
    """Where the finished cases of an unfinished cases.csv are kept: ``cases.csv.partial`` beside it."""
    return table.with_name(f"{table.name}.partial")


def _results(
    pairs: Sequence[CaseFiles],
    grid: GridRule,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
    journal_path: Path | None,
) -> list[CaseResult]:
    """The result of each pair of files, in their order; those in the journal are not measured again."""
    results: dict[int, CaseResult] = {}
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(journal_path)) if journal_path else None
        if journal and journal.holds_any:
            for number, digest in run_tasks(functools.partial(content_digest, rule=grid), pairs, jobs=jobs):
                measures = journal.find(digest) if digest else None
                if measures is not None:
                    kept = {name: value for name, value in measures.items() if name != _TURNED}
                    results[number] = CaseResult(kept, [], [], digest, _TURNED in measures)
        known = len(results)
        if progress and known:
            progress(known, len(pairs))
        unknown = [number for number in range(len(pairs)) if number not in results]
        report = (lambda done, _: progress(known + done, len(pairs))) if progress else None
        score = functools.partial(score_files, rule=grid)
        for place, result in run_tasks(score, [pairs[number] for number in unknown], jobs=jobs, progress=report):
            results[unknown[place]] = result
            if journal and result.digest and result.is_sound:
                journal.add(result.digest, result.measures | ({_TURNED: True} if result.was_turned else {}))
    return [results[number] for number in range(len(pairs))]
