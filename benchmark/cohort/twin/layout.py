"""Which patients and slabs the twin holds: the real cohort's table turned into pixel grids.

Case k of the twin takes row k of the table of the real cohort: image ids, slices, frames, spacing, and the patient
to whom it belongs. So patients with one and with two slabs arise as they do in the real cohort.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from leaderboard.cohort.formats.isles2018 import FORMAT, case_table

#: The partitions as the table names them.
PartitionKey = Literal["train", "test"]
#: Matrix of the real images; the table's in-plane spacing belongs to it.
REAL_SIZE = 256
#: Shortest time that the perfusion scan covers; with fewer frames than seconds, frames are further apart.
SHORTEST_SCAN_S = 43.0


@dataclass(frozen=True)
class Slab:
    """One case: a stack of slices of one patient."""

    case: int  #: number of the case within its partition
    slices: int  #: number of slices
    frames: int  #: number of frames of the perfusion scan
    size: int  #: pixels along X and along Y
    spacing_mm: tuple[float, float, float]  #: voxel size along X, Y and Z
    ids: dict[str, int]  #: image id by kind (``CT``, ``CT_CBF``, ..., and ``OT`` for training cases)

    @property
    def height_mm(self) -> float:
        """Length of the slab along Z."""
        return self.slices * self.spacing_mm[2]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def frame_s(self) -> float:
        """Time between frames: 1 s, or tenths more where the frames would cover less than `SHORTEST_SCAN_S`."""
        return max(1.0, math.ceil(10 * SHORTEST_SCAN_S / self.frames) / 10)

    @property
    def x_mm(self) -> np.ndarray:
        """Pixel centres along X, from the patient's right to left; shape (size,)."""
        return (np.arange(self.size) - (self.size - 1) / 2) * self.spacing_mm[0]

    @property
    def y_mm(self) -> np.ndarray:
        """Pixel centres along Y, from front to back, as distance to the front of the centre; shape (size,)."""
        return -(np.arange(self.size) - (self.size - 1) / 2) * self.spacing_mm[1]

    def z_mm(self, centre_mm: float) -> np.ndarray:
        """Slice centres from bottom to top for a slab centred at `centre_mm`; shape (slices,)."""
        return centre_mm + (np.arange(self.slices) - (self.slices - 1) / 2) * self.spacing_mm[2]


@dataclass(frozen=True)
class Patient:
    """One patient with all slabs that the real cohort has of this patient."""

    partition: PartitionKey  #: ``train`` or ``test``
    number: int  #: number of the patient within the partition
    slabs: tuple[Slab, ...]  #: one or two, from bottom to top, contiguous

    @property
    def height_mm(self) -> float:
        """Length of all slabs together along Z."""
        return sum(slab.height_mm for slab in self.slabs)

    def centres_mm(self, middle_mm: float) -> list[float]:
        """Z of the middle of each slab, stacked without gap or overlap about `middle_mm`."""
        bottoms = middle_mm - self.height_mm / 2 + np.cumsum([0.0, *(slab.height_mm for slab in self.slabs)])
        return [float(bottom + slab.height_mm / 2) for bottom, slab in zip(bottoms, self.slabs, strict=False)]


def patients_of(partition: PartitionKey, cases: int, size: int) -> list[Patient]:
    """Patients who own the first `cases` cases of a partition, each with all their slabs.

    A patient keeps both slabs although `cases` may cut between them, so that a case does not depend on `cases`.

    Args:
        partition: ``train`` or ``test``.
        cases: number of cases wanted, from case 1 on.
        size: pixels along X and Y; the field of view is that of the real case.

    Returns:
        Patients in the order of their first case.
    """
    table = case_table()
    records: list[dict[Any, Any]] = table.to_dict("records")
    donors = [row for row in records if row["partition"] == "train"]
    rows = _with_spacing([row for row in records if row["partition"] == partition], donors)
    wanted = dict.fromkeys(int(row["patient"]) for row in rows if row["case"] <= cases)
    return [
        Patient(partition, number, tuple(_slab(row, size) for row in rows if row["patient"] == number))
        for number in wanted
    ]


def _with_spacing(rows: list[dict[Any, Any]], donors: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    """Rows with a spacing; a row without one takes it from a training case.

    The donor has the same number of slices and, where there are such, of frames; patient k takes the k-th donor,
    in turn (so two slabs of equal slices and frames get one spacing).
    """
    filled = []
    for row in rows:
        if np.isnan(row["dx_mm"]):
            alike = [donor for donor in donors if donor["slices"] == row["slices"]]
            alike = [donor for donor in alike if donor["frames"] == row["frames"]] or alike
            donor = alike[int(row["patient"]) % len(alike)]
            row = row | {key: donor[key] for key in ("dx_mm", "dy_mm", "dz_mm")}
        filled.append(row)
    return filled


def _slab(row: dict[Any, Any], size: int) -> Slab:
    shrink = REAL_SIZE / size
    ids = {kind.name: int(row[f"id_{kind.name.lower()}"]) for kind in FORMAT.images}
    if not np.isnan(row["id_ot"]):
        ids["OT"] = int(row["id_ot"])
    # Known real ids of the time series (cases 1 and 3, test case 1) are the id of the CT less one.
    ids["CT_4DPWI"] = ids["CT"] - 1
    return Slab(
        case=int(row["case"]),
        slices=int(row["slices"]),
        frames=int(row["frames"]),
        size=size,
        spacing_mm=(float(row["dx_mm"]) * shrink, float(row["dy_mm"]) * shrink, float(row["dz_mm"])),
        ids=ids,
    )
