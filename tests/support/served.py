"""Cases served as batches: what the tests of data sets and stores share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import ConstantCurriculum
from benchmark.pipeline.datasets import (
    Batch,
    MethodView,
    TrainingBatches,
    TrainingSamples,
    WholeCases,
)
from benchmark.pipeline.preparation import PadToMultiple
from benchmark.pipeline.sampling import EpochBatches, Key, slice_batches, volume_batches
from benchmark.pipeline.store import Store

CPU = torch.device("cpu")
SLICES = MethodView("slices", 0, PadToMultiple(16), ConstantCurriculum())
VOLUMES = MethodView("volumes", 0, PadToMultiple(16), ConstantCurriculum())


def samples(cached: Sequence[CachedCase], view: MethodView, seed: int = 0, **options: bool) -> TrainingSamples:
    return TrainingSamples(Store(cached, CPU), view, seed, **options)


def whole(cached: Sequence[CachedCase], view: MethodView) -> WholeCases:
    return WholeCases(Store(cached, CPU), view)


def batches_of(cached: Sequence[CachedCase], view: MethodView, rank: int = 0, ranks: int = 1) -> EpochBatches:
    lesion = [case.lesion_slices.tolist() for case in cached]

    def batches(epoch: int) -> list[list[Key]]:
        if view.view == "volumes":
            return volume_batches([len(slices) for slices in lesion], 2, 0, epoch)
        return slice_batches(lesion, 16, 0, epoch, lesion_fraction=0.5)

    return EpochBatches(batches, rank, ranks)


def epoch_of(served: TrainingBatches, epoch: int) -> list[Batch]:
    served.sampler.set_epoch(epoch)
    return list(served)


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("image", "reference", "valid"):
        assert torch.equal(one[name], other[name]), name
