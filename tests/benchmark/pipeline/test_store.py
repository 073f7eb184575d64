from __future__ import annotations

import pytest
import torch
from served import CPU, SLICES, VOLUMES, assert_same, batches_of, epoch_of

from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datasets import (
    TrainingBatches,
    TrainingSamples,
    WholeCases,
)
from benchmark.pipeline.store import Store


def test_cases_read_batch_by_batch_and_cases_in_memory_give_the_same_bits(cached: list[CachedCase]) -> None:
    for view in (SLICES, VOLUMES):
        sampler = batches_of(cached, view)
        resident, read = (
            TrainingBatches(TrainingSamples(Store(cached, CPU, resident=kept), view, 0), sampler, 3)
            for kept in (True, False)
        )
        for one, other in zip(epoch_of(resident, 2), epoch_of(read, 2), strict=True):
            assert_same(one, other)
        items = [WholeCases(Store(cached, CPU, resident=kept), view)[4] for kept in (True, False)]
        assert torch.equal(items[0]["image"], items[1]["image"])


def test_cases_stay_in_memory_where_there_is_room(cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(case.image.nbytes + case.brain.nbytes for case in cached)
    for room in (size, size - 1):
        monkeypatch.setattr("benchmark.pipeline.store.CPU_BYTES", room)
        assert (Store(cached, CPU).resident is not None) == (room == size)
