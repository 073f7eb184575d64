"""ISLES 2022: DWI, ADC and FLAIR of 250 acute and subacute strokes, as released and as mirrored.

Two layouts are on disk. The release (Zenodo 7960856) has ``sub-strokecase<NNNN>/ses-0001/{dwi,anat}/`` beside
``derivatives/``; an older one and its mirrors have ``rawdata/sub-strokecase<NNNN>/ses-0001/`` and write FLAIR in lower
case. Files are therefore found by their suffix.

DWI and ADC lie on the reference's grid; FLAIR lies on its own and is not registered. ADC maps come in three units.
``center_ids.xlsx``, which is offered beside the archive, says in which of two centres a case was scanned; it is read
where it lies beside the cases.
"""

from __future__ import annotations

import re
from pathlib import Path

from leaderboard.cohort.case import Case, Partition
from leaderboard.cohort.formats.interface import Cohort
from leaderboard.cohort.formats.subjects import (
    NO_LESION,
    NamedFormat,
    Subject,
    cohort_of,
    ending_in,
    nifti_files,
    subject_folders,
)
from leaderboard.cohort.formats.tables import find_table, read_rows
from leaderboard.cohort.kinds import kind_named

_SUBJECT = r"sub-strokecase\d{4}"
#: Folders below the cohort's that may hold the subjects.
_BASES = (".", "ISLES-2022", "rawdata", "ISLES-2022/rawdata")
#: Cases without a lesion, which is no fault of their reference.
LESION_FREE = frozenset({"sub-strokecase0150", "sub-strokecase0151", "sub-strokecase0170"})


class Isles2022(NamedFormat):
    """See `Format`."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`; cases without any reference are a testing partition."""
        base = _base(root)
        if base is None:
            return {}
        return {"training" if any(_masks(base).rglob("*_msk.nii*")) else "testing": base}

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`."""
        base = self.find(root)[partition]
        centres = _centres(root, base)
        subjects = []
        for folder in subject_folders(base, _SUBJECT):
            files = nifti_files(folder)
            images = {kind: ending_in(files, kind) for kind in ("DWI", "ADC", "FLAIR")}
            references = ending_in(nifti_files(_masks(base) / folder.name), "msk")
            subjects.append(Subject(folder.name, folder, images, references, centres.get(folder.name)))
        kinds = (kind_named("DWI"), kind_named("ADC"), kind_named("FLAIR", own_grid=True))
        return cohort_of(self, root, partition, subjects, kinds, grid="DWI", background="DWI")

    def submitted_file(self, case: Case, free_name: str) -> str:
        """Named like the case's DWI image, as the challenge's own references are."""
        return case.images["DWI"].name


FORMAT = Isles2022(
    name="isles2022",
    title="ISLES 2022",
    tree="sub-strokecase<NNNN>/ses-0001 beside derivatives",
    released={"training": 250},
    known=dict.fromkeys(LESION_FREE, NO_LESION),
)


def _base(root: Path) -> Path | None:
    """The folder that holds the subjects."""
    for below in _BASES:
        base = root / below
        if any((folder / "ses-0001").is_dir() for folder in subject_folders(base, _SUBJECT)):
            return base
    return None


def _masks(base: Path) -> Path:
    """The folder of the references: beside the subjects, or beside ``rawdata``."""
    beside = base / "derivatives"
    return beside if beside.is_dir() else base.resolve().parent / "derivatives"


def _centres(root: Path, base: Path) -> dict[str, str]:
    """The centre of each case, from the table of the release; empty without it."""
    table = find_table((root, base, root.resolve().parent), "center_ids")
    if table is None:
        return {}
    found = {}
    for row in read_rows(table):
        names = [text for text in row.values() if re.fullmatch(_SUBJECT, text)]
        centres = [text for column, text in row.items() if re.search("cent(er|re)", column, re.IGNORECASE) and text]
        if names and centres:
            found[names[0]] = centres[0]
    return found
