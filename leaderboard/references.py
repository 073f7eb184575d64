"""The cases to score: of a cohort tree, or of a flat folder of reference masks; and the fold of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

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
from leaderboard.patients import read_patients
from leaderboard.submission import mask_files, match_predictions, stem


def find_references(root: Path, predictions: Path, partition: Partition | None = None) -> list[Case]:
    """The cases to score: those of `find_cases`, which must hold a reference.

    Args:
        root: as for `find_cases`.
        predictions: tells which partition of a tree is meant where `partition` does not.
        partition: which partition.

    Raises:
        InputError: there is nothing to score against.
    """
    cases = find_cases(root, predictions, partition)
    if not any(case.reference for case in cases):
        raise InputError(
            f"{root}: its {cases[0].partition} cases hold no reference ({REFERENCE_KIND}): "
            "give the folder of their reference masks"
        )
    return cases


def find_cases(root: Path, predictions: Path, partition: Partition | None = None) -> list[Case]:
    """The cases of a tree, or of a flat folder of reference masks.

    Args:
        root: a tree with TRAINING or TESTING, or a folder of ``case_<k>.nii`` or other masks. Patients and ids of a
            flat folder's cases come from the tree that it lies in, if any; its own ``patients.csv`` comes first.
        predictions: tells which partition of a tree is meant where `partition` does not: the one that most of them fit
            by id or name, else training.
        partition: which partition.

    Raises:
        InputError: there is neither, or the tree is not whole.
    """
    if root.is_dir() and not _has_cases(root):
        cases = _flat_references(root, partition)
        if cases:
            return cases
    found = find_partitions(root)
    if partition is None and len(found) > 1:
        files = mask_files(predictions)
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
    """A case for each mask of a folder, named by the file."""
    try:
        files = mask_files(folder)
    except InputError:
        return []
    partition = partition or ("testing" if "test" in folder.name.lower() else "training")
    try:
        tree = {case.name: case for case in scan_cohort(folder.parent, partition).cases}
    except InputError:
        tree = {}
    patients = read_patients([folder])
    cases: dict[str, Case] = {}
    problems = []
    for path in files:
        name = stem(path.name)
        if name in cases:
            problems.append(f"{path}: {name} is there twice: keep one of them")
            continue
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
    if problems:
        raise InputError(problems)
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
