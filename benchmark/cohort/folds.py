"""Folds that never split a patient, balanced by lesion volume and centre, as a CSV that a person can read and edit.

Two slabs of one patient show one stroke: with one in training and the other in validation, a score says little about
new patients. `make_folds` therefore assigns whole patients (see `benchmark.cohort.assignment`), and `read_fold_file`
refuses a file that splits one.

``configs/folds/isles2018.csv`` is written by::

    python -c "from benchmark.cohort.folds import *; write_fold_file('configs/folds/isles2018.csv', isles2018_folds())"

and ``isles2022.csv`` likewise. Other programs' files of folds are read and written by `benchmark.cohort.fold_json`.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from benchmark.cohort.assignment import assign_patients
from benchmark.cohort.check import lesion_volume_ml
from benchmark.cohort.fold_file import COLUMNS, read_rows
from leaderboard.cohort.folds import folds_digest
from leaderboard.cohort.formats import Cohort
from leaderboard.cohort.formats.isles2018 import case_table
from leaderboard.cohort.names import case_name, natural_key
from leaderboard.errors import InputError, listed
from leaderboard.io.images import read_volume, write_bytes
from leaderboard.io.tables import name_fault, shown

ISLES2018_FOLDS = 5
ISLES2018_SEED = 2018
ISLES2022_FOLDS = 5
ISLES2022_SEED = 2022


class FoldCase(NamedTuple):
    """A case to assign: its patient, lesion volume in mL (None: unknown), number of slices, centre (None: unknown)."""

    case: str
    patient: str
    lesion_ml: float | None = None
    slices: int = 1
    centre: str | None = None


@dataclass(frozen=True)
class Folds:
    """Which fold each case is validated in."""

    fold_of: Mapping[str, int]  #: fold (0 to K-1) by case, in natural order of the cases
    patient_of: Mapping[str, str]  #: patient by case
    #: lesion volume in mL by case; None where unknown
    lesion_ml_of: Mapping[str, float | None] = field(default_factory=dict)
    source: str = field(default="the folds", compare=False)  #: where the folds come from, for messages

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case, in natural order."""
        return tuple(sorted(self.fold_of, key=lambda case: (natural_key(case), case)))

    @property
    def number_of_folds(self) -> int:
        """K."""
        return max(self.fold_of.values()) + 1

    @property
    def split_patients(self) -> dict[str, tuple[str, ...]]:
        """Cases by patient, for patients that lie in more than one fold; empty unless leaky folds were allowed."""
        cases_of: dict[str, list[str]] = {}
        for case in self.cases:
            cases_of.setdefault(self.patient_of[case], []).append(case)
        return {
            patient: tuple(cases)
            for patient, cases in cases_of.items()
            if len({self.fold_of[case] for case in cases}) > 1
        }

    @property
    def digest(self) -> str:
        """Equal for equal splits (`folds_digest`), whatever the volumes, which only explain a split."""
        return folds_digest((case, self.patient_of[case], fold) for case, fold in self.fold_of.items())

    def training(self, fold: int) -> tuple[str, ...]:
        """Cases that a method is trained on in a fold, in natural order; `InputError` if there is no such fold."""
        self._require(fold)
        return tuple(case for case in self.cases if self.fold_of[case] != fold)

    def validation(self, fold: int) -> tuple[str, ...]:
        """Cases that a method predicts in a fold, in natural order; `InputError` if there is no such fold."""
        self._require(fold)
        return tuple(case for case in self.cases if self.fold_of[case] == fold)

    def _require(self, fold: int) -> None:
        if not 0 <= fold < self.number_of_folds:
            raise InputError(f"{self.source}: has no fold {fold}: choose one of 0 to {self.number_of_folds - 1}")


def make_folds(cases: Iterable[FoldCase | tuple[str, str, float | None]], folds: int, seed: int) -> Folds:
    """Assign patients to folds; see `benchmark.cohort.assignment`.

    Args:
        cases: in any order. Where a lesion volume is unknown, slices are balanced in place of volumes. Each centre is
            spread evenly over the folds; a patient of several belongs to that of its first case.
        folds: how many, at least 2.
        seed: shuffles patients of like size.

    Raises:
        InputError: fewer than two folds, fewer patients than folds, a case twice, or a case without a patient.
    """
    items = sorted((FoldCase(*case) for case in cases), key=lambda item: (natural_key(item.case), item.case))
    _require_dealable(items, folds)
    items = [item._replace(lesion_ml=_known(item.lesion_ml)) for item in items]
    weigh_volume = all(item.lesion_ml is not None for item in items)
    sizes: dict[str, tuple[int, float]] = {}
    strata: dict[str, str] = {}
    for item in items:
        count, weight = sizes.get(item.patient, (0, 0.0))
        own = item.lesion_ml if weigh_volume and item.lesion_ml is not None else float(item.slices)
        sizes[item.patient] = (count + 1, weight + own)
        strata.setdefault(item.patient, item.centre or "")
    fold_of_patient = assign_patients(sizes, folds, seed, strata)
    return _folds_of(items, {item.case: fold_of_patient[item.patient] for item in items})


