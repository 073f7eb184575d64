"""THE augmentation: one TorchIO Compose for every method, on the case's own grid.

What a case looks like depends on (seed, epoch, case) alone: each transform of the Compose draws from a generator of
its own, seeded from these three and its place in the list. So the number of processes and of restarts and the device
change nothing, and neither does a curriculum that switches single transforms off: the others draw what they always
draw. All transforms act in the slice plane, on thin slices too (docs/design.md says why).

TorchIO defines the transforms and draws their parameters. This module applies them, on the device that holds the slices
and only to the slices that a batch needs. The result is TorchIO's own within rounding (the tolerances are in
`tests/benchmark/pipeline/test_augment.py`); TorchIO would resample one channel at a time on one core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
import torchio as tio
from torch import Tensor
from torch.nn import functional

from benchmark.pipeline.inplane import IDENTITY, chained, grid_of

#: Spacings are in mm, intensities in standard deviations of the brain's tissue (the images are z-scored before).
AUGMENTATION = tio.Compose(
    [
        tio.RandomFlip(axes=(0,), flip_probability=1.0, p=0.5),
        tio.RandomAffine(
            scales=(0.9, 1.1, 0.9, 1.1, 1, 1),
            degrees=(0, 0, 0, 0, -15, 15),
            translation=(-8, 8, -8, 8, 0, 0),
            default_pad_value="minimum",
            p=0.8,
        ),
        tio.RandomGamma(log_gamma=(-0.2, 0.2), p=0.3),
        tio.RandomNoise(std=(0, 0.15), p=0.3),
    ]
)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, as TorchIO draws it: mean, standard deviation, and the seed of the field."""

    mean: float
    sd: float
    seed: int

    def field(self, channels: int, shape: tuple[int, int, int]) -> Tensor:
        """(C, X, Y, Z) float32 from the CPU's generator, so that every device adds the same."""
        values = torch.randn(channels, *shape, generator=torch.Generator().manual_seed(self.seed))
        return values.mul_(self.sd).add_(self.mean) if self.mean else values.mul_(self.sd)


@dataclass(frozen=True)
class Affine:
    """Scaling, rotation and shift in the slice plane, as TorchIO draws them."""

    scales: tuple[float, float]  #: along x and y; 1.1 makes things look larger by a tenth
    degrees: float  #: about the axis of the slices
    translation_mm: tuple[float, float]  #: along x and y

    def pixels(self, size: tuple[int, int], pixel_mm: tuple[float, float]) -> np.ndarray:
        """The map (see `inplane`) from the deformed slice to the original one, about the slice's centre.

        Args:
            size: (height, width).
            pixel_mm: pixel size along x and y.
        """
        height, width = size
        angle = math.radians(self.degrees)
        turned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        mm, centre = np.array(pixel_mm), np.array([(width - 1) / 2, (height - 1) / 2])
        # From the result's offset in mm: scale, then shift, then turn, all backwards.
        linear = turned @ np.diag(mm / np.array(self.scales)) / mm[:, None]
        offset = centre - linear @ centre - turned @ np.array(self.translation_mm) / mm
        return np.column_stack([linear, offset])


@dataclass(frozen=True)
class Draw:
    """What the augmentation does to one case in one epoch."""

    flip: bool = False  #: left and right change sides
    affine: Affine | None = None  #: None leaves it out
    gammas: tuple[float, ...] | None = None  #: exponent of each image's magnitude; None leaves it out
    noise: Noise | None = None  #: None leaves it out

    def pixels(self, size: tuple[int, int], pixel_mm: tuple[float, float]) -> np.ndarray:
        """The map (see `inplane`) from the augmented slice of a size to the original one."""
        flipped = np.array([[-1.0, 0.0, size[1] - 1], [0.0, 1.0, 0.0]]) if self.flip else IDENTITY
        return flipped if self.affine is None else chained(self.affine.pixels(size, pixel_mm), flipped)


def draw(channels: int, *, seed: int, epoch: int, case: int, strength: float = 1.0) -> Draw:
    """What every method's augmentation does to a case in this epoch.

    Args:
        channels: how many images a case has.
        seed: of the training.
        epoch: counted from 0.
        case: the case's number.
        strength: factor on each transform's probability, flips excepted (they cost no detail); a curriculum may
            lower it, the transforms that remain are those of strength 1.
    """
    drawn: dict[str, Any] = {}
    for place, transform in enumerate(AUGMENTATION.transforms):
        with torch.random.fork_rng(devices=[]):
            # The CPU's generator alone: TorchIO draws from no other, and torch.manual_seed costs more than a flip.
            torch.default_generator.manual_seed(derive_seed(seed, epoch, case, place))
            factor = 1.0 if isinstance(transform, tio.RandomFlip) else strength
            if torch.rand(1).item() <= transform.probability * factor:  # as `tio.RandomTransform.__call__` decides
                name, parameters = _parameters(transform, channels)
                drawn[name] = parameters
    return Draw(**drawn)


