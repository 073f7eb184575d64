"""A stroke on the grids of a patient's slabs: occluded territory, severity of the perfusion deficit, final lesion.

Steps 3, 5 and 6 of the recipe in docs/twin/README.md. A patient's slabs share territory, collateral supply and the
hidden vulnerability of the tissue; volumes are those of all slabs together. All arrays of a slab have shape (Z, X, Y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchmark.cohort.twin.anatomy import Anatomy
from benchmark.cohort.twin.fields import Grid, bisect, blur, smoothstep
from benchmark.cohort.twin.layout import Slab
from benchmark.cohort.twin.stroke import OCCLUSIONS, Stroke

#: Smallest lesion of a slab, mL; the real cohort's smallest is 0.78.
SMALLEST_ML = 0.8
#: Weight of the hidden vulnerability in the final lesion: the part that no image shows.
HIDDEN_WEIGHT = 0.20
#: Severity beyond which tissue counts as hypoperfused.
HYPOPERFUSED = 0.35
#: Lenticulostriate territory of M1 and ICA: centre and half axes of an ellipsoid, head mm.
_STRIATUM = (np.array([24.0, 5.0, 2.0]), np.array([14.0, 24.0, 18.0]))


@dataclass(frozen=True)
class Deficit:
    """The stroke on one slab's grid, float32 unless said otherwise."""

    territory: np.ndarray  #: membership of the occluded territory, 0 to 1
    severity: np.ndarray  #: f, the deficit relative to its peak, before coupling and reperfusion
    lesion: np.ndarray  #: the tissue that dies, bool
    reference: np.ndarray  #: the lesion as drawn on the follow-up image, bool


def strike(stroke: Stroke, slabs: Sequence[Slab], anatomies: Sequence[Anatomy], grids: Sequence[Grid]) -> list[Deficit]:
    """Work out a patient's stroke on all slabs, each with its tissue and its grid of scanner coordinates."""
    territories, borders = zip(
        *(territory_of(stroke, *pair) for pair in zip(anatomies, grids, strict=True)), strict=True
    )
    tissue = [(anatomy.fluid < 0.5) & anatomy.brain for anatomy in anatomies]
    severities = _severities(stroke, slabs, territories, borders, tissue, grids)
    lesions = _lesions(stroke, slabs, territories, severities, tissue, grids)
    return [
        Deficit(territory, severity, lesion, draw_reference(lesion, grid.spacing_mm, stroke.shift_mm, least))
        for territory, severity, lesion, grid, least in zip(
            territories,
            severities,
            lesions,
            grids,
            (max(1, int(SMALLEST_ML / slab.voxel_ml)) for slab in slabs),
            strict=True,
        )
    ]


