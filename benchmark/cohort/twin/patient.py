"""One patient of the twin: everything drawn, then every slab imaged (the recipe in docs/twin/README.md, end to end).

A patient is a function of (seed, partition, patient number) alone: which others are written, in what order and by
how many processes makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.cohort.twin.anatomy import Anatomy, Head, crop, cut_slab, draw_head, head_box
from benchmark.cohort.twin.fields import Grid, blur, correlated_noise, gaussian_matrix
from benchmark.cohort.twin.layout import Patient, Slab
from benchmark.cohort.twin.lesion import Deficit, strike
from benchmark.cohort.twin.maps import STORED_SCALE, perfusion_maps
from benchmark.cohort.twin.perfusion import (
    TABLE_STEP_S,
    Perfusion,
    Supply,
    arterial_input,
    draw_supply,
    enhancement,
    perfuse,
)
from benchmark.cohort.twin.stroke import Stroke, draw_stroke

#: SD in mm of the noise's correlation in plane, and of the smoothing that the scanner's software applies.
NOISE_SD_MM, VENDOR_SD_MM = 1.2, 1.7
#: What the skull adds to the CT of the brain at its surface; it falls to a third within 5 mm.
BEAM_HARDENING_HU = 14.0
#: What a scanner of 12 bits stores at most; metal.
LARGEST_HU = 3071


@dataclass(frozen=True)
class Scan:
    """How a patient was scanned."""

    centre_mm: float  #: z of the middle of all slabs, in the scanner
    aif_scale: float  #: arterial enhancement relative to the phantom's
    noise_hu: float  #: SD of the noise in the perfusion series, before smoothing
    ct_noise_hu: float  #: SD of the noise in the CT
    early_sign_hu: float  #: hypodensity of the lesion in the CT
    metal: tuple[float, float] | None  #: azimuth in radians and z in head mm of a metal plate in the skull, or None


@dataclass(frozen=True)
class Person:
    """What is drawn of a patient, before any image."""

    scan: Scan
    head: Head
    stroke: Stroke
    supply: Supply
    noise_rngs: tuple[np.random.Generator, ...]  #: one for the images of each slab


@dataclass(frozen=True)
class Cut:
    """One slab's tissue and stroke."""

    slab: Slab
    whole: Anatomy  #: on the whole image grid
    box: tuple[slice, slice]  #: the part of the image that holds brain; the rest is within it
    grid: Grid
    anatomy: Anatomy
    deficit: Deficit


@dataclass(frozen=True)
class Images:
    """The images of one case; shape (X, Y, Z), types and units as the real cohort stores them."""

    #: ``CT`` (int32, HU), ``CT_CBF`` and ``CT_CBV`` (uint16), ``CT_MTT`` and ``CT_Tmax`` (float64, s) and, where asked
    #: for, ``CT_4DPWI`` (float32, HU, shape (X, Y, Z, T))
    by_kind: dict[str, np.ndarray]
    reference: np.ndarray  #: uint8, {0, 1}


def draw_scan(rng: np.random.Generator, height_mm: float) -> Scan:
    """Draw a scan that covers `height_mm` (step 1: where the slabs lie; steps 9 and 11: noise)."""
    low, high = (5.0, 15.0) if height_mm >= 60 else (-2.0, 22.0)
    return Scan(
        centre_mm=float(rng.uniform(low, high)),
        aif_scale=float(rng.uniform(0.7, 1.1)),
        noise_hu=float(rng.uniform(2.5, 5.0)),
        ct_noise_hu=float(rng.uniform(6.0, 11.0)),
        early_sign_hu=float(rng.uniform(0.5, 3.0)),
        metal=(float(rng.uniform(-np.pi, np.pi)), float(rng.normal(0.0, 15.0))) if rng.random() < 0.15 else None,
    )


def strata_of(patient: Patient, seed: int) -> np.ndarray:
    """Three numbers in [0, 1), each of them spread evenly over the patients of a cohort.

    An additive recurrence: the fraction of start + number * step, where the steps are badly approximable by ratios
    (the golden ratio and square roots), so that any run of patients is spread evenly; the seed moves the start.
    """
    start = np.random.default_rng(np.random.SeedSequence(_cohort_key(patient, seed))).random(3)
    return (start + patient.number * np.sqrt([1.25, 2.0, 3.0])) % 1.0


