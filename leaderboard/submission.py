"""Predictions as files: which file is whose, and is each one a mask of its case's grid?

A prediction is named ``SMIR.<free name>.<id of the case's CT_MTT>.nii``, ``case_<k>.nii`` or like the reference, with
or without ``.gz``. Problems are collected, never raised one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from leaderboard.cohort import SUBMISSION_KIND, Case
from leaderboard.errors import InputError
from leaderboard.images import read_geometry, read_volume

#: Voxel sizes that differ by more than this are different grids.
SPACING_TOLERANCE_MM = 1e-3
#: A mask stored with a scale factor has ones that read 0.9999999.
LABEL_TOLERANCE = 1e-5

_NIFTI = re.compile(r"(?P<stem>.+?)\.nii(?:\.gz)?", re.IGNORECASE)
_CASE = re.compile(r"case_0*(\d+)", re.IGNORECASE)
_SMIR = re.compile(r"(?:SMIR|VSD)\..*\.(\d+)", re.IGNORECASE)


@dataclass
class Matches:
    """Which files are whose.

    Attributes:
        files: the prediction of each case that has exactly one, by case name.
        problems: a line for each file that is nobody's, or one too many.
    """

    files: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files of a folder, by name; hidden files are ignored.

    Raises:
        InputError: there is no such folder, or it holds none.
    """
    if not folder.is_dir():
        fault = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder}: {fault}: give the folder of the predictions")
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}): change its permissions") from None
    files = [path for path in names if not path.name.startswith(".") and _NIFTI.fullmatch(path.name) and path.is_file()]
    if not files:
        raise InputError(f"{folder}: holds no .nii or .nii.gz file: give the folder of the predictions")
    return files


def stem(name: str) -> str:
    """A NIfTI file's name without its ending; of ``case_007`` the natural form ``case_7``."""
    match = _NIFTI.fullmatch(name)
    bare = match["stem"] if match else name
    case = _CASE.fullmatch(bare)
    return f"case_{case[1]}" if case else bare


def match_predictions(files: Sequence[Path], cases: Sequence[Case]) -> Matches:
    """Find the case of each file by its name.

    Args:
        files: the predictions.
        cases: the cases that are scored.
    """
    names, ids, foreign = _names(cases)
    found: dict[str, list[Path]] = {}
    matches = Matches()
    for path in files:
        bare = stem(path.name)
        smir = _SMIR.fullmatch(bare)
        case = names.get(bare) or (ids.get(smir[1]) if smir else None)
        if case:
            found.setdefault(case, []).append(path)
        elif smir and smir[1] in foreign:
            owner, kind, right = foreign[smir[1]]
            matches.problems.append(f"{path}: carries the id of the {kind} of {owner}: name it SMIR.<name>.{right}.nii")
        else:
            matches.problems.append(
                f"{path}: belongs to no case of the cohort: remove it, or name it case_<k>.nii.gz or "
                "SMIR.<name>.<id of the case's MTT>.nii"
            )
    for case, paths in found.items():
        if len(paths) > 1:
            others = ", ".join(other.name for other in paths[1:])
            matches.problems.append(f"{paths[0]}: {case} is predicted again by {others}: keep one of them")
        else:
            matches.files[case] = paths[0]
    return matches


def _names(cases: Sequence[Case]) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[str, str, int]]]:
    """Accepted names -> case; accepted ids -> case; ids of other images -> (case, kind, the id that is right)."""
    names: dict[str, str] = {}
    ids: dict[str, str] = {}
    foreign: dict[str, tuple[str, str, int]] = {}
    for case in cases:
        names[stem(case.name)] = case.name
        if case.reference:
            names[stem(case.reference.name)] = case.name
        right = next((case.ids[kind] for kind in SUBMISSION_KIND.values() if kind in case.ids), None)
        for kind, number in case.ids.items():
            if kind in SUBMISSION_KIND.values():
                ids[str(number)] = case.name
            elif right is not None:
                foreign[str(number)] = (case.name, kind, right)
    return names, ids, foreign


def read_mask(
    path: Path, shape: tuple[int, ...] | None = None, spacing_mm: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a binary mask, which must lie on the given grid.

    The header is looked at before any voxel is read.

    Returns:
        The mask, boolean, shape (X, Y, Z), and its spacing in mm, from the header and never from the affine.

    Raises:
        InputError: the file is damaged, not on the grid or no mask of {0, 1}.
    """
    found_shape, found_spacing, _ = read_geometry(path)
    if shape is not None and found_shape != shape:
        raise InputError(
            f"{path}: has the shape {_times(found_shape)} where the case has {_times(shape)}: "
            "resample the mask to the case's own grid"
        )
    if spacing_mm is not None and not np.allclose(found_spacing, spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
        raise InputError(
            f"{path}: has the voxel size {_times(found_spacing)} mm where the case has {_times(spacing_mm)} mm: "
            "write the mask with the case's own header"
        )
    volume = read_volume(path)
    if volume.data.ndim != 3:
        raise InputError(f"{path}: has {volume.data.ndim} axes where a mask has 3: write one volume")
    return binary_mask(volume.data, path), volume.spacing_mm


def binary_mask(data: np.ndarray, path: Path) -> np.ndarray:
    """Labels to a boolean mask.

    Raises:
        InputError: a value is neither 0 nor 1 (within `LABEL_TOLERANCE`).
    """
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise InputError(f"{path}: holds NaN or infinite values: write a mask of 0 and 1")
    lesion = np.abs(data - 1.0) <= LABEL_TOLERANCE if data.dtype.kind == "f" else data == 1
    background = np.abs(data) <= LABEL_TOLERANCE if data.dtype.kind == "f" else data == 0
    wrong = data[~(lesion | background)]
    if wrong.size:
        values = np.unique(wrong)
        listed = ", ".join(f"{value:.4g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
        probable = bool(((values > 0) & (values < 1)).all())
        remedy = "threshold the probabilities" if probable else "write 1 for lesion and 0 elsewhere"
        raise InputError(f"{path}: holds the values {listed}, a mask holds 0 and 1 alone: {remedy}")
    return np.asarray(lesion)


def check_predictions(
    cases: Sequence[Case], predictions: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Would these predictions be scored as they are? Needs no reference.

    Args:
        cases: the cases to predict; the grid of each is that of its reference or else of one of its images.
        predictions: folder of predictions.
        progress: called with (done, total).

    Returns:
        The names of the cases that have no prediction (they would count as missing).

    Raises:
        InputError: with every problem of every file.
    """
    matches = match_predictions(nifti_files(predictions), cases)
    problems = list(matches.problems)
    by_name: Mapping[str, Case] = {case.name: case for case in cases}
    for done, (name, path) in enumerate(matches.files.items(), start=1):
        try:
            shape, spacing_mm = _grid(by_name[name])
            read_mask(path, shape, spacing_mm)
        except InputError as error:
            problems += error.problems
        if progress:
            progress(done, len(matches.files))
    if problems:
        raise InputError(problems)
    return [case.name for case in cases if case.name not in matches.files]


def _grid(case: Case) -> tuple[tuple[int, ...], tuple[float, float, float]]:
    """Shape and spacing in mm of a case."""
    path = case.reference or next(path for kind, path in case.images.items() if not kind.endswith("4DPWI"))
    shape, spacing_mm, _ = read_geometry(path)
    return shape[:3], spacing_mm


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)
