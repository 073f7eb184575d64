"""Which patient a case belongs to: the table that ships with this package, and a cohort's own ``patients.csv``."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import IO

from leaderboard.cohort.names import case_finder
from leaderboard.errors import InputError
from leaderboard.io.tables import name_fault, read_table, shortened, shown

_PARTITIONS = {"train": "training", "test": "testing"}


def known_patient(partition: str, number: int, ids: frozenset[int]) -> str | None:
    """The patient of a case of ISLES 2018, from the table that ships with this package.

    Args:
        partition: ``training`` or ``testing``.
        number: the case's number.
        ids: the ids of its images; without one that the table knows it is some other cohort's case.

    Returns:
        The patient, or None where the case is not of the public data.
    """
    patient, known_ids = _patient_map().get((partition, number), (None, frozenset()))
    return patient if ids & known_ids else None


def read_patients(folders: Iterable[Path], names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Patient by case name, from the ``patients.csv`` of each folder that has one; a later folder overrides.

    Cases may be written by their names, as in a tree (``case_7``, ``training_7``) or as a number.

    Args:
        folders: where the files may be.
        names: of the cases.

    Returns:
        The patients, and what the files say beyond: the names in them that are no case's.

    Raises:
        InputError: a file is no CSV (`io.tables.read_table`), lacks a value, holds a name that is not allowed
            (`io.tables.name_fault`), or gives a case to two patients.
    """
    names = list(names)
    patients: dict[str, str] = {}
    beyond: list[str] = []
    for file in (folder / "patients.csv" for folder in folders):
        if file.is_file():
            found, others = read_patient_file(file, names)
            patients |= found
            beyond += others
    return patients, beyond


def open_case_table() -> IO[str]:
    """The table of the ISLES 2018 cases that ships with this package, as text."""
    return resources.files("leaderboard.cohort.data").joinpath("isles2018_cases.csv").open(encoding="utf-8")


@functools.cache
def _patient_map() -> dict[tuple[str, int], tuple[str, frozenset[int]]]:
    """(partition, case number) -> (patient, the ids of the case's images) for ISLES 2018."""
    found = {}
    with open_case_table() as file:
        for row in csv.DictReader(file):
            ids = frozenset(int(row[key]) for key in row if key.startswith("id_") and row[key])
            found[_PARTITIONS[row["partition"]], int(row["case"])] = (row["patient"], ids)
    return found


def read_patient_file(path: Path, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """As `read_patients`, from one CSV with the columns ``case`` and ``patient``.

    Raises:
        InputError: as `read_patients`, and where there is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: is no file: give a CSV with the columns case and patient")
    table = read_table(path, "case", "patient")
    find = case_finder(names)
    patients: dict[str, str] = {}
    beyond: dict[str, str] = {}
    fields = table.fields("case", "patient")
    problems = [
        f"{table.where(row)}: the {kind} {shown(name)} {fault}"
        for row, given in enumerate(fields)
        for kind, name in zip(("case", "patient"), given, strict=True)
        if (fault := name_fault(name))
    ]
    if problems:
        raise InputError(shortened(path, problems))
    for row, (case, patient) in enumerate(fields):
        if not (case and patient):
            raise InputError(f"{table.where(row)}: case or patient is empty: fill it in")
        name = find(case)
        known, name = (beyond, case) if name is None else (patients, name)
        if known.setdefault(name, patient) != patient:
            raise InputError(
                f"{table.where(row)}: gives {shown(name)} to patient {shown(patient)}, an earlier line to patient "
                f"{shown(known[name])}: keep one"
            )
    return patients, list(beyond)
