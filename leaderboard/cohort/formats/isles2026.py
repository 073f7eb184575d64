"""ISLES 2026, which is ATLAS 3.0: T1-weighted images of 1,453 subacute and chronic strokes from 55 sites.

The tree is ``<SITE>/sub-<id>/ses-1/anat/`` with the image (``space-orig_desc-brain_T1w``) and the mask
(``space-orig_label-lesion_desc-T1lesion_mask``) of a subject, on one grid. Axes run in four ways (RAS, LAS, PSR, PSL),
and masks are stored in six types, with values that round to 0 and 1. The site is the centre.
"""

from __future__ import annotations

from pathlib import Path

from leaderboard.cohort.case import Partition
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
from leaderboard.cohort.kinds import kind_named
from leaderboard.cohort.names import natural_key

_SUBJECT = r"sub-(?:r\d{3}s\d{3}|soop\d{4})"
_MASK = "space-orig_label-lesion_desc-T1lesion_mask"
_IMAGES = (kind_named("T1w"),)
#: Cases without a lesion, which is no fault of their reference.
LESION_FREE = frozenset({"sub-r041s108", "sub-r053s016", "sub-r065s002", "sub-soop0910", "sub-soop0961"})


class Isles2026(NamedFormat):
    """See `Format`."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`; cases without any reference are a testing partition."""
        for base in (root, root / "ATLAS3_Training_Raw"):
            if folders := _subjects(base):
                with_mask = any(ending_in(nifti_files(folder), _MASK) for folder in folders)
                return {"training" if with_mask else "testing": base}
        return {}

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`."""
        subjects = []
        for folder in _subjects(self.find(root)[partition]):
            files = nifti_files(folder)
            images = {"T1w": ending_in(files, "space-orig_desc-brain_T1w")}
            subjects.append(Subject(folder.name, folder, images, ending_in(files, _MASK), folder.parent.name))
        return cohort_of(self, root, partition, subjects, _IMAGES, grid="T1w", background="T1w")


FORMAT = Isles2026(
    name="isles2026",
    title="ISLES 2026",
    tree="<SITE>/sub-<id>/ses-1/anat",
    released={"training": 1453},
    known=dict.fromkeys(LESION_FREE, NO_LESION),
)


def _subjects(base: Path) -> list[Path]:
    """The folders of the subjects of all sites, in natural order of their names."""
    sites = sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
    found = (folder for site in sites for folder in subject_folders(site, _SUBJECT) if (folder / "ses-1").is_dir())
    return sorted(found, key=lambda folder: natural_key(folder.name))
