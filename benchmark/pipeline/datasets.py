"""Data sets without state: a key says which case, which epoch and which slices, and that decides the sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torchio as tio
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from benchmark.methods.curriculum import Stage
from benchmark.pipeline.augment import augment, derive_seed
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.intensity import strip_ct, zscore
from benchmark.pipeline.preparation import Preparation, with_neighbours
from benchmark.pipeline.sampling import Key

View = Literal["slices", "volumes"]
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class MethodView:
    """How a method looks at the data.

    Attributes:
        view: 2D slices or whole volumes.
        neighbours: for slices, how many on each side come along as channels.
        preparation: the method's own deterministic preparation.
        curriculum: epoch -> stage.
        raw: physical units instead of z-scores (for rules with thresholds; never augmented).
    """

    view: View
    neighbours: int
    preparation: Preparation
    curriculum: Callable[[int], Stage]
    raw: bool = False


class TrainingSamples(Dataset[Batch]):
    """Augmented samples, each with a leading batch axis: several slices of a case, or one volume.

    Args:
        cases: the training cases.
        view: how the method looks at them.
        seed: the suite's seed.
        augmented: False leaves the augmentation out.
    """

    def __init__(self, cases: Sequence[CachedCase], view: MethodView, seed: int, augmented: bool = True) -> None:
        self.cases = cases
        self.view = view
        self.seed = seed
        self.augmented = augmented and not view.raw

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, key: Key) -> Batch:
        """``image`` (N, C', [D,] h, w) float32 and ``reference`` (N, [D,] h, w) uint8."""
        case = self.cases[key.case]
        stage = self.view.curriculum(key.epoch)
        image, reference, brain = self._augmented(case, key.epoch, stage)
        if stage.crop < 1:
            window = self._window(reference, case.number, key.epoch, stage)
            image, reference, brain = image[window], reference[window], brain[window]
        image = self.view.preparation.image(image, brain, case.spacing_mm)
        reference = self.view.preparation.reference(reference, case.spacing_mm)
        if key.slices is None:
            return {"image": image[None], "reference": reference[None]}
        slices = torch.tensor(key.slices)
        return {"image": with_neighbours(image, slices, self.view.neighbours), "reference": reference[slices]}

    def _augmented(self, case: CachedCase, epoch: int, stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
        """Image (C, D, H, W), reference and brain mask (D, H, W) of an epoch."""
        assert case.reference is not None
        # Both masks in one label map, a bit each: one resampling instead of two.
        masks = np.array(case.reference) | np.array(case.brain) << 1
        affine = np.diag([*case.spacing_mm, 1.0])
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(_intensities(case, self.view.raw)), affine=affine),
            masks=tio.LabelMap(tensor=torch.from_numpy(masks[None]), affine=affine),
        )
        if self.augmented:
            subject = augment(subject, seed=self.seed, epoch=epoch, case=case.number, strength=stage.augmentation)
        masks_now = _network_axes(subject["masks"].data)[0].byte()
        return _network_axes(subject["image"].data.float()), masks_now & 1, masks_now >> 1

    def _window(self, reference: Tensor, case: int, epoch: int, stage: Stage) -> tuple[Any, ...]:
        """Index of an in-plane crop about a lesion voxel or anywhere, decided by (seed, epoch, case)."""
        rng = np.random.default_rng(derive_seed(self.seed, epoch, case, 1000))
        about_lesion = rng.random() < stage.lesion_crops
        rows, columns = torch.nonzero(reference.any(dim=0), as_tuple=True)
        window: list[Any] = [...]
        pick = int(rng.integers(max(len(rows), 1)))
        for length, lesion in zip(reference.shape[-2:], (rows, columns), strict=True):
            size = crop_size(length, stage.crop)
            anywhere = int(rng.integers(length - size + 1))
            centred = int(lesion[pick]) - size // 2 if len(lesion) else anywhere
            start = min(max(centred, 0), length - size) if about_lesion else anywhere
            window.append(slice(start, start + size))
        return tuple(window)


class WholeCases(Dataset[Batch]):
    """Cases as they are, for validation and prediction; index -> one case.

    An item holds ``image`` (C', D, h, w) as the network takes it, ``case`` (its place in `cases`), and, on the case's
    own grid, ``brain`` (D, H, W) and, where there is one, ``reference`` (D, H, W).
    """

    def __init__(self, cases: Sequence[CachedCase], view: MethodView) -> None:
        self.cases = cases
        self.view = view

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Batch:
        """See the class."""
        case = self.cases[index]
        image = _network_axes(torch.from_numpy(_intensities(case, self.view.raw)))
        brain = _network_axes(torch.from_numpy(np.array(case.brain)[None]))[0]
        item = {
            "image": self.view.preparation.image(image, brain, case.spacing_mm),
            "case": torch.tensor(index),
            "brain": brain,
            "spacing_mm": torch.tensor(case.spacing_mm),
        }
        if case.reference is not None:
            item["reference"] = _network_axes(torch.from_numpy(np.array(case.reference)[None]))[0]
        return item


def crop_size(length: int, share: float) -> int:
    """Side of a crop in voxels: a share of the slice's, rounded down to a multiple of 16, at least 16."""
    return min(length, max(16, int(length * share) // 16 * 16))


def collate(samples: Sequence[Batch]) -> Batch:
    """Join samples along their batch axis, padded at the ends to the largest depth, height and width.

    Images are padded by replication (batch normalisation then sees no foreign value), references with background;
    ``valid`` (bool, the reference's shape) says which voxels are real.
    """
    size = [
        max(sample["reference"].shape[axis] for sample in samples) for axis in range(1, samples[0]["reference"].ndim)
    ]
    marked = [sample | {"valid": torch.ones(sample["reference"].shape, dtype=torch.bool)} for sample in samples]
    alike = [padded(sample, size) for sample in marked]
    return {name: torch.cat([sample[name] for sample in alike]) for name in ("image", "reference", "valid")}


def padded(batch: Batch, size: Sequence[int]) -> Batch:
    """A batch with images of a larger size (D,) h, w: see `collate`."""
    padding: list[int] = []
    for wanted, length in zip(reversed(size), reversed(batch["reference"].shape[1:]), strict=True):
        padding += [0, wanted - length]
    if not any(padding):
        return batch
    fill = {name: functional.pad(batch[name], padding) for name in ("reference", "valid")}
    return batch | fill | {"image": functional.pad(batch["image"], padding, mode="replicate")}


def only(samples: Sequence[Batch]) -> Batch:
    """Collate for loaders that serve one case at a time."""
    (sample,) = samples
    return sample


def _intensities(case: CachedCase, raw: bool) -> np.ndarray:
    if raw:
        return np.array(case.image)
    return zscore(strip_ct(case.image, case.brain, case.channels), case.mean, case.sd)


def _network_axes(array: Tensor) -> Tensor:
    """(C, X, Y, Z) as on disk -> (C, D, H, W) as networks have it: D = Z, H = Y, W = X."""
    return array.permute(0, 3, 2, 1).contiguous()
