"""Sums and sizes over all processes of one training; gradients flow through the sums.

With these, N processes compute the loss of one process with N times the batch. All processes must call each function
alike; a single process gets its own values back, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes, with a gradient (nnU-Net gathers its batch Dice likewise).

    Every process minimises the same function of the global sums, so the gradient of this process's part is the sum of
    all processes' gradients. With the mean that DistributedDataParallel takes, N processes see the gradient of one
    process with N times the batch.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The sum, on every process."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of the processes' gradients."""
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def summed(*parts: Tensor) -> tuple[Tensor, ...]:
    """The sum over all processes of each tensor, in one exchange; tensors of one shape and type."""
    if world_size() == 1:
        return parts
    return _SumOverProcesses.apply(torch.stack(parts)).unbind()


def largest(sizes: Sequence[int], device: torch.device) -> list[int]:
    """The largest of each size over all processes, which exchange tensors on `device`."""
    if world_size() == 1:
        return list(sizes)
    sizes_now = torch.tensor(sizes, device=device)
    distributed.all_reduce(sizes_now, distributed.ReduceOp.MAX)
    return sizes_now.tolist()
