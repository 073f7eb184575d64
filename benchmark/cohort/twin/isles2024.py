"""The twin in the tree of ISLES 2024: CT, CT angiography and perfusion maps, and the infarct on the follow-up MRI.

As released (see ``leaderboard/cohort/formats/isles2024.py``): the CT lies in ``raw_data`` alone, what is in
``derivatives`` on its grid with an affine that differs in the last digit; Tmax is -30 outside the brain and MTT holds
voxels that no tissue has; a mask's 1 is stored as 65535 with a slope of 1/65535, which makes 0.99999999977; numbers of
cases have gaps; tables say patient and centre. The series of the CT perfusion, on the grid of the CT, comes on request.
What else no reader of ours asks for is left out: series and maps on their own grid, the follow-up MRI itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmark.cohort.twin.layout import PartitionKey, Patient, Slab
from benchmark.cohort.twin.maps import STORED_SCALE
from benchmark.cohort.twin.patient import (
    Cut,
    Person,
    cohort_rng,
    cut_slabs,
    draw_person,
    image_ct,
    image_perfusion,
)
from benchmark.cohort.twin.perfusion import Perfusion, arterial_input, perfuse
from benchmark.cohort.twin.placed import gzipped_nifti, turned

_REAL_SIZE, _FIELD_MM, _HEIGHT_MM = 512, 215.0, 148.0
#: Thickness of slices at full size, and the most that it grows to in smaller images.
_THICK_MM, _THICKEST_MM = 2.0, 5.0
_FRAMES = 45
_AIR_HU = -1000.0
TMAX_OUTSIDE_S = -30.0
_ORIENTATIONS = ("LAS", "LPS", "RAS")
_CENTRES = ("Munich", "Munich", "Zurich")
_MAPS = ("tmax", "mtt", "cbf", "cbv")


@dataclass(frozen=True)
class Isles2024:
    """See `Tree`."""

    name: str = "isles2024"
    most: Mapping[PartitionKey, int] = field(default_factory=lambda: {"train": 149, "test": 0})

    def patients(self, partition: PartitionKey, cases: int, size: int) -> Sequence[Patient]:
        """See `Tree`; a patient's slab is the grid of the CT."""
        pixel = _FIELD_MM / size
        thick = min(_THICK_MM * _REAL_SIZE / size, _THICKEST_MM)
        found = []
        for number in range(1, cases + 1):
            slices = round(_HEIGHT_MM / thick) + number % 3
            found.append(Patient(partition, number, (Slab(number, slices, _FRAMES, size, (pixel, pixel, thick), {}),)))
        return found

    def files(self, patient: Patient, slab: Slab, with_4d: bool) -> Sequence[str]:
        """See `Tree`."""
        series = ("ctp",) if with_4d else ()
        kinds = ("ncct", "cta", *_MAPS, "lesion-msk", "demographic_baseline", "outcome", *series)
        return [_file(patient, kind) for kind in kinds]

    def render(self, patient: Patient, seed: int, with_4d: bool) -> Iterator[tuple[Slab, Mapping[str, bytes]]]:
        """See `Tree`."""
        person = draw_person(patient, seed)
        person = replace(person, head=replace(person.head, background_hu=_AIR_HU))
        (cut,) = cut_slabs(patient, person)
        (rng,) = person.noise_rngs
        affine, codes, centre = _header(patient, seed, cut)
        written = {}
        for kind, data in _images(rng, person, cut, with_4d).items():
            # Axes of the simulation run to the left, to the back and up.
            image, matrix = turned(np.moveaxis(data, 0, 2), affine, codes)
            if kind != "ncct":
                matrix = matrix.copy()
                matrix[:3, 3] = np.nextafter(matrix[:3, 3].astype(np.float32), np.float32(np.inf))
            slope = 1 / 65535 if kind == "lesion-msk" else np.nan
            written[_file(patient, kind)] = gzipped_nifti(image, matrix, slope=slope, frame_s=cut.slab.frame_s)
        lesion_ml = float(cut.deficit.reference.sum()) * cut.slab.voxel_ml
        written |= {_file(patient, kind): text for kind, text in _tables(rng, centre, lesion_ml).items()}
        yield cut.slab, written

    def tables(self, patients: Sequence[Patient], seed: int) -> Mapping[str, bytes]:
        """See `Tree`; each patient has tables of his own."""
        return {}


TREE = Isles2024()


