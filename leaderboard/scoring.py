"""References and a folder of predictions to the rows of cases.csv."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.cases import cases_frame, read_cases, write_cases
from leaderboard.cohort import (
    PARTITIONS,
    REFERENCE_KIND,
    Case,
    Partition,
    find_partitions,
    natural_key,
    read_cohort,
    scan_cohort,
)
from leaderboard.errors import InputError
from leaderboard.metrics import measure
from leaderboard.patients import read_patients
from leaderboard.submission import match_predictions, nifti_files, read_mask, stem

__all__ = ["find_cases", "find_references", "read_cases", "read_folds", "score_case", "score_cases", "write_cases"]

#: Starting a process takes as long as scoring this many cases.
_CASES_PER_PROCESS = 16


def score_case(
    prediction: np.ndarray | None, reference: np.ndarray, spacing_mm: Sequence[float]
) -> dict[str, float | str]:
    """Status and metrics of one case.

    Args:
        prediction: the mask, shape (X, Y, Z), nonzero is lesion; None where there is none.
        reference: the ground truth, same shape.
        spacing_mm: size of a voxel along each axis.

    Returns:
        ``status`` and what `metrics.measure` gives. A missing prediction has the measures of its reference alone.
    """
    if prediction is None:
        empty = np.zeros_like(reference, dtype=bool)
        measures = measure(empty, reference, spacing_mm)
        kept = ("reference_ml", "reference_lesions", "diagonal_mm")
        return {"status": "missing", **{name: measures[name] for name in kept}}
    predicted, present = bool(prediction.any()), bool(reference.any())
    status = {
        (True, True): "ok",
        (False, True): "empty_prediction",
        (True, False): "empty_reference",
        (False, False): "both_empty",
    }[predicted, present]
    return {"status": status, **measure(prediction, reference, spacing_mm)}


def score_cases(
    cases: Sequence[Case],
    predictions: Path,
    method: str,
    *,
    folds: Mapping[str, int] | None = None,
    jobs: int | None = None,
    lenient: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Score a folder of predictions against the references of `cases`.

    Args:
        cases: the cases, each with a reference.
        predictions: folder of masks, named as `submission` says.
        method: the method's name.
        folds: the fold of each case by name; a case without one has an empty fold.
        jobs: processes; None takes a core for every 16 cases, as far as there are cores.
        lenient: a prediction that cannot be scored counts as missing instead of stopping everything.
        progress: called with (done, total).
        on_problem: called with each line that `lenient` lets pass.

    Returns:
        A row a case in the layout of cases.csv; a case without a prediction has the status ``missing``.

    Raises:
        InputError: every problem of every file, in the order of the cases.
    """
    if not method.strip() or not method.isprintable():
        raise InputError("the method's name is empty or has control characters: give it a name")
    problems = [f"{case.name}: has no reference: score cases that have one" for case in cases if not case.reference]
    if problems or not cases:
        raise InputError(problems or ["there are no cases to score: give a cohort with references"])
    matches = match_predictions(nifti_files(predictions), cases)
    tolerated = list(matches.problems)
    tasks = [(case.reference, matches.files.get(case.name)) for case in cases if case.reference]
    rows: list[dict[str, object]] = []
    results = dict(_run(tasks, _processes(jobs, len(tasks)), progress))
    for number, case in enumerate(cases):
        measures, reference_faults, prediction_faults = results[number]
        problems += reference_faults
        tolerated += prediction_faults
        fold = folds.get(case.name) if folds else None
        rows.append({"method": method, "case": case.name, "patient": case.patient, "fold": fold, **measures})
    if problems or (tolerated and not lenient):
        raise InputError(problems + tolerated)
    for problem in tolerated:
        if on_problem:
            on_problem(problem)
    return cases_frame(rows)


_Task = tuple[Path, Path | None]
#: The measures, what is wrong with the reference, what is wrong with the prediction.
_Result = tuple[dict[str, float | str], list[str], list[str]]


def _score_files(task: _Task) -> _Result:
    """One case from its files. A prediction that cannot be scored comes out as missing, with its problems."""
    reference_path, prediction_path = task
    try:
        reference, spacing_mm = read_mask(reference_path)
    except InputError as error:
        return {}, error.problems, []
    prediction, problems = None, []
    if prediction_path is not None:
        try:
            prediction, _ = read_mask(prediction_path, reference.shape, spacing_mm)
        except InputError as error:
            problems = error.problems
    return score_case(prediction, reference, spacing_mm), [], problems


