"""nnU-Net's loss: soft Dice of the lesion plus cross-entropy, at every resolution of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.methods.distributed import summed


def supervision_weights(levels: int) -> list[float]:
    """Weights of the decoder's resolutions, the finest first: 1/2^i, but 1e-6 for the coarsest; their sum is 1.

    nnU-Net gives the coarsest 0, and 1e-6 under DDP, which wants a gradient for every parameter; here 1e-6 always.
    """
    weights = [1 / 2**level for level in range(levels)]
    if levels > 1:
        weights[-1] = 1e-6
    return [weight / sum(weights) for weight in weights]


def deep_supervision(
    logits: Sequence[Tensor], reference: Tensor, valid: Tensor, *, batch_dice: bool
) -> dict[str, Tensor]:
    """Weighted sums over resolutions of `lesion_dice` and the cross-entropy, 1:1.

    Args:
        logits: (N, 2, ...), the finest first.
        reference: (N, ...) at the finest resolution, 0 or 1; nearest neighbours make the coarser ones.
        valid: likewise, bool.
        batch_dice: the Dice sums run over the whole batch, on all processes, instead of each sample.

    Returns:
        ``loss`` and its terms ``dice`` and ``cross_entropy``.
    """
    dice, entropy = torch.zeros((), device=reference.device), torch.zeros((), device=reference.device)
    for weight, at_level in zip(supervision_weights(len(logits)), logits, strict=True):
        size = at_level.shape[2:]
        truth, inside = (
            functional.interpolate(part[:, None].float(), size, mode="nearest-exact")[:, 0]
            for part in (reference, valid)
        )
        dice = dice + weight * lesion_dice(at_level, truth, inside, batch_dice=batch_dice)
        each = functional.cross_entropy(at_level.float(), truth.long(), reduction="none")
        total, voxels = summed((each * inside).sum(), inside.sum())
        entropy = entropy + weight * total / voxels.clamp(min=1)
    return {"loss": dice + entropy, "dice": dice, "cross_entropy": entropy}


def lesion_dice(logits: Tensor, truth: Tensor, inside: Tensor, *, batch_dice: bool) -> Tensor:
    """``1 - (2 sum p g + e) / (sum p + sum g + e)`` of the lesion, e = 1e-5 (nnU-Net's soft Dice without background).

    Args:
        logits: (N, 2, ...).
        truth: (N, ...) float, 0 or 1.
        inside: (N, ...) float, 0 where padded.
        batch_dice: one Dice over the batch of all processes, else the mean over samples.
    """
    axes = tuple(range(0 if batch_dice else 1, truth.ndim))
    p, g = logits.float().softmax(dim=1)[:, 1] * inside, truth * inside
    overlap, size = (p * g).sum(dim=axes), p.sum(dim=axes) + g.sum(dim=axes)
    if batch_dice:
        overlap, size = summed(overlap, size)
    return (1 - (2 * overlap + 1e-5) / (size + 1e-5).clamp(min=1e-8)).mean()
