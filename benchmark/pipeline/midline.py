"""Where the head's two halves meet: one straight line in plane for the whole volume, and the mirror image about it.

The line is the one about which the brain looks most like its mirror image: the normalised cross-correlation (NCC) of
the brain-masked image and its mirror is maximised over shift and angle, from coarse to fine. Heads are tilted and off
centre, so the middle column of the array will not do. One line serves all slices: a slab is thin, and single slices
with a large lesion would pull their own line aside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.pipeline.inplane import grid_of
from benchmark.pipeline.intensity import smooth

#: How far from the brain's centre of mass, and how tilted, the line may be.
LARGEST_SHIFT_MM, LARGEST_ANGLE_DEG = 15.0, 12.0
#: Below this NCC the two halves have nothing in common and the line is the upright one (our choice). Looked at on twins
#: of 80 cases (seed 4242): noise in place of the image reaches it in 3 % of slabs of two slices, in no thicker one. The
#: line puts 2.2 % (48 x 48) and 1.8 % (64 x 64) of the brain's voxels on the wrong side, the upright one 2.7 % and
#: 2.6 %; with limits of 0.1 to 0.25 the share lies within 0.3 % of that.
LOWEST_CORRELATION = 0.2
#: Rounds of the search: pixel size in mm, slices that take part, steps in mm and degrees, and how many steps to either
#: side (the first goes through the whole range). More pixels and slices cost time and say nothing new.
_ROUNDS = ((4.0, 4, 4.0, 4.0, None), (3.0, 8, 1.5, 1.5, 2), (2.0, 8, 0.5, 0.5, 2), (2.0, 8, 0.25, 0.25, 1))
_SLICES = 8
#: Intensities are cut off at this many (robust) standard deviations from the brain's median.
_CUT_OFF = 3.0
#: SD of the Gaussian in plane before the search (our choice). The noise of a CT is greater than what sets its tissues
#: apart, and it differs between the halves.
_SMOOTHING_SD_MM = 4.0


@dataclass(frozen=True)
class Midline:
    """A straight line in the slice plane, upright but for its angle.

    Positions are in mm from the centre of the array's first pixel: x along W, y along H.
    """

    centre_mm: tuple[float, float]  #: (x, y) of the brain's centre of mass
    shift_mm: float = 0.0  #: distance of the line from there, positive towards greater x
    angle_deg: float = 0.0  #: by how much the line's normal turns from the x axis towards the y axis
    #: NCC of the brain and its mirror image, up to 1; NaN where the line is the fallback, which is the upright line
    #: through the centre of mass
    correlation: float = math.nan


def estimate_midline(image: np.ndarray, brain: np.ndarray, spacing_mm: Sequence[float]) -> Midline:
    """Find the mid-sagittal line of a volume.

    Args:
        image: (D, H, W), CT in HU or any map in which the two halves look alike; its scale does not matter.
        brain: (D, H, W), nonzero inside.
        spacing_mm: voxel size along x, y, z (that is W, H, D).

    Returns:
        The line of greatest NCC; the upright line through the centre of mass where the brain is empty, the image is
        constant or its halves have nothing in common.
    """
    inside = torch.from_numpy(np.asarray(brain) != 0)  # new, as torch warns of an array that is not to be written to
    dx, dy = float(spacing_mm[0]), float(spacing_mm[1])
    height, width = inside.shape[-2:]
    if not inside.any():
        return Midline(((width - 1) / 2 * dx, (height - 1) / 2 * dy))
    rows, columns = inside.sum(dim=(0, 2)).double(), inside.sum(dim=(0, 1)).double()
    voxels = rows.sum()
    x = float((columns * torch.arange(width)).sum() / voxels) * dx
    y = float((rows * torch.arange(height)).sum() / voxels) * dy
    fallback = Midline((x, y))
    chosen = _spread(len(inside), _SLICES)
    tissue = torch.from_numpy(np.asarray(image)[chosen.numpy()]).float()
    inside = inside[chosen]
    scaled = _scaled_tissue(tissue, inside, spacing_mm)
    if scaled is None:
        return fallback
    best = _search(scaled, inside, (dx, dy), fallback)
    return best if best.correlation >= LOWEST_CORRELATION else fallback


def mirror_map(midline: Midline, pixel_mm: Sequence[float]) -> np.ndarray:
    """The map (see `inplane`) from each pixel, sized along x, y (and z), to its mirror image about a line."""
    mm, normal = np.array([float(size) for size in pixel_mm[:2]]), np.array(_normal(midline))
    linear = (np.eye(2) - 2 * np.outer(normal, normal)) * mm / mm[:, None]
    way = 2 * (normal @ np.array(midline.centre_mm) + midline.shift_mm)
    return np.column_stack([linear, way * normal / mm])


def positive_side(height: int, width: int, midline: Midline, spacing_mm: Sequence[float]) -> np.ndarray:
    """(H, W) bool: which pixels lie on the line's side of greater x; the others are the opposite hemisphere."""
    (normal_x, normal_y), (centre_x, centre_y) = _normal(midline), midline.centre_mm
    x = np.arange(width) * float(spacing_mm[0]) - centre_x
    y = np.arange(height) * float(spacing_mm[1]) - centre_y
    return x[None, :] * normal_x + y[:, None] * normal_y - midline.shift_mm > 0


def _normal(midline: Midline) -> tuple[float, float]:
    angle = math.radians(midline.angle_deg)
    return math.cos(angle), math.sin(angle)