def cohort_rng(patient: Patient, seed: int, purpose: str) -> np.random.Generator:
    """A source of numbers that all patients of a partition share, apart from every other source."""
    key = [*_cohort_key(patient, seed), *purpose.encode()]
    return np.random.default_rng(np.random.SeedSequence(key, spawn_key=(1,)))


def patient_rng(patient: Patient, seed: int, purpose: str) -> np.random.Generator:
    """A source of numbers for one patient, apart from every other source: what is drawn of it moves no other byte."""
    key = [*_cohort_key(patient, seed), patient.number, *purpose.encode()]
    return np.random.default_rng(np.random.SeedSequence(key, spawn_key=(2,)))


def _cohort_key(patient: Patient, seed: int) -> list[int]:
    return [seed, {"train": 0, "test": 1}[patient.partition]]


def draw_person(patient: Patient, seed: int) -> Person:
    """Draw a patient, the same one whatever format the images are for (but for where in height the scan lies)."""
    streams = np.random.SeedSequence([*_cohort_key(patient, seed), patient.number]).spawn(4 + len(patient.slabs))
    scan_rng, head_rng, stroke_rng, supply_rng, *noise_rngs = (np.random.default_rng(stream) for stream in streams)
    scan = draw_scan(scan_rng, patient.height_mm)
    head, stroke = draw_head(head_rng), draw_stroke(stroke_rng, strata_of(patient, seed))
    low, high = scan.centre_mm - patient.height_mm / 2, scan.centre_mm + patient.height_mm / 2
    supply = draw_supply(supply_rng, (max(low, -20.0), min(high, 45.0)))
    return Person(scan, head, stroke, supply, tuple(noise_rngs))


def cut_slabs(patient: Patient, person: Person) -> list[Cut]:
    """The tissue of a patient's slabs, and the stroke in all of them."""
    whole, boxes, grids, anatomies = [], [], [], []
    for slab, centre in zip(patient.slabs, patient.centres_mm(person.scan.centre_mm), strict=True):
        anatomy = cut_slab(person.head, slab, centre)
        box = head_box(anatomy.brain)
        whole.append(anatomy)
        boxes.append(box)
        grids.append(Grid(slab.z_mm(centre), slab.x_mm[box[0]], slab.y_mm[box[1]], slab.spacing_mm[:2]))
        anatomies.append(crop(anatomy, box))
    deficits = strike(person.stroke, patient.slabs, anatomies, grids)
    return [Cut(*parts) for parts in zip(patient.slabs, whole, boxes, grids, anatomies, deficits, strict=True)]


def simulate(patient: Patient, seed: int, with_4d: bool = False) -> list[Images]:
    """The images of each slab of a patient, in the order of `patient.slabs`; `with_4d` adds the perfusion series."""
    person = draw_person(patient, seed)
    images = []
    for cut, rng in zip(cut_slabs(patient, person), person.noise_rngs, strict=True):
        perfusion = perfuse(person.supply, person.stroke, cut.deficit, cut.anatomy, cut.grid)
        ct = image_ct(rng, cut.slab, cut.whole, cut.box, cut.deficit, perfusion, person.scan)
        by_kind = image_perfusion(
            rng, cut.slab, cut.anatomy, cut.grid, cut.box, perfusion, person.scan, ct if with_4d else None
        )
        by_kind["CT"] = ct
        reference = np.zeros(cut.whole.brain.shape, dtype=np.uint8)
        reference[:, *cut.box] = cut.deficit.reference
        images.append(
            Images({kind: np.moveaxis(image, 0, 2) for kind, image in by_kind.items()}, np.moveaxis(reference, 0, 2))
        )
    return images


def image_ct(
    rng: np.random.Generator,
    slab: Slab,
    anatomy: Anatomy,
    box: tuple[slice, slice],
    deficit: Deficit,
    perfusion: Perfusion,
    scan: Scan,
) -> np.ndarray:
    """The unenhanced CT, not skull stripped (step 11); int32 HU, shape (Z, X, Y)."""
    hu = 41 * anatomy.grey + 36 * anatomy.white + 14 * anatomy.fluid + anatomy.outer_hu
    hu += BEAM_HARDENING_HU * np.exp(-np.clip(anatomy.depth_mm, 0, None) / 5.0) * anatomy.brain
    early = scan.early_sign_hu * blur(deficit.lesion, slab.spacing_mm[:2], 2.0) + 14 * perfusion.old_infarct
    hu[:, *box] -= early * anatomy.brain[:, *box]
    if scan.metal is not None:
        azimuth, z = scan.metal
        along = np.cos(np.arctan2(anatomy.head_mm[1], anatomy.head_mm[0]) - azimuth) > np.cos(np.deg2rad(6.0))
        hu[(anatomy.outer_hu > 500) & along & (np.abs(anatomy.head_mm[2] - z) < 8.0)] = LARGEST_HU
    noise = correlated_noise(rng, slab.x_mm, slab.y_mm, slab.slices, 0.8)
    return np.rint(hu + scan.ct_noise_hu * noise * anatomy.head).clip(max=LARGEST_HU).astype(np.int32)


