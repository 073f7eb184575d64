"""Magnetic resonance images of a patient of the twin: what tissue, fluid and stroke look like in DWI, ADC and FLAIR.

The signal equations are those of spin echo and inversion recovery (Bernstein, King and Zhou, Handbook of MRI Pulse
Sequences, 2004, chapters 14 and 17); a voxel's signal is the sum over what is in it, so that the ADC of a voxel with
fluid, and the shine-through of a long T2 in DWI, arise by themselves. Relaxation times and diffusivities are round
figures for 3 T (our choice). Times in ms unless said otherwise, ADC in um2/ms, b in ms/um2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from benchmark.cohort.twin.anatomy import Anatomy
from benchmark.cohort.twin.fields import Field, Grid, smoothstep
from benchmark.cohort.twin.layout import Patient
from benchmark.cohort.twin.patient import Cut, Person, cut_slabs
from benchmark.cohort.twin.perfusion import leukoaraiosis_of, old_infarct_of
from benchmark.cohort.twin.placed import Placed
from benchmark.cohort.twin.stroke import LESION_LN_ML

#: Diffusion weighting of the DWI.
B = 1.0
_DWI_TE, _FLAIR_TE, _FLAIR_TI, _FLAIR_TR = 85.0, 120.0, 2450.0, 9000.0
#: Mean and SD of the natural logarithm of the lesion volume in mL: quartiles near ISLES 2022's 1.6, 6.7 and 21 mL.
_LN_ML = (2.0, 1.5)
#: Share of strokes that are scattered emboli alone.
_EMBOLI_ALONE = 0.1
#: Hours from onset between which FLAIR begins to show the lesion and shows it fully (Thomalla et al., Lancet Neurol
#: 2011: within 4.5 h about half are seen).
_FLAIR_HOURS = (2.0, 24.0)


@dataclass(frozen=True)
class Tissue:
    """A kind of tissue in the scanner."""

    density: float  #: of protons, relative to water
    t1: float
    t2: float
    adc: float


GREY = Tissue(0.82, 1400.0, 95.0, 0.82)
WHITE = Tissue(0.71, 880.0, 76.0, 0.72)
FLUID = Tissue(1.0, 4300.0, 1200.0, 3.0)


@dataclass(frozen=True)
class Exam:
    """How and when a patient was scanned."""

    hours: float  #: from onset to the scan
    restriction: float  #: ADC of the lesion relative to the tissue's, 0.45 to 0.7
    texture: Field  #: unevenness of the restriction
    bias: Field  #: of the receiving coil
    noise: float  #: SD in the DWI relative to healthy grey matter
    emboli: np.ndarray  #: one row for each: rank among the places (0 to 1) and radius in mm; shape (N, 2)
    emboli_alone: bool  #: no other lesion
    lesion_free: bool  #: no stroke was found
    gain: float  #: arbitrary unit of the DWI and of the FLAIR


@dataclass(frozen=True)
class Signals:
    """What the scanner would measure, on the grid of the anatomy; float32, shape (Z, X, Y), healthy grey matter 1."""

    unweighted: np.ndarray  #: b = 0
    weighted: np.ndarray  #: b = `B`
    flair: np.ndarray
    lesion: np.ndarray  #: 1 in the lesion


def draw_exam(rng: np.random.Generator, *, lesion_free: bool) -> Exam:
    """Draw an examination between 2 hours and 5 days from onset."""
    count = int(rng.geometric(0.15)) if rng.random() < 0.8 else 0
    alone = bool(rng.random() < _EMBOLI_ALONE)
    count = max(count, 2) if alone else count
    return Exam(
        hours=float(np.exp(rng.uniform(np.log(2.0), np.log(120.0)))),
        restriction=float(rng.uniform(0.45, 0.7)),
        texture=Field(rng, 6.0),
        bias=Field(rng, 45.0),
        noise=float(rng.uniform(0.02, 0.05)),
        emboli=np.column_stack([rng.random(count), np.clip(rng.lognormal(np.log(3.0), 0.4, count), 1.5, 8.0)]),
        emboli_alone=alone,
        lesion_free=lesion_free,
        gain=float(np.exp(rng.uniform(np.log(150.0), np.log(1500.0)))),
    )


def cut_brain(patient: Patient, person: Person, middle_mm: float) -> Cut:
    """The whole brain of a patient with one slab, whose middle lies at z = `middle_mm`; lesions as large as in MRI."""
    normal = (np.log(person.stroke.lesion_ml) - LESION_LN_ML[0]) / LESION_LN_ML[1]
    lesion_ml = float(np.exp(_LN_ML[0] + _LN_ML[1] * normal))
    stroke = replace(
        person.stroke,
        lesion_ml=lesion_ml,
        hypoperfused_ml=person.stroke.hypoperfused_ml * lesion_ml / person.stroke.lesion_ml,
        emboli=np.empty((0, 2)),
    )
    (cut,) = cut_slabs(patient, replace(person, stroke=stroke, scan=replace(person.scan, centre_mm=middle_mm)))
    return cut


def lesion_of(exam: Exam, cut: Cut) -> np.ndarray:
    """The lesion with its emboli, bool, shape (Z, X, Y): spheres of tissue, four of five in the territory."""
    tissue = cut.anatomy.brain & (cut.anatomy.fluid < 0.25)
    if exam.lesion_free:
        return np.zeros_like(tissue)
    lesion = np.zeros_like(tissue) if exam.emboli_alone else cut.deficit.lesion.copy()
    near = tissue & (cut.deficit.territory > 0.3)
    grid = cut.grid
    for place, (rank, radius) in enumerate(exam.emboli):
        places = np.argwhere(near if near.any() and place % 5 < 4 else tissue)
        k, i, j = places[int(rank * len(places))]
        away = (
            (grid.z_mm - grid.z_mm[k])[:, None, None] ** 2
            + (grid.x_mm - grid.x_mm[i])[None, :, None] ** 2
            + (grid.y_mm - grid.y_mm[j])[None, None, :] ** 2
        )
        lesion |= (away <= radius**2) & tissue
    return lesion


def signals_of(person: Person, exam: Exam, cut: Cut) -> Signals:
    """The signals of a patient's brain, healthy grey matter being 1 in each image."""
    anatomy, grid = cut.anatomy, cut.grid
    lesion = lesion_of(exam, cut)
    soft = _soft(lesion, grid)
    old, damaged = old_infarct_of(person.supply, anatomy), leukoaraiosis_of(person.supply, anatomy, grid)
    age = float(smoothstep(np.log(exam.hours / _FLAIR_HOURS[0]) / np.log(_FLAIR_HOURS[1] / _FLAIR_HOURS[0])))
    # Dead tissue first swells (its ADC falls at once) and takes up water over hours (its T2 rises).
    restriction = 1 - soft * np.clip(1 - exam.restriction - 0.07 * grid.read(exam.texture), 0.25, 0.6)
    unweighted, weighted, flair = (np.zeros(lesion.shape, np.float32) for _ in range(3))
    for tissue, share in _shares(anatomy, old):
        wet = 0.35 * age * soft if tissue is not FLUID else 0.0
        scar = (0.3 * smoothstep(1.5 * damaged**2) if tissue is WHITE else 0.0) + _rim(old)
        t2 = tissue.t2 * (1 + wet + (scar if tissue is not FLUID else 0.0))
        adc = tissue.adc * (restriction if tissue is not FLUID else 1.0) * (1 + (0.35 * scar if tissue is WHITE else 0))
        dwi = share * tissue.density * np.exp(-_DWI_TE / t2)
        unweighted += dwi
        weighted += dwi * np.exp(-B * adc)
        flair += share * tissue.density * _recovery(tissue.t1) * np.exp(-_FLAIR_TE / t2)
    bias = np.exp(0.10 * grid.read(exam.bias))
    decay = GREY.density * np.exp(-_DWI_TE / GREY.t2)
    scale = decay * np.exp(-B * GREY.adc)  # one gain for both: their ratio is the ADC
    flair_scale = GREY.density * _recovery(GREY.t1) * np.exp(-_FLAIR_TE / GREY.t2)
    unweighted, weighted, flair = unweighted * bias / scale, weighted * bias / scale, flair * bias / flair_scale
    return Signals(*(values.astype(np.float32) for values in (unweighted, weighted, flair, lesion)))


