from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from served import CPU, SLICES, batches_of, epoch_of, samples

from benchmark.pipeline import noise as noise_module
from benchmark.pipeline.augment import Noise
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datasets import TrainingBatches
from benchmark.pipeline.noise import Fields


def test_what_a_case_is_drawn_is_made_once_for_all_batches_of_an_epoch(
    cached: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    field = Noise.field
    monkeypatch.setattr(Noise, "field", lambda noise, *shape: made.append(noise) or field(noise, *shape))
    epoch_of(TrainingBatches(samples(cached, SLICES), batches_of(cached, SLICES), 3), 1)
    assert 2 < len(made) == len(set(made)) < len(cached)


def test_a_field_comes_in_the_networks_axes_with_the_numbers_of_its_seed() -> None:
    noise = Noise(0.5, 2.0, 7)
    with ThreadPoolExecutor(1) as executor:
        slices = Fields(CPU).begin(noise, 2, (3, 4, 5), executor).slices
    assert slices.shape == (5, 2, 4, 3)
    drawn = 0.5 + 2.0 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(7))
    for channel, x, y, z in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 2, 1, 3)):
        assert slices[z, channel, y, x] == pytest.approx(drawn[channel, x, y, z].item())


def test_the_oldest_field_is_forgotten_where_more_are_asked_for_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "KEPT", 3)
    fields = Fields(CPU)
    with ThreadPoolExecutor(1) as executor:
        begin = functools.partial(fields.begin, channels=1, shape=(2, 2, 2), executor=executor)
        begun = {seed: begin(Noise(0.0, 1.0, seed)) for seed in range(4)}
        assert all(begin(Noise(0.0, 1.0, seed)) is begun[seed] for seed in (1, 2, 3))
        assert begin(Noise(0.0, 1.0, 0)) is not begun[0]


def test_fields_of_large_cases_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "KEPT_BYTES", 3 * 4 * 8)  # three fields of eight numbers
    fields = Fields(CPU)
    with ThreadPoolExecutor(1) as executor:
        begin = functools.partial(fields.begin, channels=1, executor=executor)
        begun = {seed: begin(Noise(0.0, 1.0, seed), shape=(2, 2, 2)) for seed in range(4)}
        assert all(begin(Noise(0.0, 1.0, seed), shape=(2, 2, 2)) is begun[seed] for seed in (1, 2, 3))
        large = begin(Noise(0.0, 1.0, 9), shape=(9, 9, 9))  # larger than all that may be kept
        assert begin(Noise(0.0, 1.0, 9), shape=(9, 9, 9)) is large
        assert begin(Noise(0.0, 1.0, 3), shape=(2, 2, 2)) is not begun[3]
