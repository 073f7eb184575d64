"""The paper's Dice loss (eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.methods.distributed import summed


def dice(logits: Tensor, reference: Tensor, valid: Tensor, smooth: float = 1.0) -> Tensor:
    """``1 - (2 sum p q + e) / (sum q + sum p + e)`` over the whole batch, of all processes: eq. 4 with its one class.

    The paper's formula has no e; with e = 1 (our choice) a batch without lesion has a value and a gradient.

    Args:
        logits: (N, 1, H, W), before the sigmoid.
        reference: (N, H, W), 0 or 1.
        valid: (N, H, W) bool.
        smooth: e.

    Returns:
        A scalar in [0, 1].
    """
    inside = valid.float()
    p, q = torch.sigmoid(logits[:, 0].float()) * inside, reference.float() * inside
    overlap, size = summed((p * q).sum(), p.sum() + q.sum())
    return 1 - (2 * overlap + smooth) / (size + smooth)


def cross_entropy(logits: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
    """Mean binary cross-entropy over the real pixels; same shapes as `dice`."""
    entropy = functional.binary_cross_entropy_with_logits(logits[:, 0].float(), reference.float(), reduction="none")
    total, pixels = summed((entropy * valid).sum(), valid.sum().float())
    return total / pixels.clamp(min=1)
