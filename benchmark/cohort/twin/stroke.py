"""What is drawn of a patient's stroke, once for all slabs (steps 3 to 6 of the recipe in docs/twin/README.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from benchmark.cohort.twin.fields import Field

#: Occlusion: probability, azimuths (degrees, 0 = lateral, 90 = front) and |x| beyond which its territory lies.
OCCLUSIONS: dict[str, tuple[float, float, float, float]] = {
    "M1": (0.55, -52.0, 56.0, 13.0),
    "M2 superior": (0.17, -2.0, 56.0, 13.0),
    "M2 inferior": (0.13, -52.0, 4.0, 13.0),
    "ICA": (0.15, -52.0, 90.0, 1.0),
}
#: Mean and SD of the natural logarithm of the lesion volume in mL.
LESION_LN_ML = (2.70, 1.3)


@dataclass(frozen=True)
class Stroke:
    """What is drawn once for each patient; every slab reads the fields."""

    occlusion: str  #: key of `OCCLUSIONS`
    side: int  #: +1 left, -1 right
    lesion_ml: float  #: wanted lesion volume of each slab
    hypoperfused_ml: float  #: wanted hypoperfused volume of each slab
    peak: float  #: severity of the core, 0 to 1
    coupling: float  #: extra severity inside the lesion
    flow_left: float  #: share of the deficit still there at the scan (1 unless reperfused)
    delay_left: float  #: share of the extra delay still there
    reopened_field: Field  #: where it is high, a branch has reopened and the deficit is mostly gone
    border_field: Field  #: waves the border of the territory
    collateral_field: Field  #: patchiness of the collateral supply
    hidden_field: Field  #: vulnerability of the tissue
    emboli: np.ndarray  #: one row for each embolus: rank in the territory (0 to 1) and radius in mm; shape (N, 2)
    shift_mm: tuple[float, float]  #: error of the reference's position along x and y


def draw_stroke(rng: np.random.Generator, strata: np.ndarray) -> Stroke:
    """Draw a patient's stroke.

    Args:
        rng: source of all but three of the numbers.
        strata: three numbers in [0, 1) for lesion volume, hypoperfused volume and reperfusion; spread evenly over
            the patients of a cohort, they keep cohorts of different seeds alike.
    """
    names = list(OCCLUSIONS)
    occlusion = names[int(rng.choice(len(names), p=[OCCLUSIONS[name][0] for name in names]))]
    normal = ndtri(np.clip(strata[:2], 0.015, 0.985))
    lesion = float(np.exp(LESION_LN_ML[0] + LESION_LN_ML[1] * normal[0]))
    hypoperfused = lesion * max(0.6, float(np.exp(np.log(1.5) + 0.75 * normal[1]))) + 2.0
    reperfused = strata[2] < 0.19 and strata[0] < 0.8
    flow_left = rng.uniform(0.2, 0.6)
    count = int(rng.integers(1, 4)) if rng.random() < 0.35 else 0
    return Stroke(
        occlusion=occlusion,
        side=int(rng.choice([-1, 1])),
        lesion_ml=lesion,
        hypoperfused_ml=hypoperfused,
        peak=float(np.clip(rng.normal(0.95, 0.04), 0.6, 0.98)),
        coupling=0.30,
        flow_left=float(flow_left) if reperfused else 1.0,
        delay_left=0.5 if reperfused else 1.0,
        reopened_field=Field(rng, 14.0),
        border_field=Field(rng, 18.0),
        collateral_field=Field(rng, 11.0),
        hidden_field=Field(rng, 8.0),
        emboli=np.column_stack([rng.random(count), rng.uniform(2.0, 5.0, count)]),
        shift_mm=(float(rng.normal(0, 1.2)), float(rng.normal(0, 1.2))),
    )
