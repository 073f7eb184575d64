"""Is this cohort sound? Reads every image of every case, on all cores, and describes each problem in one line.

`check_cohort` only reads; `print_report` shows what it found. Images are compared with the majority of their case, so
that the odd one out is named and not all the others. What is known of a release and is handled when it is read (values
that are repaired, mixed units, cases without lesion) is a note and no problem; so is a twin of another version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.cohort.twin_manifest import VERSION, of_another_version, read_manifest
from leaderboard.cohort.case import PARTITIONS, Case, ImageKind, Partition
from leaderboard.cohort.formats import Cohort, find_format, scan_cohort
from leaderboard.cohort.kinds import ADC_UNITS
from leaderboard.errors import InputError, listed
from leaderboard.io.grids import Grid, affine_of, turn_between, voxel_fault
from leaderboard.io.images import Volume, read_volume
from leaderboard.io.masks import binary_mask
from leaderboard.parallel import run_tasks

#: Voxel sizes are stored in single precision and were rounded by whoever wrote the maps.
_SPACING_TOLERANCE = 1e-3


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
    notes: tuple[str, ...] = ()  #: one line for each thing that is to be known and is no problem
    centre: str | None = None  #: where it was scanned, or None where that is unknown
    #: by image whose unit differs between cases, the factor that brings it to one unit (`ImageKind.to_unit`)
    factors: Mapping[str, float] = field(default_factory=dict)

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
    remarks: tuple[str, ...] = ()  #: notes likewise

    @property
    def patients(self) -> int:
        """Number of known patients; the partitions share none (each numbers its own from 1)."""
        return len({(case.partition, case.patient) for case in self.cases if case.patient is not None})

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem: the general ones, then case by case."""
        return (*self.general, *(problem for case in self.cases for problem in case.problems))

    @property
    def notes(self) -> tuple[str, ...]:
        """Every note: the general ones, then case by case."""
        return (*self.remarks, *(note for case in self.cases for note in case.notes))

    @property
    def exit_status(self) -> int:
        """0: sound, whatever the notes; 1: there are problems."""
        return 1 if self.problems else 0

    @property
    def closing_line(self) -> str:
        """Such as ``94 cases, 63 patients, 0 problems``."""
        counts = ((len(self.cases), "case"), (self.patients, "patient"), (len(self.problems), "problem"))
        return ", ".join(_count(number, noun) for number, noun in counts)


@dataclass(frozen=True)
class _Task:
    """What a process needs to check a case."""

    case: Case
    images: tuple[ImageKind, ...]
    lesion_expected: bool  #: `Format.lesion_in_every_case`
    patients_file: Path  #: where the patient can be named if it is unknown
    faults: tuple[str, ...]  #: what the names of its files already told
    known: tuple[str, ...]  #: `Format.known_faults`


def check_cohort(
    root: Path,
    partition: Partition | None = None,
    progress: Callable[[int, int], None] | None = None,
    format_name: str | None = None,
    jobs: int | None = None,
) -> CheckReport:
    """Read a cohort whole and collect what is wrong with it.

    Args:
        root: the cohort's folder, or one of its partitions.
        partition: which partition to check; None checks all that are there.
        progress: called after each case with the number of cases done and of all cases.
        format_name: the cohort's format, one of `FORMATS`; None recognises it.
        jobs: processes; see `run_tasks`.

    Raises:
        InputError: there is no such folder or partition, or its ``patients.csv`` cannot be used.
    """
    found, folders = find_format(root, format_name)
    everything = [scan_cohort(root, name, format_name) for name in PARTITIONS if name in folders]
    cohorts = [scan_cohort(root, partition, format_name)] if partition else everything
    tasks = [
        _Task(
            case,
            cohort.images,
            found.lesion_in_every_case,
            # Case numbers repeat across the partitions: with both there, each needs a patients.csv of its own.
            (folders[case.partition] if len(folders) > 1 else root) / "patients.csv",
            tuple(problem.text for problem in cohort.problems if problem.case == case.name),
            tuple(found.known_faults(case)),
        )
        for cohort in cohorts
        for case in cohort.cases
    ]
    reports = dict(run_tasks(check_case, tasks, jobs=jobs, progress=progress))
    cases = tuple(reports[number] for number in sorted(reports))
    general = tuple(problem.text for cohort in cohorts for problem in cohort.problems if problem.case is None)
    remarks = [remark for cohort in cohorts for remark in _missing_cases(cohort)]
    remarks += _strangers(everything)
    remarks += _older_twin(root)
    return CheckReport(root, cases, general, (*remarks, *_mixed_units(cohorts, cases)))


