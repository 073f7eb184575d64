"""Where the slices of a fold's cases lie while a job works: all in the device's memory, or read batch by batch.

ISLES 2018 takes 0.66 GB as z-scores, which any GPU has to spare. What is larger than a sixteenth of a GPU's memory
(jobs may share it, each with one store for training and one for validation), or a gigabyte on CPUs, stays in the
memory-mapped cache; its slices are read ahead into pinned memory. Both ways give the same values, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmark.machine.graphs import pinned
from benchmark.pipeline.cache import CachedCase

#: Largest share of a GPU's memory that a store's cases may lie in; on CPUs, where every core may have a job, bytes.
SHARE, CPU_BYTES = 1 / 16, 2**30

#: Place of a case among a store's cases, and which of its slices.
Wanted = tuple[int, Sequence[int]]


class Slices(NamedTuple):
    """Slices of cases, one after the other."""

    images: Tensor  #: (S, C, H, W) float32, z-scored
    labels: Tensor  #: (S, H, W) uint8: the reference in the lowest bit, the brain in the next

    @property
    def reference(self) -> Tensor:
        """(S, H, W) uint8."""
        return self.labels & 1

    @property
    def brain(self) -> Tensor:
        """(S, H, W) uint8."""
        return self.labels >> 1


class Store:
    """Slices of cases on a device.

    Args:
        cases: the cases.
        device: where their slices are needed.
        resident: keep all of them there; None: if there is room.
    """

    def __init__(self, cases: Sequence[CachedCase], device: torch.device, resident: bool | None = None) -> None:
        self.cases = cases
        self.device = device
        if resident is None:
            resident = sum(case.image.nbytes + case.brain.nbytes for case in cases) <= room_on(device)
        self.resident = [_to(device, _read(case, slice(None))) for case in cases] if resident else None

    def fetch(self, wanted: Sequence[Wanted]) -> Slices | None:
        """Read these slices from files, in any thread; None where they lie on the device already."""
        if self.resident is not None:
            return None
        read = [_read(self.cases[place], list(slices)) for place, slices in wanted]
        joined = Slices(*(torch.cat(parts) for parts in zip(*read, strict=True)))
        return Slices(*(pinned(part, self.device) for part in joined))

    def deliver(self, wanted: Sequence[Wanted], fetched: Slices | None) -> Slices:
        """The slices on the device, case after case in the order of `wanted`; all of one size, after `fetch`."""
        if fetched is not None:
            return _to(self.device, fetched)
        assert self.resident is not None
        parts = [_chosen(self.resident[place], slices) for place, slices in wanted]
        return Slices(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def room_on(device: torch.device) -> int:
    """Bytes that the cases of a store may take on a device."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return CPU_BYTES


def _read(case: CachedCase, slices: Sequence[int] | slice) -> Slices:
    labels = np.asarray(case.brain[slices]) << 1
    if case.reference is not None:
        labels = labels | case.reference[slices]
    return Slices(torch.from_numpy(np.ascontiguousarray(case.zscored(slices))), torch.from_numpy(labels))


def _to(device: torch.device, slices: Slices) -> Slices:
    return Slices(*(part.to(device, non_blocking=True) for part in slices))


def _chosen(case: Slices, slices: Sequence[int]) -> Slices:
    """Some slices of a case, in ascending order; a view where they follow one another."""
    places = slice_places(slices, case.labels.device)
    return Slices(*(part[places] for part in case))


def slice_places(slices: Sequence[int], device: torch.device) -> slice | Tensor:
    """An index for slices in ascending order: a range where they follow one another, which copies nothing."""
    first, last = slices[0], slices[-1]
    if last - first + 1 == len(slices):
        return slice(first, last + 1)
    return torch.tensor(slices).to(device, non_blocking=True)
