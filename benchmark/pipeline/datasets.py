"""From keys to samples on the device: a key says which case, which epoch and which slices, and that decides the sample.

There are no loader processes: cases lie on the device (`store`), where they are augmented and prepared. For a GPU, the
host does its share of a batch (draws, noise, reading) a few batches ahead.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.machine.graphs import SideStream
from benchmark.pipeline.augment import Draw, Part, Window, augmented, derive_seed, draw
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import Stage
from benchmark.pipeline.inplane import chained, inverted, mapped, moved
from benchmark.pipeline.midline import mirror_map
from benchmark.pipeline.noise import Field, Fields
from benchmark.pipeline.preparation import Plane, Preparation, between_slices, nearest_slices, prepared_case
from benchmark.pipeline.sampling import EpochBatches, Key
from benchmark.pipeline.store import Slices, Store, Wanted, slice_places

View = Literal["slices", "volumes"]
#: Tensors on the device and values on the host: see `TrainingSamples` and `WholeCases`.
Batch = dict[str, Any]

#: Batches that are planned ahead of a GPU, and threads that draw noise and read files for them: drawing the noise of 22
#: slices takes a thread as long as half a dozen steps take a GPU.
AHEAD, THREADS = 8, 8


@dataclass(frozen=True)
class MethodView:
    """How a method looks at the data."""

    view: View  #: 2D slices or whole volumes
    neighbours: int  #: for slices, how many on each side come along as channels
    preparation: Preparation  #: the method's own deterministic preparation
    curriculum: Callable[[int], Stage]  #: epoch -> stage
    raw: bool = False  #: physical units instead of z-scores (for rules with thresholds; never augmented)


@dataclass(frozen=True)
class _Planned:
    """What a batch needs from one case."""

    place: int  #: index of the case in the store
    native: list[int]  #: the slices of it that are needed, ascending
    positions: np.ndarray  #: where the wanted slices (and their neighbours: a second axis) lie in `native`
    nearest: np.ndarray  #: where the wanted slices' references lie in `native`
    part: Part  #: what is done to the native slices; its noise comes later
    noise: Field | None  #: noise of the whole case, if any
    plane: Plane  #: plane of the augmented slices


@dataclass(frozen=True)
class Plan:
    """A batch before it is on the device: for each size of slice, what it needs and what was read for it."""

    groups: list[tuple[list[_Planned], Future[Slices | None]]]


class TrainingSamples:
    """Augmented batches on the device.

    Args:
        store: the training cases.
        view: how the method looks at them.
        seed: of the training.
        augmented: False leaves the augmentation out.
    """

    def __init__(self, store: Store, view: MethodView, seed: int, augmented: bool = True) -> None:
        self.store = store
        self.view = view
        self.seed = seed
        self.augmented = augmented
        # A case comes in several batches of an epoch, which draw the same.
        self._draw = functools.lru_cache(maxsize=4096)(self._draw_anew)
        self._fields = Fields(store.device)

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        """A batch: ``image`` (N, C', [D,] h, w) float32, ``reference`` and ``valid`` (N, [D,] h, w) uint8 and bool.

        ``valid`` is False where a sample was padded to the size of the others.
        """
        return self.build(self.plan(keys, _AtOnce()))

    def plan(self, keys: Sequence[Key], executor: Executor) -> Plan:
        """Draw a batch's transforms, and have the executor draw the noise and read the files.

        Transforms are drawn in the calling thread: TorchIO takes them from the process's one generator.
        """
        groups: dict[tuple[int, int], list[_Planned]] = {}
        for key in keys:
            groups.setdefault(self.store.cases[key.case].size, []).append(self._planned(key, executor))
        return Plan([(planned, executor.submit(self.store.fetch, _wanted(planned))) for planned in groups.values()])

    def build(self, plan: Plan) -> Batch:
        """The batch on the device; does not wait for the device."""
        return collate([sample for group in plan.groups for sample in self._samples(*group)])

    def _planned(self, key: Key, executor: Executor) -> _Planned:
        case, preparation = self.store.cases[key.case], self.view.preparation
        stage = self.view.curriculum(key.epoch)
        drawn = self._draw(len(case.channels), key.epoch, case.number, stage.augmentation) if self.augmented else Draw()
        positions = preparation.positions(case.depth, case.spacing_mm)
        nearest = nearest_slices(preparation, case.depth, case.spacing_mm)
        if key.slices is not None:
            chosen = np.array(key.slices)
            offsets = np.arange(-self.view.neighbours, self.view.neighbours + 1)
            positions = positions[(chosen[:, None] + offsets).clip(0, len(positions) - 1)]
            nearest = nearest[chosen]
        below = np.floor(positions).astype(int)
        needed = np.unique(np.concatenate([below.ravel(), np.ceil(positions).astype(int).ravel(), nearest]))
        window = self._window(case, drawn, key.epoch, stage) if stage.crop < 1 else None
        noise = None
        if drawn.noise is not None:
            height, width = case.size
            noise = self._fields.begin(drawn.noise, len(case.channels), (width, height, case.depth), executor)
        return _Planned(
            key.case,
            needed.tolist(),
            np.searchsorted(needed, below) + (positions - below),
            np.searchsorted(needed, nearest),
            Part(len(needed), drawn, case.pixel_mm, window),
            noise,
            _plane(case, drawn, window),
        )

    def _draw_anew(self, channels: int, epoch: int, case: int, strength: float) -> Draw:
        return draw(channels, seed=self.seed, epoch=epoch, case=case, strength=strength)

    def _samples(self, planned: list[_Planned], read: Future[Slices | None]) -> Iterator[Batch]:
        """Samples from cases whose slices have one size: each with a leading batch axis."""
        slices = self.store.deliver(_wanted(planned), read.result())
        lowest = np.concatenate([np.tile(self.store.cases[p.place].lowest, (len(p.native), 1)) for p in planned])
        fill = torch.from_numpy(lowest).to(slices.images.device, non_blocking=True)
        parts = [p.part if p.noise is None else replace(p.part, noise=_seen(p.noise, p)) for p in planned]
        slices = Slices(*augmented(*slices, fill, parts))
        planes = [p.plane for p in planned for _ in p.native]
        image = self.view.preparation.image(slices.images, slices.brain, planes)
        reference = self.view.preparation.reference(slices.reference, planes)
        starts = [0, *itertools.accumulate(len(p.native) for p in planned)]
        positions = [start + p.positions for start, p in zip(starts, planned, strict=False)]
        nearest = [start + p.nearest for start, p in zip(starts, planned, strict=False)]
        if self.view.view == "slices":
            chosen = between_slices(image, np.concatenate(positions))  # (N, O, C', h, w)
            yield {"image": chosen.flatten(1, 2), "reference": between_slices(reference, np.concatenate(nearest))}
            return
        for here, at in zip(positions, nearest, strict=True):
            yield {
                "image": between_slices(image, here).transpose(0, 1)[None],
                "reference": between_slices(reference, at)[None],
            }

    def _window(self, case: CachedCase, drawn: Draw, epoch: int, stage: Stage) -> Window:
        """A crop in plane about a lesion's pixel or anywhere, decided by (seed, epoch, case).

        The pixel is one of the case's own reference, carried to where the augmentation puts it.
        """
        rng = np.random.default_rng(derive_seed(self.seed, epoch, case.number, 1000))
        about_lesion = rng.random() < stage.lesion_crops
        lesion = case.lesion_pixels
        pick = int(rng.integers(max(len(lesion), 1)))
        anywhere, sizes = [], []
        for length in case.size:
            size = crop_size(length, stage.crop)
            sizes.append(size)
            anywhere.append(int(rng.integers(length - size + 1)))
        top, left = anywhere
        if about_lesion and len(lesion):
            row, column = lesion[pick].tolist()
            column, row = mapped(inverted(drawn.pixels(case.size, case.pixel_mm)), (column, row))
            top, left = (
                min(max(round(centre) - size // 2, 0), length - size)
                for centre, size, length in zip((row, column), sizes, case.size, strict=True)
            )
        return Window(top, left, *sizes)


class TrainingBatches:
    """The batches of the current epoch, one after the other; Lightning tells the epoch to `sampler`.

    A GPU makes a batch beside the step on the one before.

    Args:
        samples: what makes a batch of keys.
        sampler: the keys of each batch.
        epochs: how many there will be at most.
    """

    def __init__(self, samples: TrainingSamples, sampler: EpochBatches, epochs: int) -> None:
        self.samples = samples
        self.sampler = sampler
        self.epochs = epochs
        self._ahead: _PlannedAhead | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        if self.samples.store.device.type != "cuda":
            # Every core computes the network: batches that are ready early would gain nothing.
            yield from (self.samples[keys] for keys in self.sampler)
            return
        epoch = self.sampler.epoch
        ahead, self._ahead = self._ahead, None  # an epoch that was left early is not continued
        if ahead is None or ahead.epoch != epoch:
            ahead = _PlannedAhead(self.samples, self.sampler, range(epoch, max(self.epochs, epoch + 1)))
        beside = SideStream(self.samples.store.device)
        beside.follow()  # the cases are there by then
        while ahead.epoch == epoch:
            with beside.current():
                batch = self.samples.build(ahead.take())
            beside.join(*batch.values())
            yield batch
        self._ahead = ahead


class _PlannedAhead:
    """Batches of this epoch and the next ones, of which the first `AHEAD` are planned."""

    def __init__(self, samples: TrainingSamples, sampler: EpochBatches, epochs: range) -> None:
        executor = ThreadPoolExecutor(THREADS)
        self._coming = ((epoch, samples.plan(keys, executor)) for epoch in epochs for keys in sampler.of(epoch))
        self._planned = deque(itertools.islice(self._coming, AHEAD))

    @property
    def epoch(self) -> int | None:
        """Of the next batch; None after the last."""
        return self._planned[0][0] if self._planned else None

    def take(self) -> Plan:
        """The next batch; another one is planned in its place."""
        self._planned.extend(itertools.islice(self._coming, 1))
        return self._planned.popleft()[1]


class _AtOnce(Executor):
    """An executor that runs each call at once, in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor`."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class WholeCases:
    """Cases as they are, for validation and prediction, made when they are asked for.

    An item holds ``image`` (C', d, h, w) as the network takes it, on the case's own grid ``brain`` (D, H, W) and, where
    there is one, ``reference`` (D, H, W), all on the device; and on the host ``case`` (its place among the cases),
    ``spacing_mm`` and ``midline``.

    Args:
        store: the cases.
        view: how the method looks at them.
        places: which cases an iteration gives, in this order; None: all.
    """

    def __init__(self, store: Store, view: MethodView, places: Sequence[int] | None = None) -> None:
        self.store = store
        self.view = view
        self.places = range(len(store.cases)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.__getitem__, self.places)

    def __getitem__(self, index: int) -> Batch:
        case = self.store.cases[index]
        item: Batch = {"case": index, "spacing_mm": case.spacing_mm, "midline": case.midline}
        if self.view.raw:
            image = torch.from_numpy(np.array(case.image.swapaxes(0, 1)))
            masks = {"brain": case.brain, "reference": case.reference}
            tensors = {name: torch.from_numpy(np.array(mask)) for name, mask in masks.items() if mask is not None}
            return item | {name: tensor.to(self.store.device) for name, tensor in {"image": image, **tensors}.items()}
        wanted = [(index, range(case.depth))]
        slices = self.store.deliver(wanted, self.store.fetch(wanted))
        plane = _plane(case, Draw(), None)
        image = prepared_case(self.view.preparation, slices.images, slices.brain, plane, case.spacing_mm)
        item |= {"image": image, "brain": slices.brain}
        return item if case.reference is None else item | {"reference": slices.reference}


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
    marked = [sample | {"valid": torch.ones_like(sample["reference"], dtype=torch.bool)} for sample in samples]
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


def _wanted(planned: Sequence[_Planned]) -> list[Wanted]:
    return [(p.place, p.native) for p in planned]


def _seen(field: Field, planned: _Planned) -> Tensor:
    """(S, C, h, w): what a part of a batch sees of a case's noise."""
    seen = field.slices[slice_places(planned.native, field.slices.device)]
    return seen if planned.part.window is None else planned.part.window.of(seen)


def _plane(case: CachedCase, drawn: Draw, window: Window | None) -> Plane:
    """The plane of a case's slices after the augmentation and the crop."""
    back = drawn.pixels(case.size, case.pixel_mm)
    if window is not None:
        back = chained(moved(window.left, window.top), back)
    there = chained(back, mirror_map(case.midline, case.spacing_mm))
    return Plane(case.pixel_mm, chained(there, inverted(back)))
