"""ISLES 2024: CT, CT angiography and perfusion maps at admission, the infarct on the follow-up MRI; 149 cases.

What is released differs from its documents: cases are ``sub-stroke<NNNN>``, sessions ``ses-01`` (admission) and
``ses-02`` (follow-up), below ``train/raw_data`` and ``train/derivatives``. The non-contrast CT lies in ``raw_data``
alone and is the grid of everything in ``derivatives`` whose name has ``space-ncct``.

The maps hold values that no tissue has (Tmax of -30 outside the brain, MTT of -54,112, voxels that are not finite), so
they are clipped when they are read. The tables of the patients (``phenotype``) say the centre; they are CSV in early
versions and workbooks in later ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from leaderboard.cohort.case import Partition
from leaderboard.cohort.formats.interface import Cohort
from leaderboard.cohort.formats.subjects import (
    NamedFormat,
    Subject,
    cohort_of,
    ending_in,
    nifti_files,
    subject_folders,
)
from leaderboard.cohort.formats.tables import find_table, read_rows
from leaderboard.cohort.kinds import kind_named

_SUBJECT = r"sub-stroke\d{4}"
_RAW = ("raw_data", "rawdata")
#: Seconds; no tissue has more.
_LONGEST_S = 60.0
_IMAGES = (
    kind_named("NCCT"),
    kind_named("CTA"),
    kind_named("Tmax", repaired=(0.0, _LONGEST_S)),
    kind_named("MTT", repaired=(0.0, _LONGEST_S)),
    kind_named("CBF", repaired=(0.0, 1e4)),
    kind_named("CBV", repaired=(0.0, 1e4)),
)
_KNOWN = {
    "sub-stroke0043": "its CBF map is truncated in the release (18.5 kB): leave the case out or get a later version",
    "sub-stroke0113": "its MTT map has 302,261 voxels that are not finite in the release: they are read as 0",
    "sub-stroke0142": "the release has a second mask in the grid of the MRI: the one in space-ncct is read",
}


class Isles2024(NamedFormat):
    """See `Format`."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`; cases without any reference are a testing partition."""
        for base in (root, root / "train"):
            folders = [folder for raw in _RAW for folder in subject_folders(base / raw, _SUBJECT)]
            if any((folder / "ses-01").is_dir() for folder in folders):
                masks = (base / "derivatives").rglob("*lesion-msk.nii*")
                return {"training" if any(masks) else "testing": base}
        return {}

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`."""
        base = self.find(root)[partition]
        subjects = []
        for folder in (folder for raw in _RAW for folder in subject_folders(base / raw, _SUBJECT)):
            derived = base / "derivatives" / folder.name
            registered = nifti_files(derived / "ses-01")
            images = {"NCCT": ending_in(nifti_files(folder / "ses-01"), "ncct")}
            images |= {kind.name: ending_in(registered, f"space-ncct_{kind.name}") for kind in _IMAGES[1:]}
            # A mask without space-ncct is that of early versions, or a stray one in the grid of the MRI (.nii).
            masks = [path for path in nifti_files(derived / "ses-02") if path.suffix == ".gz"]
            references = ending_in(masks, "space-ncct_lesion-msk") or ending_in(masks, "lesion-msk")
            subjects.append(Subject(folder.name, folder, images, references, _centre(base, folder.name)))
        return cohort_of(self, root, partition, subjects, _IMAGES, grid="NCCT", background="Tmax")


FORMAT = Isles2024(
    name="isles2024",
    title="ISLES 2024",
    tree="raw_data/sub-stroke<NNNN>/ses-01 beside derivatives",
    released={"training": 149},
    known=_KNOWN,
)


def _centre(base: Path, subject: str) -> str | None:
    """The centre that a patient's table says."""
    folder = base / "phenotype" / subject / "ses-01"
    table = find_table((folder,), f"{subject}_ses-01_demographic_baseline")
    for row in read_rows(table) if table else []:
        for column, text in row.items():
            if re.fullmatch("cent(er|re)", column.strip(), re.IGNORECASE) and text:
                return text
    return None
