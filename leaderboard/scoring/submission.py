"""Predictions as files, in a folder or a zip: which file is whose, and would each be accepted?

A prediction is named ``SMIR.<free name>.<id of the case's CT_MTT>.nii``, ``case_<k>.nii`` or like the reference, and
ends in ``.nii``, ``.nii.gz``, ``.mha`` or ``.nrrd``. In a folder the masks lie side by side; in a zip they may lie in
folders. Problems are collected, never raised one by one.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.cohort.case import Case
from leaderboard.cohort.names import is_mask_file, mask_stem, natural_key, submitted_file, submitted_id
from leaderboard.errors import InputError, listed
from leaderboard.io.archive import list_members, unpack
from leaderboard.io.images import read_geometry
from leaderboard.io.masks import read_mask
from leaderboard.parallel import run_tasks

_OTHER_IMAGE = re.compile(
    r".+\.(?:img|hdr|mhd|nhdr|mgz|mgh|npy|npz|dcm|h5|nii\.(?:bz2|zst|xz))", re.IGNORECASE | re.DOTALL
)


@dataclass
class Matches:
    """Which files are whose.

    Attributes:
        files: the prediction of each case that has exactly one, by case name.
        doubled: the predictions of each case that has several.
        problems: a line for each file that is nobody's, or one too many.
    """

    files: dict[str, Path] = field(default_factory=dict)
    doubled: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def absent(self, cases: Sequence[Case]) -> list[str]:
        """Names of the cases for which there is no file at all."""
        return [case.name for case in cases if case.name not in self.files and case.name not in self.doubled]


@dataclass
class Submission:
    """The masks of a folder or an unpacked zip.

    Attributes:
        files: where each mask lies on disk, by the path that its owner knows (``masks.zip/case_1.nii``).
        problems: a line for each entry that is none.
    """

    files: dict[Path, Path]
    problems: list[str]

    def with_shown_path(self, problems: Sequence[str], shown: Path | None) -> list[str]:
        """Problems with a file on disk, told with the path that its owner knows (None: there is no file)."""
        return [] if shown is None else [problem.replace(str(self.files[shown]), str(shown), 1) for problem in problems]


@contextmanager
def open_submission(predictions: Path) -> Iterator[Submission]:
    """The masks of a folder as they lie, those of a zip in a temporary folder that goes away afterwards.

    Raises:
        InputError: there is no such folder or zip, it holds no mask, or the zip is damaged or goes beyond a limit.
    """
    if predictions.is_dir():
        files, problems = _folder(predictions)
        yield Submission({path: path for path in files}, problems)
        return
    _refuse_unless_zip(predictions)
    with tempfile.TemporaryDirectory(prefix="leaderboard-", ignore_cleanup_errors=True) as folder:
        unpacked, problems = unpack(predictions, Path(folder), _is_ours)
        masks = {shown: unpacked[shown] for shown in sorted(unpacked, key=_order) if is_mask_file(shown.name)}
        problems += [_unreadable(shown) for shown in unpacked if shown not in masks]
        if not masks:
            raise InputError(problems or [_nothing(predictions)])
        yield Submission(masks, problems)


def mask_files(predictions: Path) -> list[Path]:
    """Paths of the masks of a folder or a zip, in natural order; hidden files are ignored, nothing is unpacked.

    Raises:
        InputError: there is no such folder or zip, or it holds none.
    """
    if predictions.is_dir():
        return _folder(predictions)[0]
    _refuse_unless_zip(predictions)
    listing = list_members(predictions, lambda name: _is_ours(name) and is_mask_file(name))
    if not listing.members:
        raise InputError(listing.problems or [_nothing(predictions)])
    return sorted((predictions / member.filename for member in listing.members), key=_order)


def _order(path: Path) -> tuple[tuple[tuple[int, str], ...], str]:
    """Sort key: natural, and the same every time where that leaves a tie."""
    return natural_key(str(path)), str(path)


def _folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Masks of a folder in natural order, and what is wrong with other entries."""
    masks, problems, unreadable = [], [], []
    try:
        with os.scandir(folder) as found:
            ours = [entry for entry in found if _is_ours(entry.name)]
        entries = sorted(ours, key=lambda entry: (natural_key(entry.name), entry.name))
        for entry in entries:
            path = folder / entry.name
            if path.is_dir():
                continue
            if not path.is_file():
                problems.append(f"{path}: is no regular file, or a link to none: put the mask there")
            elif is_mask_file(entry.name):
                masks.append(path)
            else:
                unreadable.append(_unreadable(path))
        problems += unreadable
        if not masks:
            raise InputError(problems or [_nothing(folder, _folder_with_masks(folder))])
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error}): change its permissions") from None
    return masks, problems


