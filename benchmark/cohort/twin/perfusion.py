"""True perfusion of a slab, and the contrast agent's passage through it.

Steps 7 to 9 of the recipe in docs/twin/README.md. Tissue figures, the HU of the tissues and the arterial input are
those of Manhart's Digital Brain Perfusion Phantom (Friedrich-Alexander-Universitaet Erlangen, create_phantom.m of
2013; Aichert et al. 2013).
Units: CBF ml/100 ml/min, CBV ml/100 ml, times in s, enhancement in HU. Arrays of a slab have shape (Z, X, Y).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.cohort.twin.anatomy import Anatomy
from benchmark.cohort.twin.fields import Field, Grid, blur, smoothstep
from benchmark.cohort.twin.lesion import Deficit
from benchmark.cohort.twin.stroke import OCCLUSIONS, Stroke

#: Arterial enhancement in HU at 1, 3, ..., 49 s of the phantom.
PHANTOM_AIF_HU = np.array(
    [0, 0, 0, 0, 25, 105, 220, 350, 440, 485, 430, 300, 180, 110, 104, 108, 115, 125, 115, 108, 98, 90, 98, 108, 112],
    dtype=float,
)
#: Severity against CBV relative to normal: vasodilation, then collapse.
CBV_KNOTS = (np.array([0.0, 0.35, 0.7, 0.9, 1.0]), np.array([1.0, 1.12, 0.91, 0.215, 0.05]))
#: Step of the tables of the arterial input and its integral, s.
TABLE_STEP_S = 0.02
#: Longest delay and longest mean transit time, s.
LONGEST_DELAY_S, LONGEST_MTT_S = 14.0, 24.0


@dataclass(frozen=True)
class Supply:
    """A patient's perfusion apart from the stroke; drawn once for each patient."""

    flow_scale: float  #: the patient's CBF relative to normal
    flow_fields: tuple[Field, Field]  #: coarse and fine variation of CBF
    volume_field: Field  #: variation of CBV
    delay_field: Field  #: variation of the delay
    vessel_field: Field  #: its zero crossings are where vessels run
    vessel_fraction: float  #: blood volume fraction inside a visible vessel
    stroke_delay_s: float  #: extra delay where the stroke is severe
    leukoaraiosis: float  #: CBF lost in periventricular white matter, 0 to .7 (0: the patient has none)
    leukoaraiosis_field: Field  #: patchiness of it
    old_infarct: tuple[np.ndarray, float] | None  #: centre in head mm and radius in mm, or None
    carotid: tuple[int, float] | None  #: side (+1 left) and extra delay in s of a narrow carotid artery, or None


@dataclass(frozen=True)
class Perfusion:
    """True perfusion on a slab's grid; float32."""

    cbf: np.ndarray  #: cerebral blood flow
    mtt_s: np.ndarray  #: mean transit time
    delay_s: np.ndarray  #: arrival of the contrast agent after the arterial input
    vessel: np.ndarray  #: volume fraction of arterial blood in visible vessels
    old_infarct: np.ndarray  #: membership of an old infarct, 0 to 1


def draw_supply(rng: np.random.Generator, z_range_mm: tuple[float, float]) -> Supply:
    """Draw a patient's supply; an old infarct lies within `z_range_mm` (head coordinates of the scanned part)."""
    leukoaraiosis = rng.uniform(0.4, 0.8) if rng.random() < 0.6 else 0.0
    has_old, has_carotid = rng.random() < 0.15, rng.random() < 0.25
    angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.1, 0.8))
    centre = np.array([55.0 * reach * np.cos(angle), 70.0 * reach * np.sin(angle), rng.uniform(*z_range_mm)])
    radius, side, carotid_delay = rng.uniform(6, 16), int(rng.choice([-1, 1])), rng.uniform(1, 2.5)
    return Supply(
        flow_scale=float(np.clip(rng.normal(1, 0.12), 0.6, 1.4)),
        flow_fields=(Field(rng, 10.0), Field(rng, 3.0)),
        volume_field=Field(rng, 6.0),
        delay_field=Field(rng, 20.0),
        vessel_field=Field(rng, 4.0),
        vessel_fraction=float(rng.uniform(0.35, 0.8)),
        stroke_delay_s=float(rng.uniform(2.0, 4.5)),
        leukoaraiosis=float(leukoaraiosis),
        leukoaraiosis_field=Field(rng, 6.0),
        old_infarct=(centre, float(radius)) if has_old else None,
        carotid=(side, float(carotid_delay)) if has_carotid else None,
    )