def territory_of(stroke: Stroke, anatomy: Anatomy, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Membership of the occluded territory, and the distance to its border.

    Returns:
        T = 1 / (1 + exp(-d / 3 mm)), 0 outside the brain and below the tentorium, and d, in plane, in mm, positive
        inside; both float32, shape (Z, X, Y).
    """
    _, low, high, medial = OCCLUSIONS[stroke.occlusion]
    x, y, z = anatomy.head_mm
    lateral = np.float32(stroke.side) * x
    azimuth = np.rad2deg(np.arctan2(y, np.abs(x))) + 6.0 * grid.read(stroke.border_field)
    # Towards the vertex the anterior cerebral artery takes a wider strip (our choice).
    strip = medial + 0.3 * np.clip(z - 35.0, 0.0, None) if medial > 1 else medial
    sector = (azimuth > low) & (azimuth < high) & (lateral > strip)
    if stroke.occlusion in ("M1", "ICA"):
        centre, half_axes = _STRIATUM
        parts = (lateral, y, z)
        sector |= sum(((parts[a] - centre[a]) / half_axes[a]) ** 2 for a in range(3)) < 1
    # Cerebellum and brain stem belong to the posterior circulation.
    posterior_fossa = (z < -22.0 + 0.25 * np.clip(-y - 40.0, 0.0, None)) & (y < -8.0)
    distance = np.stack([_signed_distance(layer, grid.spacing_mm) for layer in sector & ~posterior_fossa])
    inside_brain = anatomy.brain & ~posterior_fossa
    membership = np.where(inside_brain, 1.0 / (1.0 + np.exp(-np.clip(distance, -60, 60) / 3.0)), 0.0)
    return membership.astype(np.float32), distance


def _signed_distance(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Distance to the border of a 2D mask in mm, positive inside; the image's edge does not count as a border."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, 60.0 if mask.all() else -60.0, dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return (inside - outside).astype(np.float32)


def _severities(
    stroke: Stroke,
    slabs: Sequence[Slab],
    territories: Sequence[np.ndarray],
    borders: Sequence[np.ndarray],
    tissue: Sequence[np.ndarray],
    grids: Sequence[Grid],
) -> list[np.ndarray]:
    """f, with the collateral number e found by bisection so that the volume of f > .35 is as wanted (step 5)."""
    bases = [
        0.75 * smoothstep(border / 30.0) + 0.22 * grid.read(stroke.collateral_field) - 0.75
        for border, grid in zip(borders, grids, strict=True)
    ]

    def severity(membership: np.ndarray, base: np.ndarray, e: float) -> np.ndarray:
        return membership * smoothstep((base + np.float32(0.95 * e)) / np.float32(0.75))

    picked = [
        (territory[mask], base[mask], slab.voxel_ml)
        for territory, base, mask, slab in zip(territories, bases, tissue, slabs, strict=True)
    ]

    def volume(e: float) -> float:
        return sum(float(np.count_nonzero(severity(t, b, e) > HYPOPERFUSED)) * voxel_ml for t, b, voxel_ml in picked)

    reachable = sum(float(np.count_nonzero(t > 0.5)) * voxel_ml for t, _, voxel_ml in picked)
    target = min(stroke.hypoperfused_ml * len(slabs), 0.9 * reachable)
    e = bisect(volume, target, -1.0, 3.0, steps=20)
    return [
        blur(severity(territory, base, e), grid.spacing_mm, 2.5)
        for territory, base, grid in zip(territories, bases, grids, strict=True)
    ]


def _lesions(
    stroke: Stroke,
    slabs: Sequence[Slab],
    territories: Sequence[np.ndarray],
    severities: Sequence[np.ndarray],
    tissue: Sequence[np.ndarray],
    grids: Sequence[Grid],
) -> list[np.ndarray]:
    """The top of f plus the hidden field up to the wanted volume, cleaned in plane, and emboli (step 6)."""
    ranks, allowed = [], []
    for territory, severity, mask, grid in zip(territories, severities, tissue, grids, strict=True):
        ranks.append(blur(severity + HIDDEN_WEIGHT * grid.read(stroke.hidden_field), grid.spacing_mm, 1.2))
        inside = mask & (territory > 0.3)
        allowed.append(inside if inside.any() else mask)
    voxel_ml = np.array([slab.voxel_ml for slab in slabs])
    reachable = sum(float(inside.sum()) * ml for inside, ml in zip(allowed, voxel_ml, strict=True))
    target = float(np.clip(stroke.lesion_ml * len(slabs), SMALLEST_ML, max(SMALLEST_ML, 0.6 * reachable)))
    level = _level(ranks, allowed, voxel_ml, target)
    lesions = []
    for slab, rank, inside, grid in zip(slabs, ranks, allowed, grids, strict=True):
        lesion = tidy(inside & (rank >= level), grid.spacing_mm)
        if lesion.sum() * slab.voxel_ml < SMALLEST_ML:
            lesion |= inside & (rank >= _level([rank], [inside], np.array([slab.voxel_ml]), SMALLEST_ML))
        lesions.append(_add_emboli(lesion, stroke.emboli, inside, grid))
    return lesions


def _level(ranks: Sequence[np.ndarray], allowed: Sequence[np.ndarray], voxel_ml: np.ndarray, target_ml: float) -> float:
    """The rank that `target_ml` of the allowed voxels reach (at least one voxel does)."""
    values = np.concatenate([rank[inside] for rank, inside in zip(ranks, allowed, strict=True)])
    sizes = np.concatenate([np.full(inside.sum(), ml) for inside, ml in zip(allowed, voxel_ml, strict=True)])
    order = np.argsort(-values, kind="stable")
    reached = int(np.searchsorted(np.cumsum(sizes[order]), target_ml * (1 + 1e-9), side="right"))
    return float(values[order[max(0, reached - 1)]])


def tidy(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Close, then open, each slice with a cross of about 1 mm; unchanged where pixels are much larger."""
    steps = round(1.0 / max(spacing_mm))
    if steps < 1:
        return mask
    cross = ndimage.generate_binary_structure(2, 1)[None]
    closed = ndimage.binary_closing(np.pad(mask, ((0, 0), (steps, steps), (steps, steps))), cross, iterations=steps)
    return ndimage.binary_opening(closed, cross, iterations=steps)[:, steps:-steps, steps:-steps]


def _add_emboli(lesion: np.ndarray, emboli: np.ndarray, allowed: np.ndarray, grid: Grid) -> np.ndarray:
    """Add small discs of dead tissue (spheres cut by the slice of their centre) inside the territory."""
    lesion = lesion.copy()
    places = np.argwhere(allowed)
    for rank, radius in emboli:
        k, i, j = places[int(rank * len(places))]
        x, y = grid.x_mm - grid.x_mm[i], grid.y_mm - grid.y_mm[j]
        lesion[k] |= (x[:, None] ** 2 + y[None, :] ** 2 < radius**2) & allowed[k]
    return lesion


def draw_reference(
    lesion: np.ndarray, spacing_mm: tuple[float, float], shift_mm: tuple[float, float], least: int = 1
) -> np.ndarray:
    """The lesion displaced in plane, as registration leaves it; in place where fewer than `least` voxels stay."""
    shift = (0.0, shift_mm[0] / spacing_mm[0], shift_mm[1] / spacing_mm[1])
    moved = ndimage.shift(lesion.astype(np.float32), shift, order=1, mode="constant") > 0.5
    return moved if moved.sum() >= least else lesion
