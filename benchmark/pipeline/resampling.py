"""Preparations that change the grid: in plane to a fixed matrix, or to a pixel size, and back.

Both keep the centre of the slice where it is and interpolate linearly: images, the indicator of a reference (lesion is
where it is at least a half), and on the way back the *probability*, so that the threshold is applied on the case's own
grid.

For the reference, nearest-pixel sampling is the alternative. Measured there and back on 1500 discs of each size at
0.877 mm (standard errors below 0.01), linear interpolation agrees better with discs of at least 1.5 pixels radius at
1 mm (at 2 pixels: Dice 0.931 against 0.908), and of at least 2 pixels at 160 x 160 (0.816 against 0.805). It loses
volume: discs of 2 pixels keep 0.97 (1 mm) and 0.92 (160 x 160) of it, discs from 4 pixels on 0.99, where the nearest
pixel is unbiased; and of discs of 1 pixel, 43 % vanish at 160 x 160 against 14 % (at 1 mm, 2 % against 3 %). Only
training is affected: scores use the case's own reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.pipeline.inplane import sample, scaled
from benchmark.pipeline.preparation import PadToMultiple, Plane, Preparation, between_slices
from leaderboard.errors import InputError


class ResizeTo(Preparation):
    """Stretches every slice to `size` x `size` pixels, whatever its field of view; bilinear, with antialiasing.

    Args:
        size: pixels a side.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def image(self, image: Tensor, brain: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        return _resized(image, (self.size, self.size))

    def reference(self, reference: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        return (_resized(reference[:, None].float(), (self.size, self.size))[:, 0] >= 0.5).to(reference.dtype)

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        return _resized(probability[None], (shape[-2], shape[-1]))[0]


class ResampleTo(Preparation):
    """Resamples slices to `pixel_mm` and crops or pads them about their centre to `size` x `size` pixels.

    Outside the case's own grid its border is repeated (the background of a z-scored map is not 0); in the inverse,
    what lies outside the crop has probability 0. Pixels of at most half the new size (CT of ISLES 2024) are averaged
    over a window of about that size first, so that their noise does not turn into coarse noise.

    Args:
        pixel_mm: pixel size in plane.
        size: pixels a side.
        slice_mm: distance of slices to resample to, linearly (references: nearest slice); None keeps the case's own.

    Raises:
        InputError: a size that is not positive.
    """

    def __init__(self, pixel_mm: float, size: int, slice_mm: float | None = None) -> None:
        if not (pixel_mm > 0 and size > 0):
            raise InputError("model.init_args: pixel_mm and size must be positive: correct the config")
        self.pixel_mm = pixel_mm
        self.size = size
        self.slice_mm = slice_mm

    def positions(self, depth: int, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `Preparation`."""
        if self.slice_mm is None:
            return super().positions(depth, spacing_mm)
        new = max(1, round(depth * spacing_mm[2] / self.slice_mm))
        return _centred(new, self.slice_mm / spacing_mm[2], depth)

    def image(self, image: Tensor, brain: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        return self._in_plane(image, planes, "border")

    def reference(self, reference: Tensor, planes: Sequence[Plane]) -> Tensor:
        """See `Preparation`."""
        return (self._in_plane(reference[:, None].float(), planes, "zeros")[:, 0] >= 0.5).to(reference.dtype)

    def inverse(self, probability: Tensor, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> Tensor:
        """See `Preparation`."""
        size = (shape[-2], shape[-1])
        factors = (spacing_mm[1] / self.pixel_mm, spacing_mm[0] / self.pixel_mm)
        pixels = scaled(size, factors, (probability.shape[-2], probability.shape[-1]))
        native = sample(probability[None], [pixels], size, "zeros")[0]
        if self.slice_mm is None:
            return native
        return between_slices(native, _centred(shape[0], spacing_mm[2] / self.slice_mm, len(native)))

    def _in_plane(self, slices: Tensor, planes: Sequence[Plane], padding: Literal["border", "zeros"]) -> Tensor:
        size, source = (self.size, self.size), (slices.shape[-2], slices.shape[-1])
        maps = [scaled(size, (self.pixel_mm / y, self.pixel_mm / x), source) for x, y in (p.pixel_mm for p in planes)]
        windows = [2 * int(self.pixel_mm / max(plane.pixel_mm) / 2) + 1 for plane in planes]
        return sample(_averaged(slices, windows), maps, size, padding)


def _averaged(slices: Tensor, windows: Sequence[int]) -> Tensor:
    """(S, C, H, W), each slice averaged over a window of its own odd side; the border repeats its pixels."""
    if max(windows, default=1) == 1:
        return slices
    parts, start = [], 0
    for side, run in groupby(windows):
        part = slices[start : start + len(list(run))]
        start += len(part)
        around = functional.pad(part, (side // 2,) * 4, mode="replicate")
        parts.append(functional.avg_pool2d(around, side, stride=1))
    return torch.cat(parts)


def grid_for(multiple: int, pixel_mm: float | None, size: int | None, slice_mm: float | None = None) -> Preparation:
    """What brings slices to the grid of a network that halves them several times.

    Args:
        multiple: of height and width that the network needs.
        pixel_mm: see `ResampleTo`; None keeps the case's own grid, padded.
        size: likewise; both or neither.
        slice_mm: likewise; with both alone.

    Raises:
        InputError: settings that do not go together.
    """
    if pixel_mm is None or size is None:
        if pixel_mm is not None or size is not None or slice_mm is not None:
            raise InputError(
                "model.init_args: pixel_mm and size go together, and slice_mm needs them: correct the config"
            )
        return PadToMultiple(multiple)
    if size % multiple:
        raise InputError(f"model.init_args.size must be a multiple of {multiple}, not {size}: correct the config")
    return ResampleTo(pixel_mm, size, slice_mm)


def _resized(slices: Tensor, size: tuple[int, int]) -> Tensor:
    """(S, C, H, W) -> (S, C, *size), pixel centres aligned at the field of view's borders."""
    return functional.interpolate(slices, size, mode="bilinear", align_corners=False, antialias=True)


def _centred(length: int, step: float, others: int) -> np.ndarray:
    """Positions of `length` points, `step` apart and centred on an axis of `others` points, kept within it."""
    return ((np.arange(length) - (length - 1) / 2) * step + (others - 1) / 2).clip(0, others - 1)