def _processes(jobs: int | None, count: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(cores, count // _CASES_PER_PROCESS) if jobs is None else min(jobs, count)
    return max(wanted, 1)


def _run(
    tasks: Sequence[_Task], processes: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, _Result]]:
    """(number, result) of each task, in whatever order they end."""
    report = progress or (lambda done, total: None)
    if processes == 1:
        for number, task in enumerate(tasks):
            yield number, _score_files(task)
            report(number + 1, len(tasks))
        return
    # spawn: the caller may hold threads and a GPU, which a forked process must not inherit
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_ignore_interrupt)
    try:
        numbers: dict[Future[_Result], int] = {pool.submit(_score_files, task): n for n, task in enumerate(tasks)}
        pending = set(numbers)
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                yield numbers[future], future.result()
            report(len(tasks) - len(pending), len(tasks))
    except BrokenProcessPool:
        raise InputError("a scoring process died, perhaps of too little memory: use --jobs 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C is for the parent, which then ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def find_references(root: Path, predictions: Path, partition: Partition | None = None) -> list[Case]:
    """The cases to score: of a cohort tree, or of a flat folder of reference masks.

    Args:
        root: a tree with TRAINING or TESTING, or a folder of ``case_<k>.nii`` or other masks. Patients and ids of a
            flat folder's cases come from the tree that it lies in, if any; its own ``patients.csv`` comes first.
        predictions: tells which partition of a tree is meant where `partition` does not.
        partition: which partition.

    Raises:
        InputError: there is nothing to score against.
    """
    if root.is_dir() and not _has_cases(root):
        cases = _flat_references(root, partition)
        if cases:
            return cases
    cases = find_cases(root, predictions, partition)
    if not any(case.reference for case in cases):
        raise InputError(
            f"{root}: its {cases[0].partition} cases hold no reference ({REFERENCE_KIND}): "
            "give the folder of their reference masks"
        )
    return cases


def find_cases(root: Path, predictions: Path, partition: Partition | None = None) -> list[Case]:
    """The cases of a tree; of two partitions the one that most predictions fit by id or name, else training.

    Raises:
        InputError: there is no such tree, or it is not whole.
    """
    found = find_partitions(root)
    if partition is None and len(found) > 1:
        files = nifti_files(predictions)
        fitting = {name: _fitting(files, root, name) for name in found}
        best = max(fitting.values())
        partition = next(name for name in PARTITIONS if fitting.get(name) == best)
    return list(read_cohort(root, partition).cases)


def _fitting(files: Sequence[Path], root: Path, partition: Partition) -> int:
    return len(match_predictions(files, scan_cohort(root, partition).cases).files)


def _has_cases(root: Path) -> bool:
    try:
        return bool(find_partitions(root))
    except InputError:
        return False


def _flat_references(folder: Path, partition: Partition | None) -> list[Case]:
    """A case for each NIfTI file of a folder, named by the file."""
    try:
        files = nifti_files(folder)
    except InputError:
        return []
    partition = partition or ("testing" if "test" in folder.name.lower() else "training")
    try:
        tree = {case.name: case for case in scan_cohort(folder.parent, partition).cases}
    except InputError:
        tree = {}
    patients = read_patients([folder])
    cases: dict[str, Case] = {}
    for path in files:
        name = stem(path.name)
        if name in cases:
            raise InputError(f"{path}: {name} is there twice: keep one of them")
        known = tree.get(name)
        cases[name] = Case(
            name=name,
            number=known.number if known else len(cases) + 1,
            partition=partition,
            patient=patients.get(name) or (known.patient if known else None),
            images=known.images if known else {},
            ids=known.ids if known else {},
            reference=path,
        )
    return sorted(cases.values(), key=lambda case: natural_key(case.name))


def read_folds(path: Path) -> dict[str, int]:
    """The fold of each case from a CSV with the columns ``case`` and ``fold``; lines that begin with # are comments.

    Raises:
        InputError: the file is missing or no such table.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, comment="#", encoding="utf-8-sig")
        return {stem(_case_name(case)): int(fold) for case, fold in zip(table["case"], table["fold"], strict=True)}
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist: check the path") from None
    except (OSError, KeyError, ValueError):
        raise InputError(f"{path}: is no table with the columns case and fold: give a folds file") from None


def _case_name(text: str) -> str:
    return f"case_{text}" if text.isdigit() else text