def image_diffusion(
    rng: np.random.Generator, placed: Placed, signals: Signals, brain: np.ndarray, exam: Exam, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """DWI (arbitrary unit) and ADC (um2/ms), 0 outside `brain` but for small values of either sign at its border.

    Args:
        rng: source of the noise.
        placed: grid of the images.
        signals: on `grid`.
        brain: bool, of the shape of `placed`.
        exam: of the patient.
        grid: where the signals are.
    """
    unweighted, weighted = (
        _rician(rng, placed.sample(signal, grid), exam.noise) for signal in (signals.unweighted, signals.weighted)
    )
    adc = np.log(np.maximum(unweighted, 1e-3) / np.maximum(weighted, 1e-3)) / B
    # The release was resampled after stripping: interpolation overshoots at the border.
    rim = ndimage.binary_dilation(brain) & ~brain & (rng.random(brain.shape) < 0.2)
    overshoot = rng.normal(0, 0.01, (2, int(rim.sum())))
    images = np.where(brain, weighted, 0.0), np.where(brain, np.clip(adc, 0.02, 4.8), 0.0)
    for image, values in zip(images, overshoot, strict=True):
        image[rim] = values
    # Steps of a power of two keep the files small.
    dwi, adc = (image.astype(np.float64) for image in images)
    return np.rint(dwi * exam.gain * 16) / 16, np.rint(adc * 1024) / 1024


def image_flair(
    rng: np.random.Generator, placed: Placed, signals: Signals, brain: np.ndarray, exam: Exam, grid: Grid
) -> np.ndarray:
    """FLAIR (arbitrary unit), 0 outside `brain`; see `image_diffusion`."""
    flair = _rician(rng, placed.sample(signals.flair, grid), 0.6 * exam.noise)
    return np.where(brain, np.rint(flair * 3 * exam.gain * 4) / 4, 0.0).astype(np.float32)


def _shares(anatomy: Anatomy, old: np.ndarray) -> Sequence[tuple[Tissue, np.ndarray]]:
    """What a voxel holds; an old infarct is a cavity of fluid."""
    cavity = 0.9 * smoothstep(1.6 * old - 0.6)
    grey, white = anatomy.grey * (1 - cavity), anatomy.white * (1 - cavity)
    return (GREY, grey), (WHITE, white), (FLUID, np.clip(anatomy.fluid + cavity * (anatomy.grey + anatomy.white), 0, 1))


def _rim(old: np.ndarray) -> np.ndarray:
    """Scar around the cavity of an old infarct, in T2 relative to the tissue's."""
    return 2.0 * old * (1 - old)


def _recovery(t1: float) -> float:
    """Magnetisation after inversion at the time of the excitation, relative to equilibrium."""
    return float(abs(1 - 2 * np.exp(-_FLAIR_TI / t1) + np.exp(-_FLAIR_TR / t1)))


def _soft(lesion: np.ndarray, grid: Grid) -> np.ndarray:
    """The lesion with a border of about 1 mm, 0 to 1."""
    steps = [abs(axis[1] - axis[0]) for axis in (grid.z_mm, grid.x_mm, grid.y_mm)]
    return ndimage.gaussian_filter(lesion.astype(np.float32), [1.0 / step for step in steps])


def _rician(rng: np.random.Generator, signal: np.ndarray, sd: float) -> np.ndarray:
    """Magnitude of a signal with noise in both channels."""
    noise = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sd)
    return np.hypot(signal + noise[0], noise[1])
