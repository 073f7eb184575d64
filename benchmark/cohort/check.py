"""Is this cohort sound? Reads every image of every case, one at a time, and describes each problem in one line.

`check_cohort` only reads; `print_report` shows what it found. Images are compared with the majority of their case, so
that the odd one out is named and not all the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.cohort.case import PARTITIONS, Case, Partition
from leaderboard.cohort.formats import Cohort, find_format, scan_cohort
from leaderboard.errors import InputError
from leaderboard.io.grids import voxel_fault
from leaderboard.io.images import Volume, read_volume
from leaderboard.io.masks import binary_mask

#: Voxel sizes are stored in single precision and were rounded by whoever wrote the maps.
_SPACING_TOLERANCE = 1e-3

T = TypeVar("T")


@dataclass(frozen=True)
class CaseReport:
    """What was found in one case."""

    partition: Partition  #: the partition it lies in
    case: str  #: ``case_<number>``
    patient: str | None  #: the patient it belongs to, or None where that is unknown
    shape: tuple[int, ...] | None  #: X, Y, Z voxels of most of its images; None where none could be read
    spacing_mm: tuple[float, float, float] | None  #: voxel size of most of its images; None where none could be read
    lesion_ml: float | None  #: volume of the reference; None where there is none or it could not be read
    problems: tuple[str, ...]  #: one line for each: file, fault and remedy

    @property
    def verdict(self) -> str:
        """``sound``, or the number of problems."""
        return _count(len(self.problems), "problem") if self.problems else "sound"


@dataclass(frozen=True)
class CheckReport:
    """What was found in a cohort."""

    root: Path  #: the folder that was given
    cases: tuple[CaseReport, ...]  #: one report for each case, training before testing, in natural order
    general: tuple[str, ...] = ()  #: problems that concern no single case, one line for each

    @property
    def patients(self) -> int:
        """Number of known patients; the partitions share none (each numbers its own from 1)."""
        return len({(case.partition, case.patient) for case in self.cases if case.patient is not None})

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem: the general ones, then case by case."""
        return (*self.general, *(problem for case in self.cases for problem in case.problems))

    @property
    def exit_status(self) -> int:
        """0: sound; 1: there are problems."""
        return 1 if self.problems else 0

    @property
    def closing_line(self) -> str:
        """Such as ``94 cases, 63 patients, 0 problems``."""
        counts = ((len(self.cases), "case"), (self.patients, "patient"), (len(self.problems), "problem"))
        return ", ".join(_count(number, noun) for number, noun in counts)


def check_cohort(
    root: Path,
    partition: Partition | None = None,
    progress: Callable[[int, int], None] | None = None,
    format_name: str | None = None,
) -> CheckReport:
    """Read a cohort whole and collect what is wrong with it.

    Args:
        root: the cohort's folder, or one of its partitions.
        partition: which partition to check; None checks all that are there.
        progress: called after each case with the number of cases done and of all cases.
        format_name: the cohort's format, one of `FORMATS`; None recognises it.

    Raises:
        InputError: there is no such folder or partition, or its ``patients.csv`` cannot be used.
    """
    _, folders = find_format(root, format_name)
    names = [partition] if partition else [name for name in PARTITIONS if name in folders]
    cohorts = [scan_cohort(root, name, format_name) for name in names]
    jobs = [
        (cohort, case, [problem.text for problem in cohort.problems if problem.case == case.name])
        for cohort in cohorts
        for case in cohort.cases
    ]
    reports = []
    for done, (cohort, case, faults) in enumerate(jobs, start=1):
        # Case numbers repeat across the partitions: with both there, each needs a patients.csv of its own.
        folder = folders[case.partition] if len(folders) > 1 else root
        reports.append(check_case(cohort, case, folder / "patients.csv", faults))
        if progress:
            progress(done, len(jobs))
    general = tuple(problem.text for cohort in cohorts for problem in cohort.problems if problem.case is None)
    return CheckReport(root, tuple(reports), general)


