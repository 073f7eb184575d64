"""Perfusion thresholds as clinical software applies them; pure functions on one case.

Arrays are (D, H, W); `spacing_mm` is the voxel size along x, y, z, that is W, H, D. The steps and their numbers are
those of the README beside this file. Nothing here depends on the scale of CBF: only ratios to the other hemisphere do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchmark.methods.components import drop_small
from benchmark.pipeline.intensity import smooth
from benchmark.pipeline.midline import Midline, positive_side
from leaderboard.cohort.case import CT_WINDOW

#: Pixels of ISLES 2018 measure 0.80 to 1.04 mm (median 0.88); the sources give margins in such pixels.
_PIXEL_MM = 0.88
CSF_MARGIN_MM, VESSEL_MARGIN_MM, SKULL_MARGIN_MM = 2 * _PIXEL_MM, 2 * _PIXEL_MM, 3 * _PIXEL_MM
#: CT below this, once smoothed (SD in mm), is cerebrospinal fluid.
CSF_BELOW_HU, CSF_SMOOTHING_SD_MM = 20.0, _PIXEL_MM
#: CBF above this percentile of the brain's is a vessel.
VESSEL_PERCENTILE = 99.0
SMOOTHING_FWHM_MM = 5.0
#: Full width at half maximum of a Gaussian, in standard deviations.
_FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
#: The 4-neighbourhood in plane.
_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)


@dataclass(frozen=True)
class Flow:
    """What the thresholds look at."""

    rcbf: np.ndarray  #: (D, H, W) smoothed CBF as a share of the opposite hemisphere's median; infinite outside `valid`
    tmax: np.ndarray  #: (D, H, W) smoothed Tmax in s; 0 outside `valid`
    valid: np.ndarray  #: (D, H, W) bool, brain without CSF, vessels and the skull's margin


def measure_flow(
    ct: np.ndarray,
    cbf: np.ndarray,
    tmax: np.ndarray,
    brain: np.ndarray,
    spacing_mm: Sequence[float],
    midline: Midline,
) -> Flow:
    """Masks, smoothing and the ratio to the opposite hemisphere (steps 1 to 3).

    Args:
        ct: (D, H, W) in HU.
        cbf: (D, H, W) in any unit.
        tmax: (D, H, W) in s.
        brain: (D, H, W), nonzero inside.
        spacing_mm: voxel size along x, y, z.
        midline: where the halves meet.
    """
    brain = brain.astype(bool)
    valid = valid_tissue(ct, cbf, brain, spacing_mm)
    height, width = brain.shape[-2:]
    side = positive_side(height, width, midline, spacing_mm)
    sd_mm = SMOOTHING_FWHM_MM / _FWHM_PER_SD
    rcbf = relative_to_opposite(smooth(cbf, valid, sd_mm, spacing_mm), valid, side)
    return Flow(rcbf, smooth(tmax, valid, sd_mm, spacing_mm), valid)


def valid_tissue(ct: np.ndarray, cbf: np.ndarray, brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """(D, H, W) bool: the brain without CSF, large vessels and a margin along the skull (step 1)."""
    hounsfield = smooth(np.clip(ct, *CT_WINDOW), brain, CSF_SMOOTHING_SD_MM, spacing_mm)
    csf = brain & (hounsfield < CSF_BELOW_HU)
    vessels = brain & (cbf > np.percentile(cbf[brain], VESSEL_PERCENTILE)) if brain.any() else brain
    excluded = (
        within(~brain, SKULL_MARGIN_MM, spacing_mm)
        | within(csf, CSF_MARGIN_MM, spacing_mm)
        | within(vessels, VESSEL_MARGIN_MM, spacing_mm)
    )
    return brain & ~excluded


def within(mask: np.ndarray, margin_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The mask grown in plane by a margin.

    A pixel belongs to it if its centre lies within the margin from the mask's edge, which runs half a pixel from the
    outermost centres. So a margin of 3 pixels of 0.88 mm is 3 pixels from 0.80 to 1.04 mm, and one pixel of 3.5 mm.

    Args:
        mask: (D, H, W) bool.
        margin_mm: by how much.
        spacing_mm: voxel size along x, y, z.
    """
    dx, dy = float(spacing_mm[0]), float(spacing_mm[1])
    grown = mask.copy()
    for index, plane in enumerate(mask):
        if plane.any() and not plane.all():
            distance = ndimage.distance_transform_edt(~plane, sampling=(dy, dx))
            grown[index] = distance <= margin_mm + (dx + dy) / 4
    return grown