def _parameters(transform: tio.Transform, channels: int) -> tuple[str, object]:
    """The attribute of `Draw` that a transform fills, and what its own `get_params` draws for it."""
    if isinstance(transform, tio.RandomFlip):
        return "flip", transform.get_params(transform.flip_probability)[0]
    if isinstance(transform, tio.RandomAffine):
        scales, degrees, shift = (
            values.tolist()
            for values in transform.get_params(
                transform.scales, transform.degrees, transform.translation, transform.isotropic
            )
        )
        return "affine", Affine((scales[0], scales[1]), degrees[2], (shift[0], shift[1]))
    if isinstance(transform, tio.RandomGamma):
        return "gammas", tuple(float(transform.get_params(transform.log_gamma_range)) for _ in range(channels))
    if isinstance(transform, tio.RandomNoise):
        return "noise", Noise(*transform.get_params(transform.mean_range, transform.std_range))
    raise TypeError(f"{type(transform).__name__}: the suite's augmentation does not know how to apply it")


@dataclass(frozen=True)
class Window:
    """A rectangle of the slice: first row and column, height and width."""

    top: int
    left: int
    height: int
    width: int

    def of(self, slices: Tensor) -> Tensor:
        """That part of slices (..., H, W)."""
        return slices[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Part:
    """Consecutive slices of a batch that belong to one case and are augmented alike."""

    slices: int  #: how many
    draw: Draw  #: what happens to them
    pixel_mm: tuple[float, float]  #: pixel size along x and y
    #: the part of the augmented slice that is used, of one size throughout a batch; None: all of it
    window: Window | None = None
    noise: Tensor | None = None  #: (slices, C, h, w), what the window shows of the noise; None where there is none


def augmented(images: Tensor, labels: Tensor, lowest: Tensor, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Apply the draws to slices, on their device; one resampling serves all channels and masks of a batch.

    Args:
        images: (S, C, H, W) float32, z-scored.
        labels: (S, H, W) uint8, masks as bits; taken by nearest neighbours, 0 from outside the slice.
        lowest: (S, C), each image's lowest value in its case, which lies outside the slice.
        parts: S slices in all, in order.

    Returns:
        Images (S, C, h, w) float32 and labels (S, h, w) uint8.
    """
    starts = [0, *accumulate(part.slices for part in parts)]
    places = [slice(start, stop) for start, stop in pairwise(starts)]
    resampled = _resampled(images, labels, lowest, parts, places) if any(part.draw.affine for part in parts) else None
    blocks = []
    for part, place in zip(parts, places, strict=True):
        if resampled and part.draw.affine:
            block, masks = next(resampled)
        else:
            block, masks = (_cut(values[place], part) for values in (images, labels))
        blocks.append((_intensities(block, part), masks))
    return torch.cat([block for block, _ in blocks]), torch.cat([masks for _, masks in blocks])


def _cut(slices: Tensor, part: Part) -> Tensor:
    """The window of slices (..., H, W) that need no resampling, flipped where the draw says so."""
    flipped = slices.flip(-1) if part.draw.flip else slices
    return flipped if part.window is None else part.window.of(flipped)


def _resampled(
    images: Tensor, labels: Tensor, lowest: Tensor, parts: Sequence[Part], places: Sequence[slice]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of each part that is resampled, in order."""
    chosen = [(part, place) for part, place in zip(parts, places, strict=True) if part.draw.affine]
    source, masks, outside = (torch.cat([values[place] for _, place in chosen]) for values in (images, labels, lowest))
    full = (images.shape[-2], images.shape[-1])
    maps, corners, size = [], [], full
    for part, _ in chosen:
        window = part.window or Window(0, 0, *full)
        maps.append(part.draw.pixels(full, part.pixel_mm))
        corners.append((window.top, window.left))
        size = window.height, window.width
    counts = [part.slices for part, _ in chosen]
    # One grid for all slices of a part.
    owner = torch.tensor([place for place, count in enumerate(counts) for _ in range(count)])
    owner = owner.to(source.device, non_blocking=True)
    grids = grid_of(maps, size, source, corners)
    inside = (grids.abs().amax(dim=-1) <= 1)[owner, None]
    grid = grids[owner]
    sampled = functional.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
    sampled = torch.where(inside, sampled, outside[:, :, None, None])
    nearest = functional.grid_sample(
        masks[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return zip(sampled.split(counts), nearest[:, 0].byte().split(counts), strict=True)


def _intensities(block: Tensor, part: Part) -> Tensor:
    """Gamma and noise of one part (S, C, h, w)."""
    if part.draw.gammas is not None:
        exponents = torch.tensor(part.draw.gammas).to(block.device, non_blocking=True)[:, None, None]
        block = block.abs().pow_(exponents).copysign_(block)
    if part.noise is not None:
        block = block + part.noise.to(block.device, non_blocking=True)
    return block


def derive_seed(*numbers: int) -> int:
    """A 63-bit seed from several numbers (NumPy's SeedSequence, so neighbouring numbers give unrelated seeds)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
