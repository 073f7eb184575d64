"""The paper's loss: "the sum between the cross entropy and a 'soft' dice coefficient"."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from benchmark.methods.losses import full_precision


def cross_entropy_and_soft_dice(logits: Tensor, reference: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean sigmoid cross-entropy, and 1 - soft Dice; both of each volume, averaged over the volumes.

    ``Dice = (2 sum(p g) + e) / (sum p + sum g + e)``, p before it is made binary. The authors' code has no e; our
    choice of e = 1 gives a volume without lesion a gradient that vanishes with its false positives. Means over volumes
    of equal weight: so the mean over GPUs, which each hold one volume as the authors' did, is the same loss.

    Args:
        logits: (N, 1, D, H, W).
        reference: (N, D, H, W), 0 or 1.
        valid: (N, D, H, W) bool, False where a volume was padded.

    Returns:
        The two scalars; the loss is their sum.
    """
    (logits,) = full_precision(logits)
    logits = logits[:, 0].flatten(1)
    lesion, inside = (tensor.flatten(1) for tensor in full_precision(reference, valid))
    entropy = functional.binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    entropy = (entropy * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1)
    probability, lesion = logits.sigmoid() * inside, lesion * inside
    overlap, total = (probability * lesion).sum(dim=1), (probability + lesion).sum(dim=1)
    dice = (2 * overlap + 1) / (total + 1)
    return entropy.mean(), (1 - dice).mean()
