from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.pipeline.sampling import EpochBatches, Key, case_batches, slice_batches, split_batch, volume_batches

DEPTHS = st.lists(st.sampled_from([2, 4, 8, 16, 22]), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(depths=DEPTHS, batch_size=st.integers(1, 5), epoch=st.integers(0, 3))
def test_every_volume_is_served_in_full_batches(depths: list[int], batch_size: int, epoch: int) -> None:
    batches = volume_batches(depths, batch_size, 0, epoch)
    served = Counter(key.case for batch in batches for key in batch)
    assert set(served) == set(range(len(depths)))
    assert all(len(batch) == batch_size for batch in batches)
    assert sum(served.values()) - len(depths) < batch_size  # only the last batch is filled up
    assert max(served.values()) <= max(2, -(-batch_size // len(depths)))


def test_volume_batches_hold_similar_depths() -> None:
    depths = [2, 22] * 10
    mixed = sum(len({depths[key.case] for key in batch}) > 1 for batch in volume_batches(depths, 2, 0, 0))
    assert mixed == 0


def test_volume_batches_come_in_random_order_of_depth() -> None:
    depths = list(range(40))
    first = [[batch[0].case for batch in volume_batches(depths, 4, 0, epoch)] for epoch in range(5)]
    assert all(order not in (sorted(order), sorted(order, reverse=True)) for order in first)
    assert len({tuple(order) for order in first}) == 5


@settings(max_examples=50, deadline=None)
@given(depths=DEPTHS, batch_size=st.integers(1, 16), seed=st.integers(0, 5))
def test_every_slice_is_served_in_full_batches(depths: list[int], batch_size: int, seed: int) -> None:
    lesion = [[True] * depth for depth in depths]
    batches = slice_batches(lesion, batch_size, seed, 0)
    served = Counter((key.case, index) for batch in batches for key in batch for index in key.slices or ())
    assert set(served) == {(case, index) for case, depth in enumerate(depths) for index in range(depth)}
    assert all(sum(len(key.slices or ()) for key in batch) == batch_size for batch in batches)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_half_of_each_batch_holds_lesion_even_where_lesion_is_rare(share: float) -> None:
    rng = np.random.default_rng(0)
    lesion = [(rng.random(8) < share).tolist() for _ in range(20)]
    for batch in slice_batches(lesion, 16, 0, 0, lesion_fraction=0.5):
        assert sum(lesion[key.case][index] for key in batch for index in key.slices or ()) >= 8


def test_exchanged_slices_are_not_in_their_batch_already() -> None:
    lesion = [[True] * 4 + [False] * 12 for _ in range(10)]
    for epoch in range(5):
        for batch in slice_batches(lesion, 16, 0, epoch, lesion_fraction=0.5):
            served = [(key.case, index) for key in batch for index in key.slices or ()]
            assert len(set(served)) == 16


def test_which_slices_of_a_case_stay_together_is_drawn_anew_in_each_epoch() -> None:
    chunks = [frozenset(key.slices or ()) for epoch in range(5) for (key,) in slice_batches([[True] * 16], 8, 0, epoch)]
    assert {len(chunk) for chunk in chunks} == {8}
    assert len(set(chunks)) == 10


def test_a_cohort_without_lesion_is_served_all_the_same() -> None:
    assert len(slice_batches([[False] * 4] * 4, 8, 0, 0, lesion_fraction=0.5)) == 2


@settings(max_examples=50, deadline=None)
@given(depths=DEPTHS, batch_size=st.integers(1, 16), seed=st.integers(0, 5), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_by_case_every_case_is_served_equally_often(
    depths: list[int], batch_size: int, seed: int, share: float
) -> None:
    lesion = [[index % 3 == 1 for index in range(depth)] for depth in depths]
    batches = case_batches(lesion, batch_size, seed, 0, lesion_fraction=share)
    assert len(batches) == len(slice_batches(lesion, batch_size, seed, 0))
    assert all(sum(len(key.slices or ()) for key in batch) == batch_size for batch in batches)
    served = Counter(key.case for batch in batches for key in batch for _ in key.slices or ())
    assert max(served.values()) - min(served[case] for case in range(len(depths))) <= 1
    for batch in batches:  # every case has lesion, so every batch can have its share
        found = sum(lesion[key.case][index] for key in batch for index in key.slices or ())
        assert found >= share * batch_size


def test_by_slice_thin_cases_are_a_fifth_of_what_is_seen_and_by_case_half() -> None:
    lesion = [[True] * 2] * 10 + [[True] * 8] * 10
    shares = []
    for batches in (slice_batches, case_batches):
        served = [key for batch in batches(lesion, 10, 0, 0) for key in batch]
        shares.append(sum(len(key.slices or ()) for key in served if key.case < 10) / 100)
    assert shares == [0.2, 0.5]


def test_by_case_each_epoch_draws_other_slices_of_a_thick_case_and_all_of_a_thin_one() -> None:
    lesion = [[True] * 2, [True] * 2, [True] * 20]
    epochs = [
        {(key.case, index) for batch in batches for key in batch for index in key.slices or ()}
        for batches in (case_batches(lesion, 4, 0, epoch) for epoch in range(8))
    ]
    assert all(epoch >= {(0, 0), (0, 1), (1, 0), (1, 1)} for epoch in epochs)
    assert all(len(epoch) == 4 + 8 for epoch in epochs)
    assert len(set.union(*epochs)) == 24


@pytest.mark.parametrize("make", [slice_batches, case_batches])
def test_order_differs_between_epochs_and_seeds_and_repeats_otherwise(make: Callable[..., list[list[Key]]]) -> None:
    lesion = [[True] * 4] * 20
    one = make(lesion, 8, 0, 0)
    assert one == make(lesion, 8, 0, 0)
    strip = lambda batches: [[key[1:] for key in batch] for batch in batches]  # noqa: E731
    assert strip(one) != strip(make(lesion, 8, 0, 1))
    assert strip(one) != strip(make(lesion, 8, 1, 0))


@pytest.mark.parametrize("make", [slice_batches, case_batches])
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_a_global_batch_without_overlap(ranks: int, make: Callable[..., list[list[Key]]]) -> None:
    lesion = [[True] * depth for depth in (2, 8, 4, 4, 16, 2)]
    for batch in make(lesion, 8, 0, 0):
        parts = [split_batch(batch, rank, ranks) for rank in range(ranks)]
        together = sorted((key.case, index) for part in parts for key in part for index in key.slices or ())
        assert together == sorted((key.case, index) for key in batch for index in key.slices or ())
        assert {sum(len(key.slices or ()) for key in part) for part in parts} == {8 // ranks}
    for volumes in volume_batches([2] * 8, 4, 0, 0):
        parts = [split_batch(volumes, rank, ranks) for rank in range(ranks)]
        assert sorted(key for part in parts for key in part) == sorted(volumes)


def test_keys_carry_the_epoch_that_was_set() -> None:
    sampler = EpochBatches(lambda epoch: [[Key(epoch, 0)]])
    sampler.set_epoch(5)
    assert list(sampler) == [[Key(5, 0)]]
    assert len(sampler) == 1
