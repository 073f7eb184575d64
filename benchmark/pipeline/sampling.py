"""Which cases and slices make up each batch: pure functions of (seed, epoch), the same on every rank.

A batch is a list of keys; a key carries its epoch, so that turning it into a sample needs no state. Across ranks a
*global* batch is drawn and split, so N processes see what one process with N times the batch size sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

#: Most slices of a case that stay together on the way into batches.
CHUNK = 8


class Key(NamedTuple):
    """What to load: slices of a case (None: the whole volume) as they are in an epoch."""

    epoch: int
    case: int
    slices: tuple[int, ...] | None = None


def volume_batches(depths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[Key]]:
    """Every volume once, in batches of similar depth, both in random order.

    Volumes are sorted by depth with ties broken at random, so that a batch needs little padding; the order of the
    batches is random. Where they do not fill the last batch, the shallowest volumes are served twice.

    Args:
        depths: slices of each case.
        batch_size: volumes in a (global) batch.
        seed: of the training.
        epoch: counted from 0.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    order = sorted(rng.permutation(len(depths)).tolist(), key=lambda index: depths[index])
    fill = -len(order) % batch_size
    order = [order[index % len(order)] for index in range(fill)] + order
    batches = [
        [Key(epoch, case) for case in order[start : start + batch_size]] for start in range(0, len(order), batch_size)
    ]
    return [batches[index] for index in rng.permutation(len(batches))]


def slice_batches(
    lesion_slices: Sequence[Sequence[bool]],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    lesion_fraction: float = 0.0,
) -> list[list[Key]]:
    """Every slice once, but for exchanges, in batches that hold at least a share of lesion slices.

    A case's slices come in chunks, which keeps what is drawn for a batch, and its noise, to a few cases. Where a batch
    has too few slices with lesion, slices without are exchanged for lesion slices drawn at random from all cases.

    Args:
        lesion_slices: for each case, whether each of its slices holds lesion.
        batch_size: slices in a (global) batch.
        seed: of the training.
        epoch: counted from 0.
        lesion_fraction: least share of slices with lesion in a batch, 0 to 1.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    chunks: list[list[tuple[int, int]]] = []
    for case, lesion in enumerate(lesion_slices):
        slices = [(case, int(index)) for index in rng.permutation(len(lesion))]
        chunks += [slices[start : start + CHUNK] for start in range(0, len(slices), CHUNK)]
    order = [entry for index in rng.permutation(len(chunks)) for entry in chunks[index]]
    fill = -len(order) % batch_size
    order += [order[index % len(order)] for index in range(fill)]
    with_lesion = [
        (case, index) for case, lesion in enumerate(lesion_slices) for index in np.flatnonzero(lesion).tolist()
    ]
    needed = min(int(np.ceil(lesion_fraction * batch_size)), batch_size)
    batches = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        without = [place for place, (case, index) in enumerate(batch) if not lesion_slices[case][index]]
        missing = needed - (batch_size - len(without))
        if missing > 0 and with_lesion:
            spare = [entry for entry in with_lesion if entry not in batch] or with_lesion
            drawn = rng.choice(len(spare), size=missing, replace=missing > len(spare))
            for place, index in zip(rng.permutation(without)[:missing], drawn, strict=True):
                batch[place] = spare[index]
        batches.append(_as_keys(batch, epoch))
    return batches


def case_batches(
    lesion_slices: Sequence[Sequence[bool]],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    lesion_fraction: float = 0.0,
) -> list[list[Key]]:
    """As many batches as `slice_batches` makes, with equally many slices of every case.

    Each case is served as often as any other, or once more. A thin case repeats its slices, which are the same samples
    within an epoch; of a thick one, each epoch draws other slices. Where a batch has too few slices with lesion, slices
    without are exchanged for lesion slices of the same case, as far as these cases have any.

    Args:
        lesion_slices: for each case, whether each of its slices holds lesion.
        batch_size: slices in a (global) batch.
        seed: of the training.
        epoch: counted from 0.
        lesion_fraction: least share of slices with lesion in a batch, 0 to 1.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    count = sum(map(len, lesion_slices))
    count += -count % batch_size
    turns, once_more = divmod(count, len(lesion_slices))
    served = np.full(len(lesion_slices), turns)
    served[rng.permutation(len(lesion_slices))[:once_more]] += 1
    chunks: list[list[tuple[int, int]]] = []
    for case, lesion in enumerate(lesion_slices):
        for start in range(0, int(served[case]), len(lesion)):
            slices = rng.permutation(len(lesion))[: served[case] - start].tolist()
            chunks += [[(case, index) for index in slices[i : i + CHUNK]] for i in range(0, len(slices), CHUNK)]
    order = [entry for index in rng.permutation(len(chunks)) for entry in chunks[index]]
    with_lesion = [np.flatnonzero(lesion).tolist() for lesion in lesion_slices]
    needed = int(np.ceil(lesion_fraction * batch_size))
    batches = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        missing = needed - sum(lesion_slices[case][index] for case, index in batch)
        places = [place for place, (case, index) in enumerate(batch) if not lesion_slices[case][index]]
        places = [place for place in places if with_lesion[batch[place][0]]]
        for place in rng.permutation(places)[: max(missing, 0)].tolist():
            case = batch[place][0]
            spare = [index for index in with_lesion[case] if (case, index) not in batch] or with_lesion[case]
            batch[place] = (case, int(rng.choice(spare)))
        batches.append(_as_keys(batch, epoch))
    return batches


def _as_keys(batch: list[tuple[int, int]], epoch: int) -> list[Key]:
    """(case, slice) pairs -> one key for each case."""
    return [
        Key(epoch, case, tuple(index for _, index in entries))
        for case, entries in groupby(sorted(batch), key=lambda entry: entry[0])
    ]


def split_batch(batch: list[Key], rank: int, ranks: int) -> list[Key]:
    """The part of a global batch that one of `ranks` processes trains on: equal numbers of volumes or slices."""
    if ranks == 1:
        return batch
    entries = [(key.case, index) for key in batch for index in (key.slices or (None,))]
    part = entries[rank::ranks]  # dealt out in turn: a batch is sorted by case
    epoch = batch[0].epoch
    if part and part[0][1] is None:
        return [Key(epoch, case) for case, _ in part]
    return _as_keys([(case, index) for case, index in part if index is not None], epoch)


class EpochBatches:
    """The keys of each batch of the current epoch; Lightning calls `set_epoch` before each."""

    def __init__(self, batches: Callable[[int], list[list[Key]]], rank: int = 0, ranks: int = 1) -> None:
        """Take `batches`: a function epoch -> list of global batches."""
        self._batches = batches
        self._rank = rank
        self._ranks = ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Key]]:
        return self.of(self.epoch)

    def whole(self, place: int) -> list[Key]:
        """A batch of the current epoch as it is before it is split among the ranks."""
        return self._batches(self.epoch)[place]

    def of(self, epoch: int) -> Iterator[list[Key]]:
        """The batches of another epoch."""
        return (split_batch(batch, self._rank, self._ranks) for batch in self._batches(epoch))

    def __len__(self) -> int:
        return len(self._batches(self.epoch))
