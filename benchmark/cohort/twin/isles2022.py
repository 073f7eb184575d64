"""The twin in the tree of ISLES 2022: DWI, ADC and FLAIR of strokes in two centres, as the release stores them.

As released (see ``leaderboard/cohort/formats/isles2022.py``): the DWI of the larger centre has voxels of 2 mm, that of
the smaller one 1.2 x 1.2 x 4.8 mm; FLAIR has slices of 5 mm on a grid of its own; orders of axes and units of the ADC
differ by case; DWI and ADC are float64, masks uint16 with an sform alone; a few cases have no lesion; beside each image
lies a sidecar, which says scanner, sex and age and which no reader of ours asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.cohort.twin.layout import PartitionKey, Patient, Slab
from benchmark.cohort.twin.mri import cut_brain, draw_exam, image_diffusion, image_flair, signals_of
from benchmark.cohort.twin.patient import cohort_rng, draw_person, patient_rng
from benchmark.cohort.twin.placed import Placed, gzipped_nifti, place, turned

#: Pixels of the larger centre's DWI at full size, and the side that they cover.
_REAL_SIZE, _FIELD_MM = 112, 224.0
#: The brain is made on cubic voxels, finer than the DWI's, within this width, depth and height.
_MODEL_SHARE, _MODEL_MM, _MODEL_HEIGHT_MM, _MODEL_MIDDLE_MM = 0.75, 216.0, 172.0, 4.0
_HEIGHT_MM = 146.0
#: Thickness of the smaller centre's slices and of FLAIR's; where pixels are larger, that of a pixel.
_THICK_MM, _FLAIR_MM = 4.8, 5.0
#: By case in turn, from a start that the seed draws.
_ORIENTATIONS = ("LAS", "RAS", "LPS", "LAS", "RPS")
#: What ADC maps in um2/ms are multiplied with: as they are, in mm2/s, in um2/s.
_ADC_UNITS = (1.0, 1e-3, 1e3)
#: One case in so many is of the smaller centre (52 of 250), and has no lesion (3 of 250; more here, to meet one).
_SMALLER_CENTRE, _LESION_FREE = 5, 12
#: Scanners of each centre; our choice.
_SCANNERS = {1: (("Philips", 3.0), ("Philips", 1.5), ("Siemens", 3.0)), 2: (("Siemens", 1.5), ("Siemens", 3.0))}
_IMAGES = ("dwi", "adc", "FLAIR")


@dataclass(frozen=True)
class Habits:
    """What a case gets in turn, so that a small cohort has everything."""

    centre: int  #: 1 or 2
    orientation: str
    flair_orientation: str
    adc_unit: float
    lesion_free: bool


@dataclass(frozen=True)
class Isles2022:
    """See `Tree`."""

    name: str = "isles2022"
    most: Mapping[PartitionKey, int] = field(default_factory=lambda: {"train": 250, "test": 0})

    def patients(self, partition: PartitionKey, cases: int, size: int) -> Sequence[Patient]:
        """See `Tree`; a patient's slab is the grid of cubes on which the brain is made."""
        step = _MODEL_SHARE * _FIELD_MM / size
        slices, width = round(_MODEL_HEIGHT_MM / step), round(_MODEL_MM / step)
        return [
            Patient(partition, number, (Slab(number, slices, 1, width, (step, step, step), {}),))
            for number in range(1, cases + 1)
        ]

    def files(self, patient: Patient, slab: Slab, with_4d: bool) -> Sequence[str]:
        """See `Tree`."""
        images = [_file(patient, kind) for kind in (*_IMAGES, "msk")]
        return [*images, *(_file(patient, kind, ".json") for kind in _IMAGES)]

    def render(self, patient: Patient, seed: int, with_4d: bool) -> Iterator[tuple[Slab, Mapping[str, bytes]]]:
        """See `Tree`."""
        (slab,) = patient.slabs
        habits = habits_of(patient, seed)
        person = draw_person(patient, seed)
        (rng,) = person.noise_rngs
        exam = draw_exam(rng, lesion_free=habits.lesion_free)
        dwi_grid, flair_grid = _grids(rng, slab.spacing_mm[0] / _MODEL_SHARE, habits, person.scan.centre_mm - 4.0)
        cut = cut_brain(patient, person, _MODEL_MIDDLE_MM)
        signals = signals_of(person, exam, cut)

        brains = [placed.sample(cut.anatomy.brain, cut.grid) > 0.5 for placed in (dwi_grid, flair_grid)]
        dwi, adc = image_diffusion(rng, dwi_grid, signals, brains[0], exam, cut.grid)
        flair = image_flair(rng, flair_grid, signals, brains[1], exam, cut.grid)
        share = dwi_grid.sample(signals.lesion, cut.grid) * brains[0]
        # An embolus smaller than a voxel is drawn where most of it lies.
        mask = (share > min(0.5, 0.99 * float(share.max()))).astype(np.uint16)
        images = {"dwi": dwi, "adc": adc * habits.adc_unit, "msk": mask}
        stored = {kind: turned(image, dwi_grid.affine, habits.orientation) for kind, image in images.items()}
        stored["FLAIR"] = turned(flair, flair_grid.affine, habits.flair_orientation)
        codes = {"msk": {"qform": 0, "sform": 2}, "FLAIR": {"qform": 1, "sform": 1}}
        written = {
            _file(patient, kind): gzipped_nifti(data, affine, **codes.get(kind, {"qform": 2, "sform": 1}))
            for kind, (data, affine) in stored.items()
        }
        sidecar = _sidecar(patient, seed, habits.centre)
        yield slab, written | {_file(patient, kind, ".json"): sidecar for kind in _IMAGES}

    def tables(self, patients: Sequence[Patient], seed: int) -> Mapping[str, bytes]:
        """See `Tree`: which centre a case is of."""
        rows = [f"{_name(patient)},center_{habits_of(patient, seed).centre}\n" for patient in patients]
        return {"center_ids.csv": ("case,center\n" + "".join(rows)).encode()}