def _scaled_tissue(image: Tensor, inside: Tensor, spacing_mm: Sequence[float]) -> Tensor | None:
    """The image as the search takes it, smoothed and scaled; None where nothing varies.

    What is far off is cut off before it is smoothed, and the scale is that of the smoothed image: noise in it would
    leave the tissues so small a share of the scale that the brain's outline alone decided.
    """
    scaled = _robust_scale(image, inside)
    if scaled is None:
        return None
    smoothed = smooth(scaled.numpy(), inside.numpy(), _SMOOTHING_SD_MM, spacing_mm)
    return _robust_scale(torch.as_tensor(smoothed).float(), inside)


def _robust_scale(image: Tensor, inside: Tensor) -> Tensor | None:
    """Standard deviations above the cut-off inside the brain, 0 outside; None where nothing varies.

    So the background lies at the dark end of the tissue whatever the image's scale, and bone, contrast agent or a
    calcification counts no more than `_CUT_OFF` standard deviations.
    """
    if not inside.any():
        return None
    values = np.asarray(image[inside])
    low, median, high = np.percentile(values, [16, 50, 84])
    deviation = (high - low) / 2
    if not deviation > 0:
        return None
    scaled = ((image - float(median)) / float(deviation)).clamp(-_CUT_OFF, _CUT_OFF) + _CUT_OFF
    return torch.where(inside, scaled, torch.zeros(()))


def _search(scaled: Tensor, inside: Tensor, pixel_mm: tuple[float, float], start: Midline) -> Midline:
    """The rounds of the search, each about the best line of the one before."""
    both = torch.stack([scaled, inside.float()])
    best = start
    for size_mm, slices, shift_step, angle_step, steps in _ROUNDS:
        shifts = steps or math.ceil(LARGEST_SHIFT_MM / shift_step)
        angles = steps or math.ceil(LARGEST_ANGLE_DEG / angle_step)
        coarse, origin_mm, coarse_mm = _coarsen(both[:, _spread(both.shape[1], slices)], pixel_mm, size_mm)
        candidates = [
            (best.shift_mm + shift_step * i, best.angle_deg + angle_step * j)
            for i in range(-shifts, shifts + 1)
            for j in range(-angles, angles + 1)
        ]
        lines = [
            Midline(start.centre_mm, shift, angle)
            for shift, angle in candidates
            if abs(shift) <= LARGEST_SHIFT_MM and abs(angle) <= LARGEST_ANGLE_DEG
        ]
        scores = _self_correlations(coarse, lines, origin_mm, coarse_mm)
        winner = int(np.argmax(scores))
        best = replace(lines[winner], correlation=float(scores[winner]))
    return best


def _spread(depth: int, most: int) -> Tensor:
    """The places of at most this many of some slices, evenly spread."""
    return torch.linspace(0, depth - 1, min(depth, most)).round().long()


def _coarsen(
    both: Tensor, pixel_mm: tuple[float, float], size_mm: float
) -> tuple[Tensor, tuple[float, float], tuple[float, float]]:
    """Crop to the brain and average blocks of pixels up to about `size_mm`.

    Returns:
        The coarse array, (x, y) of its first pixel in mm, and its pixel size.
    """
    rows = torch.nonzero(both[1].any(dim=0).any(dim=1))[:, 0]
    columns = torch.nonzero(both[1].any(dim=0).any(dim=0))[:, 0]
    top, left = int(rows[0]), int(columns[0])
    cropped = both[..., top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    fold_x, fold_y = (max(1, round(size_mm / size)) for size in pixel_mm)
    padding = (0, -cropped.shape[-1] % fold_x, 0, -cropped.shape[-2] % fold_y)
    coarse = functional.avg_pool2d(functional.pad(cropped, padding), (fold_y, fold_x))
    dx, dy = pixel_mm
    origin = ((left + (fold_x - 1) / 2) * dx, (top + (fold_y - 1) / 2) * dy)
    return coarse, origin, (fold_x * dx, fold_y * dy)


def _self_correlations(
    both: Tensor, lines: Sequence[Midline], origin_mm: tuple[float, float], pixel_mm: tuple[float, float]
) -> np.ndarray:
    """NCC of an image and its mirror about each line, over all pixels that are brain in either of them.

    That region is symmetric about the line, so mean and variance in it are the same for both images and follow from
    sums over the image alone; parts of the mirror image that leave the array need no care.

    Args:
        both: (2, D, h, w), intensities (0 outside the brain) and the brain's share of each pixel.
        lines: which lines.
        origin_mm: (x, y) of the first pixel.
        pixel_mm: pixel size along x, y.

    Returns:
        One number a line; -1 where the image does not vary.
    """
    _, depth, height, width = both.shape
    x, y = origin_mm
    moved = [replace(line, centre_mm=(line.centre_mm[0] - x, line.centre_mm[1] - y)) for line in lines]
    # All lines in one call, one above the other: of hundreds of small calls most would be overhead.
    flat = both.reshape(1, 2 * depth, height, width)
    grid = grid_of([mirror_map(line, pixel_mm) for line in moved], (height, width), flat).reshape(1, -1, width, 2)
    mirrored = functional.grid_sample(flat, grid, padding_mode="zeros", align_corners=False)
    mirrored = mirrored.reshape(2, depth, len(lines), height, width)
    products = (mirrored * both[:, :, None]).sum(dim=(1, 3, 4), dtype=torch.float64).numpy()
    image, inside = both
    union = 2 * float(inside.square().sum(dtype=torch.float64)) - products[1]
    offset = float(image.sum(dtype=torch.float64)) ** 2 / union
    variance = float(image.square().sum(dtype=torch.float64)) - offset
    varies = variance > 0
    return np.where(varies, (products[0] - offset) / np.where(varies, variance, 1.0), -1.0)