def centre_folds(cases: Iterable[FoldCase]) -> Folds:
    """One fold for each centre, in natural order of their names: what is validated was scanned elsewhere.

    Args:
        cases: in any order.

    Raises:
        InputError: a centre is unknown, there is one alone, or a patient was scanned at several.
    """
    items = sorted(cases, key=lambda item: (natural_key(item.case), item.case))
    if without := [item.case for item in items if not item.centre]:
        raise InputError(
            f"folds by centre: the centre of {listed(without, 10)} is unknown: give folds a number instead"
        )
    centres = sorted({str(item.centre) for item in items}, key=lambda name: (natural_key(name), name))
    if len(centres) < 2:
        raise InputError(f"folds by centre: all cases are of {listed(centres)}: give folds a number instead")
    folds = _folds_of(items, {item.case: centres.index(str(item.centre)) for item in items})
    if folds.split_patients:
        patients = listed(list(folds.split_patients), 10)
        raise InputError(f"folds by centre: patients {patients} were scanned at several: give folds a number instead")
    return folds


def case_folds(cases: Iterable[FoldCase], folds: int, seed: int) -> Folds:
    """Assign cases to folds as if each were of a patient of its own, which leaks where a patient has several.

    Args:
        cases: in any order.
        folds: how many, at least 2.
        seed: shuffles cases of like size.

    Raises:
        InputError: fewer than two folds, fewer cases than folds, or a case twice.
    """
    items = list(cases)
    dealt = make_folds([item._replace(patient=item.case) for item in items], folds, seed)
    return replace(dealt, patient_of={item.case: item.patient for item in items})


def _folds_of(items: Iterable[FoldCase], fold_of: Mapping[str, int]) -> Folds:
    """The folds of measured cases."""
    items = list(items)
    return Folds(
        fold_of,
        {item.case: item.patient for item in items},
        {item.case: _known(item.lesion_ml) for item in items},
    )


def measure_cohort(cohort: Cohort) -> tuple[FoldCase, ...]:
    """The cases of a cohort for `make_folds`, with the lesion volumes of their references; reads one at a time.

    Raises:
        InputError: a reference is missing or damaged, or a case's patient is unknown.
    """
    problems = [_unknown_patient(cohort, case.name) for case in cohort.cases if case.patient is None]
    without = [case.name for case in cohort.cases if case.reference is None]
    if without:
        problems.append(f"{cohort.root}: no reference in {listed(without, 10)}: choose a cohort that has them")
    if problems:
        raise InputError(problems)
    measured = []
    for case in cohort.cases:
        if case.reference is not None:
            volume = read_volume(case.reference)
            slices = volume.data.shape[2]
            measured.append(FoldCase(case.name, str(case.patient), lesion_volume_ml(volume), slices, case.centre))
    return tuple(measured)


def read_fold_file(path: Path | str, *, allow_leaky: bool = False) -> Folds:
    """Read a fold file.

    Args:
        path: a CSV with the columns ``case``, ``patient``, ``fold`` (0 to K-1) and, if known, ``lesion_ml``.
        allow_leaky: accept a file that splits patients.

    Raises:
        InputError: with every problem of the file: a missing column or value, a case twice, a fold that is not a whole
            number, folds that are not 0 to K-1 with K at least 2, a patient in several folds.
    """
    rows = read_rows(Path(path))
    folds = Folds(
        {row.case: row.fold for row in rows},
        {row.case: row.patient for row in rows},
        {row.case: row.lesion_ml for row in rows},
        str(path),
    )
    if not allow_leaky:
        require_whole_patients(folds)
    return folds


def write_fold_file(path: Path | str, folds: Folds) -> None:
    """Write a fold file, see `folds_bytes`; `InputError` if that cannot be done."""
    write_bytes(Path(path), folds_bytes(folds))


def folds_bytes(folds: Folds) -> bytes:
    """The content of a fold file, cases in natural order; same folds, same bytes.

    Raises:
        InputError: a case or a patient has a name that may not stand in a table (`io.tables.name_fault`).
    """
    faults = [
        f"the {kind} {shown(name)} {fault}"
        for kind, names in (("case", folds.cases), ("patient", dict.fromkeys(folds.patient_of.values())))
        for name in names
        if name and (fault := name_fault(name))
    ]
    if faults:
        raise InputError(faults)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case in folds.cases:
        lesion_ml = folds.lesion_ml_of.get(case)
        volume = "" if lesion_ml is None else f"{lesion_ml:.3f}"
        writer.writerow([case, folds.patient_of[case], folds.fold_of[case], volume])
    return text.getvalue().encode()