def _folder_with_masks(folder: Path) -> Path | None:
    """The first folder within that holds what `folder` should."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return next((path for path in inner if os.access(path, os.R_OK) and _holds_masks(path)), None)


def _holds_masks(folder: Path) -> bool:
    return any(is_mask_file(entry.name) for entry in folder.iterdir())


def _is_ours(name: str) -> bool:
    """Whether a file of that name claims to be an image; hidden files are macOS resource forks and the like."""
    return not name.startswith(".") and bool(is_mask_file(name) or _OTHER_IMAGE.fullmatch(name))


def _unreadable(path: Path) -> str:
    if path.suffix.lower() in (".mhd", ".nhdr"):
        return f"{path}: keeps its voxels in another file: write one .mha or .nrrd with the voxels in it"
    return f"{path}: is of a format that is not read: write .nii, .nii.gz, .mha or .nrrd"


def _nothing(predictions: Path, hint: Path | None = None) -> str:
    remedy = f"give {hint}, which does" if hint else "give the folder or the zip of the predictions"
    return f"{predictions}: holds no .nii, .nii.gz, .mha or .nrrd file: {remedy}"


def _refuse_unless_zip(path: Path) -> None:
    if not path.is_file():
        fault = "is no regular file" if path.exists() else "does not exist"
        raise InputError(f"{path}: {fault}: give the folder or the zip of the predictions")
    if path.suffix.lower() != ".zip":
        raise InputError(f"{path}: is not a folder, nor does its name end in .zip: give the folder or the zip")


def match_predictions(files: Sequence[Path], cases: Sequence[Case]) -> Matches:
    """Find the case of each file by its name.

    Args:
        files: the predictions.
        cases: the cases that are scored.
    """
    names, ids, foreign = _owners(cases)
    found: dict[str, list[Path]] = {}
    matches = Matches()
    for path in files:
        stem = mask_stem(path.name)
        image_id = submitted_id(stem)
        case = names.get(stem) or (ids.get(image_id) if image_id else None)
        if case:
            found.setdefault(case, []).append(path)
        elif image_id in foreign:
            owner, kind, right = foreign[image_id]
            matches.problems.append(
                f"{path}: carries the id of the {kind} of {owner}: name it {submitted_file('<name>', right)}"
            )
        else:
            matches.problems.append(
                f"{path}: belongs to no case of the cohort: remove it, or name it case_<k>.nii.gz or "
                "SMIR.<name>.<id of the case's MTT>.nii"
            )
    for case, paths in found.items():
        if len(paths) > 1:
            # whole paths where names alone would not tell them apart
            distinct = len({path.name for path in paths}) == len(paths)
            others = ", ".join(other.name if distinct else str(other) for other in paths[1:])
            matches.problems.append(f"{paths[0]}: {case} is predicted again by {others}: keep one of them")
            matches.doubled[case] = paths
        else:
            matches.files[case] = paths[0]
    return matches


def _owners(cases: Sequence[Case]) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[str, str, int]]]:
    """Accepted names -> case; accepted ids -> case; ids of other images -> (case, kind, the id that is right)."""
    names: dict[str, str] = {}
    ids: dict[str, str] = {}
    foreign: dict[str, tuple[str, str, int]] = {}
    for case in cases:
        names[mask_stem(case.name)] = case.name
        if case.reference:
            names[mask_stem(case.reference.name)] = case.name
        names |= {mask_stem(name): case.name for name in case.other_names}
        right = case.ids.get(case.grid)
        for kind, number in case.ids.items():
            if kind == case.grid:
                ids[str(number)] = case.name
            elif right is not None:
                foreign[str(number)] = (case.name, kind, right)
    return names, ids, foreign


def check_predictions(
    cases: Sequence[Case],
    predictions: Path,
    *,
    jobs: int | None = None,
    complete: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Would these predictions be scored as they are? Needs no reference.

    Args:
        cases: the cases to predict; the grid of each is that of its reference or else of one of its images.
        predictions: folder or zip of predictions.
        jobs: processes; None takes all cores as soon as that pays.
        complete: a case without a prediction is a problem as well.
        progress: called with (done, total).

    Returns:
        The names of the cases that have no prediction (they would count as missing).

    Raises:
        InputError: with every problem of every file.
    """
    with open_submission(predictions) as submission:
        matches = match_predictions(list(submission.files), cases)
        problems = submission.problems + matches.problems
        by_name: Mapping[str, Case] = {case.name: case for case in cases}
        shown = [(case, path) for case, path in matches.files.items()]
        shown += [(case, path) for case, paths in matches.doubled.items() for path in paths]
        tasks = [(by_name[case].grid_file, submission.files[path]) for case, path in shown]
        found = dict(run_tasks(check_file, tasks, jobs=jobs, progress=progress))
        for number, (_, path) in enumerate(shown):
            problems += submission.with_shown_path(found[number], path)
    problems = list(dict.fromkeys(problems))  # a case's own damaged image is met by each of its predictions
    absent = matches.absent(cases)
    if complete and absent:
        problems.append(absence_fault(predictions, absent))
    if problems:
        raise InputError(problems)
    return absent


def absence_fault(predictions: Path, absent: Sequence[str]) -> str:
    """The problem that some cases have no prediction."""
    verb, noun = ("has", "it") if len(absent) == 1 else ("have", "them")
    return f"{predictions}: {len(absent)} of the cases {verb} no prediction ({listed(absent, 10)}): add {noun}"


def check_file(task: tuple[Path, Path]) -> list[str]:
    """What is wrong with a prediction, the second file, on the grid of the first."""
    grid, prediction = task
    try:
        shape, spacing_mm, _ = read_geometry(grid)
        read_mask(prediction, shape[:3], spacing_mm)
    except InputError as error:
        return error.problems
    return []
