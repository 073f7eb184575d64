from __future__ import annotations

import pytest
from served import SLICES, batches_of, epoch_of, samples

from benchmark.pipeline.augment import Noise
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datasets import TrainingBatches


def test_what_a_case_is_drawn_is_made_once_for_all_batches_of_an_epoch(
    cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    field = Noise.field
    monkeypatch.setattr(Noise, "field", lambda noise, *shape: made.append(noise) or field(noise, *shape))
    epoch_of(TrainingBatches(samples(cached, SLICES), batches_of(cached, SLICES), 3), 1)
    assert 2 < len(made) == len(set(made)) < len(cached)
