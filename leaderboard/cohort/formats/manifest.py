"""Any images in any folders, described by a ``cohort.csv``: a hospital's own data without a line of code.

It has one row per case. The columns ``case`` and one for each image are needed; ``patient``, ``centre`` and
``reference`` are known; every other column is an image, named by its heading. Paths are relative to the file's folder.
The first image gives the grid: references and predictions lie on it, and the other images are resampled onto it where
they lie on others. A heading with a known word in it (CT, CTA, CBF, CBV, MTT, Tmax, TTP, DWI, ADC, FLAIR, T1w, T2w)
says what the image shows; of others it is assumed that they are 0 outside the brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from leaderboard.cohort.case import PARTITIONS, Partition, Problem
from leaderboard.cohort.formats.interface import Cohort
from leaderboard.cohort.formats.subjects import (
    NamedFormat,
    Subject,
    cohort_of,
)
from leaderboard.cohort.formats.tables import read_rows
from leaderboard.cohort.kinds import kind_named
from leaderboard.cohort.names import natural_key
from leaderboard.errors import InputError

FILE = "cohort.csv"
_KNOWN = ("case", "patient", "centre", "reference")


class Manifest(NamedFormat):
    """See `Format`."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`; cases with a reference are for training, the others for testing.

        Raises:
            InputError: the file cannot be used.
        """
        if not (root / FILE).is_file():
            return {}
        rows = _rows(root / FILE)
        with_reference = {bool(row.get("reference")) for row in rows}
        return {name: root for name in PARTITIONS if (name == "training") in with_reference}

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`."""
        path = root / FILE
        rows = [row for row in _rows(path) if bool(row.get("reference")) == (partition == "training")]
        names = [column for column in rows[0] if column not in _KNOWN]
        kinds = tuple(kind_named(name, own_grid=place > 0) for place, name in enumerate(names))
        problems: list[Problem] = []

        def file_of(row: Mapping[str, str], column: str) -> list[Path]:
            if not row.get(column):
                return []
            found = root / row[column]
            if not found.is_file():
                text = f"{path}: {row['case']}: {column} is {row[column]}, which is no file: correct the path"
                problems.append(Problem(row["case"], text))
            return [found]

        subjects = [
            Subject(
                row["case"],
                path,
                {name: file_of(row, name) for name in names},
                file_of(row, "reference"),
                row.get("centre") or None,
            )
            for row in sorted(rows, key=lambda row: natural_key(row["case"]))
        ]
        patient_of = {row["case"]: row["patient"] for row in rows if row.get("patient")}
        cohort = cohort_of(
            self, root, partition, subjects, kinds, grid=names[0], background=names[0], remedy="fill in its path"
        )
        cases = tuple(replace(case, patient=patient_of.get(case.name, case.patient)) for case in cohort.cases)
        return replace(cohort, cases=cases, problems=(*cohort.problems, *problems))


FORMAT = Manifest(
    name="manifest",
    title="a cohort of your own",
    tree=FILE,
)


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of the file.

    Raises:
        InputError: it is no table, lacks a column or a case's name, or names a case twice.
    """
    rows = read_rows(path)
    if not rows or "case" not in rows[0] or not [column for column in rows[0] if column not in _KNOWN]:
        raise InputError(f"{path}: needs a column case, a column for each image and a row for each case: correct it")
    problems = []
    seen: set[str] = set()
    for row in rows:
        name = row.get("case", "")
        if not name or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
            problems.append(f"{path}: {name!r} is no name of a case: give each row one that a file can have")
        elif name in seen:
            problems.append(f"{path}: {name} is there twice: keep one row")
        seen.add(name)
    if problems:
        raise InputError(problems)
    return rows