def _header(patient: Patient, seed: int, cut: Cut) -> tuple[np.ndarray, str, str]:
    """The affine of the simulation's axes, how they are stored, and the centre; a function of the patient."""
    rng = cohort_rng(patient, seed, "habits")
    starts = patient.number + rng.integers(0, 60, 2)
    slab = cut.slab
    affine = np.diag([-slab.spacing_mm[0], -slab.spacing_mm[1], slab.spacing_mm[2], 1.0])
    table_mm = np.array([0.3, -0.7, 11.0]) * (patient.number % 40)  # where the scanner's table stood
    affine[:3, 3] = np.array([-slab.x_mm[0] - 4.0, slab.y_mm[0] - 150.0, cut.grid.z_mm[0] - 600.0]) + table_mm
    return affine, _ORIENTATIONS[starts[0] % len(_ORIENTATIONS)], _CENTRES[starts[1] % len(_CENTRES)]


def _images(rng: np.random.Generator, person: Person, cut: Cut, with_4d: bool) -> dict[str, np.ndarray]:
    """Images and reference by kind, shape (Z, X, Y); the series, if it is asked for, (Z, X, Y, T)."""
    perfusion = perfuse(person.supply, person.stroke, cut.deficit, cut.anatomy, cut.grid)
    ct = image_ct(rng, cut.slab, cut.whole, cut.box, cut.deficit, perfusion, person.scan)
    maps = image_perfusion(
        rng, cut.slab, cut.anatomy, cut.grid, cut.box, perfusion, person.scan, ct if with_4d else None
    )
    brain = maps["CT_CBF"] > 0
    reference = np.zeros(ct.shape, np.uint16)
    reference[:, *cut.box] = np.where(cut.deficit.reference, 65535, 0)
    series = {"ctp": np.rint(maps["CT_4DPWI"]).astype(np.int16)} if with_4d else {}
    return series | {
        "ncct": ct.astype(np.int16),
        "cta": _angiography(ct, person, cut, perfusion),
        "tmax": np.where(brain, maps["CT_Tmax"], TMAX_OUTSIDE_S).astype(np.float32),
        "mtt": _with_outliers(rng, maps["CT_MTT"].astype(np.float32), brain),
        "cbf": (maps["CT_CBF"] / STORED_SCALE).astype(np.float32),
        "cbv": (maps["CT_CBV"] / STORED_SCALE).astype(np.float32),
        "lesion-msk": reference,
    }


def _angiography(ct: np.ndarray, person: Person, cut: Cut, perfusion: Perfusion) -> np.ndarray:
    """The CT with contrast agent at its arterial peak in vessels, less beyond the occlusion, and in tissue; HU."""
    peak = float(arterial_input(person.scan.aif_scale)[0].max())
    blood = 1.4 * perfusion.vessel * (1 - 0.9 * cut.deficit.severity) + 0.2 * perfusion.cbf * perfusion.mtt_s / 6000
    angiography = ct.astype(np.float32)
    angiography[:, *cut.box] += np.rint(peak * blood)
    return angiography


def _with_outliers(rng: np.random.Generator, mtt: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """MTT with a few voxels that the division of CBV by a CBF near 0 left behind."""
    places = np.argwhere(brain)
    chosen = places[rng.integers(0, len(places), 8)]
    for place, value in zip(chosen, (np.nan, np.nan, np.inf, -np.inf, np.nan, -54112.0, 811.0, -3.5), strict=True):
        mtt[tuple(place)] = value
    return mtt


def _tables(rng: np.random.Generator, centre: str, lesion_ml: float) -> dict[str, bytes]:
    """The patient's tables: what is known at admission, and after three months."""
    age, woman = int(np.clip(rng.normal(72, 12), 30, 98)), rng.random() < 0.5
    score = int(np.clip(rng.normal(6 + 2.5 * np.log1p(lesion_ml), 3), 1, 35))
    outcome = int(np.clip(round(rng.normal(score / 5, 1)), 0, 6))
    baseline = f"Center,Age,Sex,NIHSS at admission\n{centre},{age},{'F' if woman else 'M'},{score}\n"
    return {"demographic_baseline": baseline.encode(), "outcome": f"mRS 3 months\n{outcome}\n".encode()}


def _file(patient: Patient, kind: str) -> str:
    """Where a file of a case lies; one number in five has no case."""
    name = f"sub-stroke{patient.number + patient.number // 4:04d}"
    session = "ses-02" if kind in ("lesion-msk", "outcome") else "ses-01"
    stem = f"{name}/{session}/{name}_{session}"
    if kind in ("demographic_baseline", "outcome"):
        return f"train/phenotype/{stem}_{kind}.csv"
    if kind == "ncct":
        return f"train/raw_data/{stem}_ncct.nii.gz"
    if kind in _MAPS:
        return f"train/derivatives/{name}/{session}/perfusion-maps/{name}_{session}_space-ncct_{kind}.nii.gz"
    return f"train/derivatives/{stem}_space-ncct_{kind}.nii.gz"