def perfuse(supply: Supply, stroke: Stroke, deficit: Deficit, anatomy: Anatomy, grid: Grid) -> Perfusion:
    """True perfusion of a slab, with the stroke and the confounders (steps 7 and 8)."""
    grey, white, fluid = anatomy.grey, anatomy.white, anatomy.fluid
    x, y, _ = anatomy.head_mm
    coarse, fine = (grid.read(field) for field in supply.flow_fields)
    variation = np.clip(1 + 0.20 * coarse + 0.08 * fine, 0.3, None)
    cbf = (53 * grey + 20 * white + 0.5 * fluid) * np.float32(supply.flow_scale) * variation
    cbv = (3.3 * grey + 1.9 * white + 0.1 * fluid) * np.clip(1 + 0.10 * grid.read(supply.volume_field), 0.5, None)

    loss = leukoaraiosis_of(supply, anatomy, grid)
    cbf, cbv = cbf * (1 - loss), cbv * (1 - 0.7 * loss)
    old = old_infarct_of(supply, anatomy)
    if supply.old_infarct is not None:
        cbf, cbv = cbf * (1 - 0.8 * old), cbv * (1 - 0.7 * old)

    severity = stroke.peak * deficit.severity + stroke.coupling * blur(deficit.lesion, grid.spacing_mm, 2.5)
    reopened = 0.7 * smoothstep((grid.read(stroke.reopened_field) - 0.92) / 0.5)
    severity = np.clip(severity, 0.0, 0.98) * np.float32(stroke.flow_left) * (1 - reopened)
    cbf = cbf * (1 - severity)
    cbv = cbv * np.interp(severity, *CBV_KNOTS)
    mtt = np.clip(60.0 * cbv / np.maximum(cbf, 1e-3), 2.0, LONGEST_MTT_S)

    delay = 0.8 + 0.5 * grid.read(supply.delay_field) + 0.7 * white
    delay = delay + supply.stroke_delay_s * stroke.delay_left * smoothstep(1.1 * deficit.severity)
    if supply.carotid is not None:
        side, extra = supply.carotid
        _, low, high, _ = OCCLUSIONS["ICA"]
        azimuth = np.rad2deg(np.arctan2(y, np.abs(x)))
        delay = delay + extra * smoothstep(side * x / 6.0 + 0.5) * smoothstep((azimuth - low) / 12.0 + 0.5) * (
            azimuth < high
        )
    return Perfusion(
        cbf=cbf.astype(np.float32),
        mtt_s=mtt.astype(np.float32),
        delay_s=np.clip(delay, 0.0, LONGEST_DELAY_S).astype(np.float32),
        vessel=(supply.vessel_fraction * _vessels(supply, anatomy, grid)).astype(np.float32),
        old_infarct=old.astype(np.float32),
    )