def check_folds_against(folds: Folds, cohort: Cohort) -> None:
    """Refuse folds that are not those of a cohort.

    Raises:
        InputError: with every problem: cases that the cohort does not have, cases of the cohort without a fold, a
            patient that the cohort does not know or names otherwise.
    """
    known = {case.name: case.patient for case in cohort.cases}
    foreign = [case for case in folds.cases if case not in known]
    absent = [case for case in known if case not in folds.fold_of]
    problems = []
    if foreign:
        problems.append(f"{folds.source}: {cohort.root} has no {listed(foreign, 10)}: remove the rows")
    if absent:
        problems.append(f"{folds.source}: gives no fold to {listed(absent, 10)} of {cohort.root}: add the rows")
    for case, patient in known.items():
        if patient is None:
            problems.append(_unknown_patient(cohort, case))
        elif case in folds.patient_of and folds.patient_of[case] != patient:
            theirs = f"{case} is of patient {folds.patient_of[case]} here and of patient {patient} in {cohort.root}"
            problems.append(f"{folds.source}: {theirs}: correct the row, or name the patient in patients.csv")
    if problems:
        raise InputError(problems)


def folds_within(folds: Folds, cohort: Cohort) -> Folds:
    """The folds of those cases that a cohort holds; a part of a cohort keeps the folds of the whole.

    Raises:
        InputError: the cohort has a case without a fold, or one whose patient is unknown or named otherwise.
    """
    names = {case.name for case in cohort.cases}
    part = replace(folds, fold_of={case: fold for case, fold in folds.fold_of.items() if case in names})
    check_folds_against(part, cohort)
    return part


def isles2018_folds() -> Folds:
    """The folds of the 94 ISLES 2018 training cases that this project's results are made with.

    Made from the packaged table alone, so that they do not depend on having the data: it knows patients and slices
    but no lesion volumes, hence slices are balanced.
    """
    table = case_table()
    table = table[table["partition"] == "train"]
    rows = zip(table["case"], table["patient"], table["slices"], strict=True)
    cases = [FoldCase(case_name(case), str(patient), None, int(slices)) for case, patient, slices in rows]
    return make_folds(cases, ISLES2018_FOLDS, ISLES2018_SEED)


def isles2022_folds() -> Folds:
    """The folds of the 250 ISLES 2022 training cases that this project's suite uses.

    Made without the data, of which the names of the cases are known alone: each is a patient of its own, and the folds
    have equally many.
    """
    names = [f"sub-strokecase{number:04d}" for number in range(1, 251)]
    return make_folds([FoldCase(name, name) for name in names], ISLES2022_FOLDS, ISLES2022_SEED)


def _known(lesion_ml: float | None) -> float | None:
    """A volume as it is written to a file (a thousandth of a mL); None where unknown."""
    return None if lesion_ml is None or math.isnan(lesion_ml) else round(float(lesion_ml), 3)


def _require_dealable(cases: list[FoldCase], folds: int) -> None:
    patients = {item.patient for item in cases}
    twice = sorted((name for name, n in Counter(item.case for item in cases).items() if n > 1), key=natural_key)
    nameless = [item.case for item in cases if not item.patient]
    problems = []
    if folds < 2:
        problems.append(f"folds: {folds} asked for, which leaves nothing to train on: ask for at least 2")
    if twice:
        problems.append(f"folds: {listed(twice, 10)} there twice: remove the doubles")
    if nameless:
        problems.append(f"folds: patient of {listed(nameless, 10)} is unknown: name it in patients.csv")
    if folds >= 2 and len(patients) < folds:
        problems.append(f"folds: {folds} asked for, but there are {len(patients)} patients: ask for fewer folds")
    if problems:
        raise InputError(problems)


def require_whole_patients(folds: Folds) -> None:
    """Refuse folds that split a patient.

    Raises:
        InputError: with every such patient.
    """
    problems = []
    for patient, cases in folds.split_patients.items():
        places = ", ".join(f"{case} in fold {folds.fold_of[case]}" for case in cases)
        problems.append(
            f"{folds.source}: splits patient {patient} ({places}): give them one fold, or pass --allow-leaky-folds"
        )
    if problems:
        raise InputError(problems)


def _unknown_patient(cohort: Cohort, case: str) -> str:
    return f"{cohort.root / 'patients.csv'}: patient of {case} is unknown: name it there (columns case,patient)"
