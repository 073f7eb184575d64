"""The Dice loss of Lucas & Heinrich: at every level of the upscaling path, weighted by inverse prior, summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.methods.distributed import summed


def multiscale_dice(logits: Sequence[Tensor], reference: Tensor, valid: Tensor, *, lesion_prior: float) -> Tensor:
    """Sum over levels of ``1 - sum_c w_c D_c`` with ``D_c = (2 sum p g + e) / (sum p^2 + sum g^2 + e)``.

    The sums run over the whole batch, of all processes, and ``w_c = (1 / prior_c) / sum (1 / prior)`` (the first
    author's public code: `BatchDiceLoss`). At coarser levels g is the share of the pixel that is lesion (average
    pooling of the one-hot reference): nearest neighbours would drop small lesions. With e = 1 a batch without lesion
    still has a gradient against false positives (our choice: the public code's 1e-7 leaves none).

    Args:
        logits: (N, 2, H / 2^l, W / 2^l) for levels l = 0, 1, ...; the finest first.
        reference: (N, H, W), 0 or 1.
        valid: (N, H, W) bool.
        lesion_prior: share of lesion pixels in the training fold, in (0, 1).

    Returns:
        A scalar between 0 and the number of levels.
    """
    # (1 / prior_c) / sum (1 / prior) of two classes is the other one's prior.
    weights = (lesion_prior, 1 - lesion_prior)
    inside = valid[:, None].float()
    truth = torch.stack([1 - reference.float(), reference.float()], dim=1) * inside
    total = torch.zeros((), device=reference.device)
    for level, at_level in enumerate(logits):
        if level:
            truth, inside = functional.avg_pool2d(truth, 2), functional.avg_pool2d(inside, 2)
        # A coarse pixel that is partly padding counts with its real part.
        probability = at_level.float().softmax(dim=1) * inside
        overlap = (probability * truth).sum(dim=(0, 2, 3))
        size = probability.square().sum(dim=(0, 2, 3)) + truth.square().sum(dim=(0, 2, 3))
        overlap, size = summed(overlap, size)
        background, lesion = ((2 * overlap + 1) / (size + 1)).unbind()
        total = total + 1 - (weights[0] * background + weights[1] * lesion)
    return total