def _missing_cases(cohort: Cohort) -> list[str]:
    """That a cohort holds a part of its release, or more than it."""
    released, found = cohort.format.released.get(cohort.partition), len(cohort.cases)
    if released is None or found == released:
        return []
    return [f"{cohort.root}: holds {found} of the {released} {cohort.partition} cases of {cohort.format.title}"]


def _strangers(cohorts: Sequence[Cohort]) -> list[str]:
    """Which rows of ``patients.csv`` name a case of no partition."""
    names = [name for name in cohorts[0].strangers if all(name in cohort.strangers for cohort in cohorts)]
    return [f"{cohorts[0].root}: patients.csv names {listed(names, 10)}, which is no case: correct it"] if names else []


def _older_twin(root: Path) -> list[str]:
    """That a folder, or the cohort that it is a partition of, is a synthetic twin of another version's images."""
    for place in (root, root.resolve().parent):
        manifest = read_manifest(place)
        if manifest and VERSION in manifest and (fault := of_another_version(manifest)):
            return [f"{place}: {fault}: delete the folder and write it again (benchmark twin; a suite writes its own)"]
    return []


def _mixed_units(cohorts: Sequence[Cohort], cases: Sequence[CaseReport]) -> list[str]:
    """How many cases hold an image in which unit, where a cohort mixes units."""
    lines = []
    for kind in {kind.name: kind for cohort in cohorts for kind in cohort.images if kind.to_unit}.values():
        counts = Counter(case.factors[kind.name] for case in cases if kind.name in case.factors)
        if len(counts) > 1:
            parts = [f"{ADC_UNITS[factor]} in {_count(counts[factor], 'case')}" for factor in sorted(counts)]
            lines.append(f"{kind.name} is stored in {', '.join(parts)}: it is read as {kind.unit} everywhere")
    return lines


def check_case(task: _Task) -> CaseReport:
    """Read a case's images, one at a time."""
    case, problems, notes = task.case, list(task.faults), [f"{task.case.name}: {line}" for line in task.known]
    if case.patient is None:
        problems.append(
            f"{task.patients_file}: patient of {case.name} is unknown: name it there (columns case,patient)"
        )
    grids: dict[Path, Grid] = {}
    lesion_ml, factors = None, {}
    kinds = {kind.name: kind for kind in task.images}
    for name, path in [*case.images.items(), *([("", case.reference)] if case.reference else [])]:
        is_reference, kind = path == case.reference, kinds.get(name)
        try:
            volume = read_volume(path)
        except InputError as error:
            problems += error.problems
            continue
        axes = 3 if kind or is_reference else 4  # the others are time series
        if volume.data.ndim != axes:
            found = f"{volume.data.ndim} axes ({_by(volume.data.shape)})"
            problems.append(f"{path}: has {found} where {axes} are needed: replace the file")
            continue
        # An image that may lie elsewhere is resampled by its affine, if it has one.
        affine = affine_of(volume.header, volume.spacing_mm)
        if not (kind and kind.own_grid and affine is not None):
            grids[path] = Grid(volume.data.shape[:3], volume.spacing_mm, affine)
        fault, note = _values(volume.data, path, kind, is_reference=is_reference, lesion=task.lesion_expected)
        faults_of_file = [text for text in (voxel_fault(volume.spacing_mm), fault) if text]
        problems += [f"{path}: {text}" for text in faults_of_file]
        notes += [f"{path}: {note}"] if note and not (is_reference and task.known) else []
        if is_reference:
            lesion_ml = None if faults_of_file else lesion_volume_ml(volume)
        elif kind and kind.to_unit and not fault:
            factors[name] = kind.to_unit(volume.data)
    grid = _of_most(list(grids.values()))
    for path, own in grids.items():
        problems += [f"{path}: {fault}" for fault in _grid_faults(own, grid or own)]
    shape, spacing_mm = (grid.shape, grid.spacing_mm) if grid else (None, None)
    return CaseReport(
        case.partition, case.name, case.patient, shape, spacing_mm, lesion_ml, tuple(problems), tuple(notes),
        case.centre, factors,
    )  # fmt: skip


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
    for note in report.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    console.print(report.closing_line, highlight=False)