def image_perfusion(
    rng: np.random.Generator,
    slab: Slab,
    anatomy: Anatomy,
    grid: Grid,
    box: tuple[slice, slice],
    perfusion: Perfusion,
    scan: Scan,
    baseline: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The perfusion maps of a slab by kind, shape (Z, X, Y), 0 outside the brain (steps 9 and 10).

    Anatomy, grid and perfusion are those inside `box`, the part of the image that holds brain. With a `baseline`, the
    CT, the time series (Z, X, Y, T) comes too: the smoothed enhancement added to it.
    """
    times = slab.frame_s * np.arange(slab.frames)
    aif = arterial_input(scan.aif_scale)[0][np.round(times / TABLE_STEP_S).astype(int)]
    shape = (slab.slices, slab.size, slab.size)
    by_kind: dict[str, np.ndarray] = {
        "CT_CBF": np.zeros(shape, np.uint16),
        "CT_CBV": np.zeros(shape, np.uint16),
        "CT_MTT": np.zeros(shape, np.float64),
        "CT_Tmax": np.zeros(shape, np.float64),
    }
    if baseline is not None:
        by_kind["CT_4DPWI"] = np.repeat(baseline[..., None], slab.frames, axis=3).astype(np.float32)
    for layer in range(slab.slices):
        brain = anatomy.brain[layer]
        if not brain.any():
            continue
        curves = _smoothed_curves(rng, perfusion, layer, brain, grid, times, scan)
        maps = perfusion_maps(np.ascontiguousarray(curves[:, brain]), aif, slab.frame_s)
        values = {
            "CT_CBF": np.clip(np.rint(STORED_SCALE * maps.cbf), 1, 65535),
            "CT_CBV": np.rint(STORED_SCALE * maps.cbv),
            # Two decimals: what differs between processors' arithmetic stays below them.
            "CT_MTT": np.round(maps.mtt_s.astype(np.float64), 2),
            "CT_Tmax": np.round(maps.tmax_s.astype(np.float64), 2),
        }
        for kind, inside in values.items():
            by_kind[kind][layer, *box][brain] = inside
        if baseline is not None:
            by_kind["CT_4DPWI"][layer, *box][brain] += curves[:, brain].T
    return by_kind


def _smoothed_curves(
    rng: np.random.Generator,
    perfusion: Perfusion,
    layer: int,
    brain: np.ndarray,
    grid: Grid,
    times_s: np.ndarray,
    scan: Scan,
) -> np.ndarray:
    """Enhancement of a slice with noise, after the software's smoothing inside the brain; HU, shape (T, X, Y).

    Smoothing white noise of kernel SD a by a kernel of SD b gives kernel SD c = sqrt(a^2 + b^2) and a / c of its SD
    in the plane, so the smoothed noise is drawn as such, independent of the pixel size.
    """
    curves = np.zeros((*brain.shape, times_s.size), dtype=np.float32)
    curves[brain] = enhancement(
        perfusion.cbf[layer][brain],
        perfusion.mtt_s[layer][brain],
        perfusion.delay_s[layer][brain],
        perfusion.vessel[layer][brain],
        times_s,
        scan.aif_scale,
    )
    curves = np.ascontiguousarray(np.moveaxis(curves, 2, 0))
    gx = gaussian_matrix(brain.shape[0], VENDOR_SD_MM / grid.spacing_mm[0])
    gy = gaussian_matrix(brain.shape[1], VENDOR_SD_MM / grid.spacing_mm[1])
    weight = np.maximum(gx @ brain.astype(np.float32) @ gy, np.float32(1e-3))
    smooth = gx @ curves @ gy / weight
    kernel = float(np.hypot(NOISE_SD_MM, VENDOR_SD_MM))
    noise = correlated_noise(rng, grid.x_mm, grid.y_mm, times_s.size, kernel)
    return smooth + np.float32(scan.noise_hu * NOISE_SD_MM / kernel) * noise
