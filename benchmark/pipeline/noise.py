"""Noise of whole cases: drawn on the host, in any thread, and kept on the device for all batches of an epoch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from concurrent.futures import Executor, Future

import torch
from torch import Tensor

from benchmark.machine.graphs import pinned
from benchmark.pipeline.augment import Noise
from leaderboard.io.axes import slices_first

#: Fields that are kept; three of ten cases of an epoch have one, and the next epoch's are begun before its first batch.
KEPT = 64
#: Bytes that they may take together; a case of ISLES 2018 has at most 29 MB, one of ISLES 2024 half a gigabyte.
KEPT_BYTES = 2**31


class Field:
    """The noise of one case.

    Args:
        draw: gives (C, X, Y, Z) on the host.
        executor: calls it.
        device: where the noise is needed.
    """

    def __init__(self, draw: Callable[[], Tensor], executor: Executor, device: torch.device) -> None:
        self._host: Future[Tensor] | None = executor.submit(lambda: pinned(draw(), device))
        self._device = device

    @functools.cached_property
    def slices(self) -> Tensor:
        """(D, C, H, W) on the device."""
        assert self._host is not None
        drawn, self._host = self._host.result(), None
        return slices_first(drawn.to(self._device, non_blocking=True)).swapaxes(0, 1).contiguous()


class Fields:
    """The fields of the latest batches.

    Args:
        device: where they are needed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun: dict[Noise, Field] = {}
        self._bytes: dict[Noise, int] = {}

    def begin(self, noise: Noise, channels: int, shape: tuple[int, int, int], executor: Executor) -> Field:
        """A field; the executor draws its numbers unless the field is kept from before.

        Args:
            noise: how it is drawn.
            channels: of the case.
            shape: of the case, (X, Y, Z).
            executor: draws it.
        """
        if noise not in self._begun:
            self._begun[noise] = Field(functools.partial(noise.field, channels, shape), executor, self._device)
            self._bytes[noise] = 4 * channels * math.prod(shape)
            while len(self._begun) > 1 and (len(self._begun) > KEPT or sum(self._bytes.values()) > KEPT_BYTES):
                oldest = next(iter(self._begun))
                del self._begun[oldest], self._bytes[oldest]
        return self._begun[noise]
