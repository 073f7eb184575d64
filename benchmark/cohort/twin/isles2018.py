"""The twin in the tree of ISLES 2018, with the real files' names and headers.

Header facts of the real files: the affine is the identity (sform code 2, qform code 0), the spacing stands in
``pixdim`` alone, ``scl_slope`` is nan, units are mm and s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np

from benchmark.cohort.twin.layout import PartitionKey, Patient, Slab, patients_of
from benchmark.cohort.twin.patient import simulate
from leaderboard.cohort.formats.isles2018 import FORMAT
from leaderboard.cohort.names import case_name

#: Folder of the test cases' references; the real ones were never published.
TEST_REFERENCES = "TESTING_REFERENCES"
_FOLDERS: dict[PartitionKey, str] = {"train": "TRAINING", "test": "TESTING"}


@dataclass(frozen=True)
class Isles2018:
    """See `Tree`."""

    name: str = FORMAT.name
    most: Mapping[PartitionKey, int] = field(default_factory=lambda: {"train": 94, "test": 62})

    def patients(self, partition: PartitionKey, cases: int, size: int) -> Sequence[Patient]:
        """See `Tree`; slices, spacing, ids and patients are those of the real cases."""
        return patients_of(partition, cases, size)

    def files(self, patient: Patient, slab: Slab, with_4d: bool) -> Sequence[str]:
        """See `Tree`."""
        kinds = (*(kind.name for kind in FORMAT.images), "OT", *(["CT_4DPWI"] if with_4d else []))
        return [_file(patient.partition, slab, kind) for kind in kinds]

    def render(self, patient: Patient, seed: int, with_4d: bool) -> Iterator[tuple[Slab, Mapping[str, bytes]]]:
        """See `Tree`."""
        for slab, images in zip(patient.slabs, simulate(patient, seed, with_4d), strict=True):
            yield (
                slab,
                {
                    _file(patient.partition, slab, kind): nifti_bytes(
                        data, (*slab.spacing_mm, slab.frame_s)[: data.ndim]
                    )
                    for kind, data in (images.by_kind | {"OT": images.reference}).items()
                },
            )

    def tables(self, patients: Sequence[Patient], seed: int) -> Mapping[str, bytes]:
        """See `Tree`; the release has none."""
        return {}


TREE = Isles2018()


def nifti_bytes(data: np.ndarray, spacing_mm: Sequence[float]) -> bytes:
    """An uncompressed NIfTI-1 file with the header of the real cohort's files.

    Args:
        data: shape (X, Y, Z) or (X, Y, Z, T); its type is stored as it is.
        spacing_mm: voxel size along each axis (the time between frames in s along T).
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_zooms(spacing_mm)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(np.eye(4), code=2)
    header["qform_code"] = 0
    return nib.Nifti1Image(data, None, header).to_bytes()


def _file(partition: PartitionKey, slab: Slab, kind: str) -> str:
    """Where an image of a case lies; ``OT`` of a test case lies outside ``TESTING``."""
    if kind == "OT" and partition == "test":
        return f"{TEST_REFERENCES}/{case_name(slab.case)}.nii"
    name = f"SMIR.Brain.XX.O.{kind}.{slab.ids[kind]}"
    return f"{_FOLDERS[partition]}/{case_name(slab.case)}/{name}/{name}.nii"