def relative_to_opposite(cbf: np.ndarray, valid: np.ndarray, side: np.ndarray) -> np.ndarray:
    """CBF as a share of the median over the opposite hemisphere's valid voxels (step 3); `side` is one hemisphere.

    Returns:
        (D, H, W); infinite outside `valid`, and wherever the opposite hemisphere gives no positive median.
    """
    ratio = np.full(cbf.shape, np.inf)
    for here in (side, ~side):
        opposite = cbf[valid & ~here]
        normal = float(np.median(opposite)) if opposite.size else 0.0
        if normal > 0:
            ratio[valid & here] = cbf[valid & here] / normal
    return ratio


def segment(
    flow: Flow,
    spacing_mm: Sequence[float],
    *,
    rcbf_below: float | None = None,
    tmax_above: float | None = None,
    smallest_ml: float = 0.0,
) -> np.ndarray:
    """The lesion by thresholds, opened in plane (steps 4 and 5).

    Args:
        flow: what `measure_flow` gave.
        spacing_mm: voxel size along x, y, z.
        rcbf_below: lesion has less relative CBF than this; None: any.
        tmax_above: lesion has a longer Tmax than this, in s; None: any.
        smallest_ml: connected components (over faces) of a smaller volume are dropped.

    Returns:
        (D, H, W) bool.
    """
    mask = flow.valid
    if rcbf_below is not None:
        mask = mask & (flow.rcbf < rcbf_below)
    if tmax_above is not None:
        mask = mask & (flow.tmax > tmax_above)
    return drop_small(ndimage.binary_opening(mask, _CROSS), smallest_ml, spacing_mm)


def dice_by_threshold(flow: Flow, reference: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Dice of the rule ``rcbf < threshold`` for many thresholds at once.

    The binary opening of ``rcbf < t`` is ``closed < t``, where `closed` is the grey closing of rcbf, for every t: one
    closing and a sort replace one opening for each threshold.

    Args:
        flow: what `measure_flow` gave.
        reference: (D, H, W), nonzero is lesion.
        thresholds: (K,) ascending.

    Returns:
        (K,) Dice of ``segment(flow, spacing_mm, rcbf_below=threshold)``; 1 where both masks are empty.
    """
    lesion = reference.astype(bool)
    closed = ndimage.grey_erosion(
        ndimage.grey_dilation(flow.rcbf, footprint=_CROSS, mode="constant", cval=np.inf),
        footprint=_CROSS,
        mode="constant",
        cval=np.inf,
    )
    predicted = np.searchsorted(np.sort(closed[np.isfinite(closed)]), thresholds, side="left")
    overlap = np.searchsorted(np.sort(closed[lesion & np.isfinite(closed)]), thresholds, side="left")
    total = predicted + np.count_nonzero(lesion)
    return np.where(total > 0, 2 * overlap / np.maximum(total, 1), 1.0)


def best_threshold(dice_sums: np.ndarray, cases: float, thresholds: np.ndarray) -> float:
    """The threshold of greatest mean Dice, the smallest where several are equal.

    Means are compared to nine digits, so that the order of summation does not decide.

    Args:
        dice_sums: (K,) Dice of each threshold, summed over the cases.
        cases: how many.
        thresholds: (K,) ascending.
    """
    return float(thresholds[int(np.argmax(np.round(dice_sums / max(cases, 1), 9)))])