def check_case(cohort: Cohort, case: Case, patients_file: Path, faults: Sequence[str] = ()) -> CaseReport:
    """Read a case's images, one at a time.

    Args:
        cohort: the case's.
        case: the case.
        patients_file: where its patient can be named if it is unknown.
        faults: what the names of its files already told.
    """
    problems = list(faults)
    if case.patient is None:
        problems.append(f"{patients_file}: patient of {case.name} is unknown: name it there (columns case,patient)")
    geometry: dict[Path, tuple[tuple[int, ...], tuple[float, float, float]]] = {}
    lesion_ml = None
    channels = {kind.name: kind for kind in cohort.images}
    for name, path in [*case.images.items(), *([("", case.reference)] if case.reference else [])]:
        try:
            volume = read_volume(path)
        except InputError as error:
            problems += error.problems
            continue
        axes = 3 if name in channels or path == case.reference else 4  # the others are time series
        if volume.data.ndim != axes:
            found = f"{volume.data.ndim} axes ({_by(volume.data.shape)})"
            problems.append(f"{path}: has {found} where {axes} are needed: replace the file")
            continue
        geometry[path] = (volume.data.shape[:3], volume.spacing_mm)
        faults_of_file = [voxel_fault(volume.spacing_mm), _values_fault(volume.data, path, path == case.reference)]
        problems += [f"{path}: {fault}" for fault in faults_of_file if fault]
        if path == case.reference:
            lesion_ml = None if any(faults_of_file) else lesion_volume_ml(volume)
    shape = _most_common([shape for shape, _ in geometry.values()])
    spacing_mm = _most_common([spacing for _, spacing in geometry.values()])
    for path, (own_shape, own_spacing) in geometry.items():
        problems += [f"{path}: {fault}" for fault in _geometry_faults(own_shape, own_spacing, shape, spacing_mm)]
    return CaseReport(case.partition, case.name, case.patient, shape, spacing_mm, lesion_ml, tuple(problems))


def lesion_volume_ml(reference: Volume) -> float:
    """Volume in mL of a binary mask, whose values may be rounded (`leaderboard.io.masks.binary_mask`)."""
    return int(np.count_nonzero(reference.data > 0.5)) * reference.voxel_ml


def print_report(report: CheckReport, console: Console) -> None:
    """Print a table of the cases, every problem as a line, and a closing line."""
    for partition in PARTITIONS:
        cases = [case for case in report.cases if case.partition == partition]
        if cases:
            console.print(_table(f"{report.root} ({partition})", cases))
    for problem in report.problems:
        console.print(Text(problem), soft_wrap=True)
    console.print(report.closing_line, highlight=False)


def _table(title: str, cases: Sequence[CaseReport]) -> Table:
    """One row for each case; narrow enough for 80 columns."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("case")
    for header in ("patient", "shape", "spacing (mm)", "lesion (mL)"):
        table.add_column(header, justify="right")
    table.add_column("verdict")
    for case in cases:
        table.add_row(
            case.case,
            Text(case.patient if case.patient is not None else "unknown"),
            _by(case.shape, "x") if case.shape else "-",
            _by((f"{size:.2f}" for size in case.spacing_mm), "x") if case.spacing_mm else "-",
            "-" if case.lesion_ml is None else f"{case.lesion_ml:.2f}",
            Text(case.verdict, style="red" if case.problems else "green"),
        )
    return table


def _values_fault(data: np.ndarray, path: Path, is_reference: bool) -> str | None:
    """What is wrong with an image's values, and what to do; frames of a time series are read one at a time."""
    frames = [data] if data.ndim == 3 else [data[..., frame] for frame in range(data.shape[3])]
    if data.dtype.kind == "f":
        unusable = sum(int(np.count_nonzero(~np.isfinite(frame))) for frame in frames)
        if unusable:
            return f"holds NaN or Inf in {_count(unusable, 'voxel')}: replace the file"
    if is_reference:
        try:
            frames = [binary_mask(data, path)]
        except InputError as error:
            return error.problems[0].removeprefix(f"{path}: ")
    if not any(frame.any() for frame in frames):
        return f"is {'empty' if is_reference else 'zero in every voxel'}: replace the file, or leave the case out"
    return None


def _geometry_faults(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float, float],
    case_shape: tuple[int, ...] | None,
    case_spacing_mm: tuple[float, float, float] | None,
) -> list[str]:
    """How an image's grid differs from that of its case."""
    faults = []
    if case_shape and shape != case_shape:
        faults.append(f"has the shape {_by(shape)} where its case has {_by(case_shape)}: replace the file")
    if case_spacing_mm and not np.allclose(spacing_mm, case_spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
        own, others = (_by(f"{size:.6g}" for size in sizes) for sizes in (spacing_mm, case_spacing_mm))
        faults.append(f"has the spacing {own} mm where its case has {others} mm: correct pixdim in its header")
    return faults


def _most_common(values: Sequence[T]) -> T | None:
    """The most frequent value; the first of equals."""
    return Counter(values).most_common(1)[0][0] if values else None


def _by(sizes: Iterable[object], sign: str = " x ") -> str:
    return sign.join(map(str, sizes))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