TREE = Isles2022()


def habits_of(patient: Patient, seed: int) -> Habits:
    """What a patient gets in turn: a function of (seed, partition, number)."""
    starts = patient.number + cohort_rng(patient, seed, "habits").integers(0, 60, 5)
    return Habits(
        centre=2 if starts[0] % _SMALLER_CENTRE == 0 else 1,
        orientation=_ORIENTATIONS[starts[1] % len(_ORIENTATIONS)],
        flair_orientation=_ORIENTATIONS[starts[2] % len(_ORIENTATIONS)],
        adc_unit=_ADC_UNITS[starts[3] % len(_ADC_UNITS)],
        lesion_free=bool(starts[4] % _LESION_FREE == 0),
    )


def _sidecar(patient: Patient, seed: int, centre: int) -> bytes:
    """What the release says of scanner and patient beside each image, in DICOM's words; drawn apart from the images."""
    rng = patient_rng(patient, seed, "sidecar")
    maker, field_t = _SCANNERS[centre][rng.integers(len(_SCANNERS[centre]))]
    age, sex = int(np.clip(rng.normal(70, 14), 25, 98)), "F" if rng.random() < 0.45 else "M"
    said = {"Manufacturer": maker, "MagneticFieldStrength": field_t, "PatientSex": sex, "PatientAge": f"{age:03d}Y"}
    return (json.dumps(said, indent=2) + "\n").encode()


def _grids(rng: np.random.Generator, pixel_mm: float, habits: Habits, middle_mm: float) -> tuple[Placed, Placed]:
    """The grids of DWI and FLAIR, tilted towards the line between front and back of the skull base."""
    angles = np.clip(rng.normal([8.0, 0.0, 0.0], [4.0, 1.5, 1.5]), -16, 16)
    centre = np.array([*rng.normal(0, 3.0, 2), middle_mm])
    fine = habits.centre == 2
    spacing = (0.6 * pixel_mm, 0.6 * pixel_mm, max(_THICK_MM, pixel_mm)) if fine else (pixel_mm,) * 3
    dwi = place(_shape(spacing), spacing, angles, centre)
    flair_pixel = pixel_mm * float(rng.choice([0.45, 0.5, 0.4]))
    flair_spacing = (flair_pixel, flair_pixel, max(_FLAIR_MM, pixel_mm))
    moved = centre + rng.normal(0, [0.5, 0.5, 0.5])
    return dwi, place(_shape(flair_spacing), flair_spacing, angles + rng.normal(0, [3.0, 1.0, 1.0]), moved)


def _shape(spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    x, y, z = (
        round(length / step) for length, step in zip((_FIELD_MM, _FIELD_MM, _HEIGHT_MM), spacing_mm, strict=True)
    )
    return x, y, z


def _name(patient: Patient) -> str:
    return f"sub-strokecase{patient.number:04d}"


def _file(patient: Patient, kind: str, ending: str = ".nii.gz") -> str:
    """Where an image of a case lies, or the sidecar beside it."""
    name = _name(patient)
    folder = (
        f"derivatives/{name}/ses-0001" if kind == "msk" else f"{name}/ses-0001/{'anat' if kind == 'FLAIR' else 'dwi'}"
    )
    return f"ISLES-2022/{folder}/{name}_ses-0001_{kind}{ending}"