def leukoaraiosis_of(supply: Supply, anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Share of the white matter around the ventricles that is damaged, 0 to .7 of the voxel."""
    loss = supply.leukoaraiosis * anatomy.white * smoothstep((24.0 - anatomy.ventricle_mm) / 8.0)
    return loss * smoothstep(grid.read(supply.leukoaraiosis_field) + 1.0)


def old_infarct_of(supply: Supply, anatomy: Anatomy) -> np.ndarray:
    """Membership of an old infarct, 0 to 1."""
    if supply.old_infarct is None:
        return np.zeros_like(anatomy.grey)
    centre, radius = supply.old_infarct
    x, y, z = anatomy.head_mm
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return smoothstep((radius - distance) / 3.0 + 0.5)


def _vessels(supply: Supply, anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Where vessels show: winding lines in the Sylvian fissures and the front of the falx, and the sagittal sinus."""
    x, y, z = anatomy.head_mm
    lines = np.exp(-0.5 * (grid.read(supply.vessel_field) / 0.15) ** 2)
    sylvian = smoothstep((1.2 - _ellipsoid((np.abs(x), y, z), (40.0, 16.0, -4.0), (12.0, 20.0, 14.0))) / 0.4)
    falx = smoothstep((4.0 - np.abs(x)) / 3.0) * smoothstep((y - 25.0) / 8.0) * smoothstep((z + 8.0) / 8.0)
    sinus = (
        smoothstep((5.0 - np.abs(x)) / 3.0) * smoothstep((-y - 60.0) / 6.0) * smoothstep((6.0 - anatomy.depth_mm) / 3)
    )
    inside = smoothstep(anatomy.depth_mm / 2.0 + 0.5)
    return np.maximum(np.maximum(sylvian, falx) * lines, sinus) * inside


def _ellipsoid(
    position: tuple[np.ndarray, np.ndarray, np.ndarray],
    centre: tuple[float, float, float],
    half_axes: tuple[float, float, float],
) -> np.ndarray:
    """Distance from the centre in half axes (1 on the surface)."""
    return np.sqrt(sum(((position[a] - centre[a]) / half_axes[a]) ** 2 for a in range(3)))


def arterial_input(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """`scale` times the phantom's arterial enhancement in HU and its integral in HU s, float64, of equal length.

    Every `TABLE_STEP_S` from t = 0 on, long enough for any scan; beyond the phantom's 49 s the enhancement stays.
    """
    times = np.arange(0, 90.0, TABLE_STEP_S)
    hu = scale * np.interp(times, np.arange(1, 50, 2), PHANTOM_AIF_HU)
    return hu, np.concatenate([[0.0], np.cumsum(0.5 * (hu[1:] + hu[:-1]) * TABLE_STEP_S)])


def enhancement(
    cbf: np.ndarray, mtt_s: np.ndarray, delay_s: np.ndarray, vessel: np.ndarray, times_s: np.ndarray, scale: float
) -> np.ndarray:
    """Enhancement of voxels over time, for a box-shaped residue function (step 9).

    C(t) = CBF / 6000 * [F(t - d) - F(t - d - MTT)] + vessel * AIF(t - d), F the integral of the AIF.

    Args:
        cbf: shape (N,); likewise the next three.
        mtt_s: mean transit times up to `LONGEST_MTT_S`.
        delay_s: delays up to `LONGEST_DELAY_S`.
        vessel: arterial blood volume fractions.
        times_s: frame times, shape (T,).
        scale: factor on the phantom's arterial enhancement.

    Returns:
        HU, float32, shape (N, T).
    """
    hu, integral = arterial_input(scale)
    offsets = np.arange(0, LONGEST_DELAY_S + LONGEST_MTT_S + 1, TABLE_STEP_S)
    index = np.round((times_s[None, :] - offsets[:, None]) / TABLE_STEP_S).astype(int)
    earlier = index < 0
    index = np.clip(index, 0, hu.size - 1)
    hu_rows = np.where(earlier, 0.0, hu[index]).astype(np.float32)
    integral_rows = np.where(earlier, 0.0, integral[index]).astype(np.float32)
    start = np.round(delay_s / TABLE_STEP_S).astype(int)
    stop = np.round((delay_s + mtt_s) / TABLE_STEP_S).astype(int)
    tissue = (cbf / np.float32(6000))[:, None] * (integral_rows[start] - integral_rows[stop])
    wet = np.flatnonzero(vessel > 1e-4)
    tissue[wet] += vessel[wet, None] * hu_rows[start[wet]]
    return tissue