def _table(title: str, cases: Sequence[CaseReport]) -> Table:
    """One row for each case; narrow enough for 80 columns, so without patients where each case is one of its own."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False)
    columns: dict[str, Callable[[CaseReport], str]] = {}
    if any(case.patient != case.case for case in cases):
        columns["patient"] = lambda case: "unknown" if case.patient is None else case.patient
    if any(case.centre for case in cases):
        columns["centre"] = lambda case: case.centre or "unknown"
    columns["shape"] = lambda case: _by(case.shape, "x") if case.shape else "-"
    columns["spacing (mm)"] = lambda case: (
        _by((f"{size:.2f}" for size in case.spacing_mm), "x") if case.spacing_mm else "-"
    )
    columns["lesion (mL)"] = lambda case: "-" if case.lesion_ml is None else f"{case.lesion_ml:.2f}"
    table.add_column("case", no_wrap=True, min_width=max(len(case.case) for case in cases))
    for header in columns:
        # Where a line is too short, headings break, and names and numbers do not.
        longest = max(len(columns[header](case)) for case in cases)
        table.add_column(header, justify="right", min_width=min(longest, 14))
    table.add_column("verdict", min_width=max(len("verdict"), *(len(case.verdict) for case in cases)))
    for case in cases:
        verdict = Text(case.verdict, style="red" if case.problems else "green")
        table.add_row(Text(case.case), *(Text(text(case)) for text in columns.values()), verdict)
    return table


def _values(
    data: np.ndarray, path: Path, kind: ImageKind | None, *, is_reference: bool, lesion: bool
) -> tuple[str, str]:
    """What is wrong with an image's values and what to do, and what is to be known of them; empty: nothing.

    Frames of a time series are read one at a time.

    Args:
        data: the image.
        path: its file.
        kind: what it is; None of references and time series.
        is_reference: it is the reference.
        lesion: a reference without lesion is a fault.
    """
    frames = [data] if data.ndim == 3 else [data[..., frame] for frame in range(data.shape[3])]
    note = ""
    if data.dtype.kind == "f":
        unusable = sum(frame.size - int(np.count_nonzero(np.isfinite(frame))) for frame in frames)
        where = f"holds NaN or Inf in {_count(unusable, 'voxel')}"
        if unusable and not (kind and kind.repaired):
            return f"{where}: replace the file", ""
        note = f"{where}: they are read as 0" if unusable else ""
    if is_reference:
        try:
            frames = [binary_mask(data, path)]
        except InputError as error:
            return error.problems[0].removeprefix(f"{path}: "), ""
    if any(frame.any() for frame in frames):
        return "", note
    if not is_reference:
        return "is zero in every voxel: replace the file, or leave the case out", ""
    if lesion:
        return "is empty: replace the file, or leave the case out", ""
    return "", "is empty: its case is without lesion"


def _grid_faults(own: Grid, of_case: Grid) -> list[str]:
    """How an image's grid differs from that of its case; another order of axes is no difference."""
    both = own.affine is not None and of_case.affine is not None
    if own.affine is not None and turn_between(own.affine, own.shape, of_case) is not None:
        return []
    faults = []
    if own.shape != of_case.shape:
        faults.append(f"has the shape {_by(own.shape)} where its case has {_by(of_case.shape)}: replace the file")
    if not np.allclose(own.spacing_mm, of_case.spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
        own_mm, case_mm = (_by(f"{size:.6g}" for size in grid.spacing_mm) for grid in (own, of_case))
        faults.append(f"has the spacing {own_mm} mm where its case has {case_mm} mm: correct pixdim in its header")
    if both and not faults:
        faults.append(f"lies elsewhere ({own}) than its case ({of_case}): resample it onto that grid")
    return faults


def _of_most(grids: Sequence[Grid]) -> Grid | None:
    """The grid that most agree with; the first of equals."""
    return max(grids, key=lambda grid: sum(not _grid_faults(other, grid) for other in grids), default=None)


def _by(sizes: Iterable[object], sign: str = " x ") -> str:
    return sign.join(map(str, sizes))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
