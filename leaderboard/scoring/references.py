"""The cases to score, from a cohort tree or a flat folder of reference masks, with the fold and patient of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from leaderboard.cohort.case import PARTITIONS, Case, Partition
from leaderboard.cohort.formats import find_format, read_cohort, scan_cohort
from leaderboard.cohort.names import case_finder, mask_stem, natural_key, prediction_file
from leaderboard.cohort.patients import read_patient_file, read_patients
from leaderboard.errors import InputError, listed
from leaderboard.io import GridRule
from leaderboard.io.grids import read_grid
from leaderboard.io.masks import fits
from leaderboard.io.tables import read_table, shortened, shown
from leaderboard.scoring.submission import Submission, mask_files, match_predictions, open_submission

#: Where organisers keep the references of a tree's test cases, which the tree given to participants does not hold.
HIDDEN = "TESTING_REFERENCES"
_MOST_FOLDS = 10**6


def partitions_in(root: Path, format_name: str | None = None) -> list[Partition]:
    """The partitions of a cohort's tree; none of a folder of masks, or of nothing.

    Args:
        root: the folder.
        format_name: one of `cohort.formats.FORMATS`; None recognises it.
    """
    try:
        return list(find_format(root, format_name)[1])
    except InputError:
        return []


def find_references(
    root: Path,
    predictions: Path,
    partition: Partition | None = None,
    format_name: str | None = None,
    grid: GridRule = "auto",
) -> list[Case]:
    """The cases to score: those of `find_cases`, which must hold a reference.

    If no test case has one, those in the folder `HIDDEN` of the tree are theirs; a case that it lacks has none.

    Args:
        root: as for `find_cases`.
        predictions: they show which partition of a tree is meant if `partition` does not say.
        partition: which partition.
        format_name: as for `find_cases`.
        grid: as for `find_cases`.

    Raises:
        InputError: there is nothing to score against, or a file in `HIDDEN` belongs to no case.
    """
    cases = find_cases(root, predictions, partition, format_name, grid)
    if any(case.reference for case in cases):
        return cases
    partition, top = cases[0].partition, root
    if partition == "testing":
        top = _top_of_tree(root, partition, format_name)
        if hidden := _hidden_references(top / HIDDEN, cases):
            return hidden
    example = prediction_file(cases[0].name)
    where = f", or put them into {top / HIDDEN}, named like their cases ({example})" if partition == "testing" else ""
    raise InputError(
        f"{root}: its {partition} cases hold no reference: give the folder of their reference masks as the cohort"
        f"{where}"
    )


def find_cases(
    root: Path,
    predictions: Path,
    partition: Partition | None = None,
    format_name: str | None = None,
    grid: GridRule = "auto",
) -> list[Case]:
    """The cases of a cohort, or of a flat folder of reference masks.

    Args:
        root: a cohort, or a folder of ``case_<k>.nii`` or other masks. Patients and ids of the cases in a flat folder
            come from the tree around it, if there is one; its own ``patients.csv`` takes precedence.
        predictions: they show which partition of a tree is meant if `partition` does not say: the one whose cases they
            name, or if they name cases of both, the one with their grids.
        partition: which partition.
        format_name: the cohort's format, one of `FORMATS`; None recognises it.
        grid: how the grids of predictions and cases are compared.

    Raises:
        InputError: it is neither, the tree is incomplete, or the predictions fit both partitions.
    """
    if format_name is None and root.is_dir() and not partitions_in(root):
        cases = _flat_references(root, partition)
        if cases:
            return cases
    _, found = find_format(root, format_name)
    if partition is None and len(found) > 1:
        partition = _fitting_partition(root, predictions, format_name, grid)
    return list(read_cohort(root, partition, format_name).cases)


def _top_of_tree(root: Path, partition: Partition, format_name: str | None) -> Path:
    """The folder of the tree: `root`, or the one above it where `root` is itself the folder of the partition."""
    folder_of_cases = find_format(root, format_name)[1][partition]
    return root.resolve().parent if folder_of_cases == root else root


def _hidden_references(folder: Path, cases: Sequence[Case]) -> list[Case]:
    """The cases with the references of a folder, named as predictions may be; empty if it holds none.

    Raises:
        InputError: a file belongs to no case, or a case has two.
    """
    try:
        files = mask_files(folder, nested=False)
    except InputError:
        return []
    references: dict[str, list[Path]] = {}
    problems = []
    for path in files:
        found = match_predictions([path], cases)
        problems += found.problems
        for name in found.files:
            references.setdefault(name, []).append(path)
    for name, paths in references.items():
        if len(paths) > 1:
            others = listed([path.name for path in paths[1:]])
            problems.append(f"{paths[0]}: {name} has another reference there ({others}): keep one of them")
    if problems:
        raise InputError(problems)
    patients, _ = read_patients([folder], [case.name for case in cases])
    return [
        replace(
            case,
            patient=patients.get(case.name) or case.patient,
            reference=references[case.name][0] if case.name in references else None,
        )
        for case in cases
    ]


def partition_of(root: Path, cases: Sequence[Case]) -> Partition | None:
    """The partition of the cases that `find_cases` found; None if a folder of masks is not part of a tree."""
    return cases[0].partition if partitions_in(root) or any(case.images for case in cases) else None


def _fitting_partition(root: Path, predictions: Path, format_name: str | None, grid: GridRule) -> Partition:
    """The partition of a tree with both that the predictions fit: by name, then by grid.

    Raises:
        InputError: they fit both.
    """
    files = mask_files(predictions)
    cases = {name: scan_cohort(root, name, format_name).cases for name in PARTITIONS}
    named = {name: match_predictions(files, cases[name]).files for name in PARTITIONS}
    fitting = [name for name in PARTITIONS if named[name]]
    if len(fitting) < 2:
        return fitting[0] if fitting else PARTITIONS[0]
    with open_submission(predictions) as submission:
        on_grid = {name: _on_grid(named[name], cases[name], submission, grid) for name in fitting}
    for count in (on_grid, {name: len(named[name]) for name in fitting}):
        best = [name for name in fitting if count[name] == max(count.values())]
        if len(best) == 1:
            return best[0]
    raise InputError(
        f"{predictions}: the names and grids of the masks fit {' and '.join(fitting)}: say --partition "
        f"{' or --partition '.join(fitting)}"
    )


def _on_grid(named: Mapping[str, Path], cases: Sequence[Case], submission: Submission, rule: GridRule) -> int:
    """How many predictions lie on the grid of the case whose name they carry."""
    count = 0
    for case in cases:
        shown = named.get(case.name)
        if shown not in submission.files:
            continue
        try:
            count += fits(read_grid(submission.files[shown]), read_grid(case.grid_file), rule)
        except (InputError, KeyError):  # the cohort was only scanned: the image may be missing
            continue
    return count


def _flat_references(folder: Path, partition: Partition | None) -> list[Case]:
    """A case for each mask of a folder, named by the file."""
    try:
        files = mask_files(folder, nested=False)
    except InputError:
        return []
    partition = partition or ("testing" if "test" in folder.name.lower() else "training")
    try:
        tree = {case.name: case for case in scan_cohort(folder.parent, partition).cases}
    except InputError:
        tree = {}
    patients, _ = read_patients([folder], [mask_stem(path.name) for path in files])
    cases: dict[str, Case] = {}
    problems = []
    for path in files:
        name = mask_stem(path.name)
        if name in cases:
            problems.append(f"{path}: {name} is there twice: keep one of them")
            continue
        known = tree.get(name) or Case(name, len(cases) + 1, partition, None, {}, None)
        cases[name] = replace(known, patient=patients.get(name) or known.patient, reference=path)
    if problems:
        raise InputError(problems)
    return sorted(cases.values(), key=lambda case: natural_key(case.name))


def read_case_folds(path: Path, names: Iterable[str]) -> dict[str, int]:
    """The fold of each case from a CSV with the columns ``case`` and ``fold``; lines that begin with # are comments.

    Args:
        path: the file.
        names: of the cases; what else it names is kept as it is written.

    Raises:
        InputError: the file is missing or not such a table, a fold is not a whole number, or a case is in two.
    """
    table = read_table(path, "case", "fold", comments=True)
    find = case_finder(names)
    folds: dict[str, int] = {}
    problems = []
    for row, (case, fold) in enumerate(table.fields("case", "fold")):
        if not case:
            problems.append(f"{table.where(row)}: case is empty: fill it in")
        elif not (fold.isascii() and fold.isdecimal() and len(fold) < len(str(_MOST_FOLDS))):
            problems.append(
                f"{table.where(row)}: fold is {shown(fold)}: it must be a whole number, 0 to {_MOST_FOLDS - 1}"
            )
        elif folds.setdefault(name := find(case) or case, int(fold)) != int(fold):
            problems.append(
                f"{table.where(row)}: puts {shown(name)} into fold {fold}, an earlier line into {folds[name]}: keep one"
            )
    if problems:
        raise InputError(shortened(path, problems))
    return folds


def check_folds(folds: Mapping[str, int], cases: Sequence[Case], path: Path) -> list[str]:
    """Refuse folds that leave a case out; returns a line about further cases in them.

    Raises:
        InputError: a case has no fold.
    """
    lacking = [case.name for case in cases if case.name not in folds]
    if lacking:
        raise InputError(f"{path}: gives no fold to {listed(lacking, 10)}: add {'it' if len(lacking) == 1 else 'them'}")
    return _beyond(folds, cases, path)


def with_patients(cases: Sequence[Case], path: Path) -> tuple[list[Case], list[str]]:
    """The cases with the patients of a CSV (columns ``case`` and ``patient``), and a line about further cases in it.

    Raises:
        InputError: the file is missing or not such a table, or a case is not in it: two namings of the patients would
            mix, and their number be wrong.
    """
    patients, beyond = read_patient_file(path, [case.name for case in cases])
    lacking = [case.name for case in cases if case.name not in patients]
    if lacking:
        raise InputError(
            f"{path}: gives no patient to {listed(lacking, 10)}: add {'it' if len(lacking) == 1 else 'them'}"
        )
    return [replace(case, patient=patients[case.name]) for case in cases], _beyond([*patients, *beyond], cases, path)


def mixed_patients(root: Path, cases: Sequence[Case]) -> list[str]:
    """A line about cases that a cohort's own ``patients.csv`` leaves out and whose patient is known otherwise.

    Args:
        root: what `find_cases` was given.
        cases: what it found.
    """
    top = root.resolve().parent
    folders = {folder for case in cases for folder in case.grid_file.resolve().parents if folder.is_relative_to(top)}
    notes = []
    for path in sorted(folder / "patients.csv" for folder in folders):
        given = read_patient_file(path, [case.name for case in cases])[0] if path.is_file() else {}
        if not any(given.get(case.name) == case.patient for case in cases if case.patient):
            continue  # it speaks for others
        kept = {case.name: case.patient for case in cases if case.name not in given and case.patient}
        if kept:
            verb, noun, pronoun = ("is", "patient", "it") if len(kept) == 1 else ("are", "patients", "them")
            notes.append(
                f"{path}: {listed([*kept])} {verb} not in it and {'keeps' if len(kept) == 1 else 'keep'} {noun} "
                f"{listed([*kept.values()])}: add {pronoun} if that mixes two namings"
            )
    return notes


def scored_against_themselves(cases: Sequence[Case], predictions: Path) -> list[str]:
    """A line about predictions in a folder that are the references themselves."""
    masks = mask_files(predictions) if predictions.is_dir() else []
    identities = {(found.st_dev, found.st_ino) for found in (path.stat() for path in masks)}
    references = {case.name: case.reference.stat() for case in cases if case.reference}
    own = [name for name, found in references.items() if (found.st_dev, found.st_ino) in identities]
    return [f"{predictions}: holds the references of {listed(own)}: they are compared with themselves"] if own else []


def _beyond(given: Iterable[str], cases: Sequence[Case], path: Path) -> list[str]:
    names = {case.name for case in cases}
    others = [name for name in sorted(given, key=natural_key) if name not in names]
    if not others:
        return []
    verb = "is" if len(others) == 1 else "are"
    return [f"{path}: {listed(others)} {verb} not among the {len(names)} cases that are scored, and {verb} left aside"]
