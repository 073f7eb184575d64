"""The losses of the methods, each computed in float32 whatever the precision of the network.

Losses that are quotients of sums over a batch sum over the batches of all processes: N processes minimise what one
process with N times the batch does, and each of them returns it.

Shapes: logits (N, K, ...) for K classes or (N, 1, ...) for a sigmoid; reference (N, ...) with 0 and 1; valid (N, ...)
bool, False where a sample was padded.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.methods.distributed import summed


def full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in float32: sums over many voxels lose their small terms in 16 bits."""
    return tuple(tensor.float() for tensor in tensors)


def generalised_dice(logits: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
    """Generalised Dice loss over the whole batch (Sudre et al. 2017), robust to tiny and absent lesions.

    ``GDL = 1 - (2 sum_l w_l mean(r_l p_l) + e) / (sum_l w_l mean(r_l + p_l) + e)`` with ``w_l = 1 / max(s_l, 1e-3)^2``,
    ``s_l`` the share of class l and e = 1e-6. Shares and means, not counts: so the smoothing term weighs the same on a
    slice and on a volume, and the weight of a tiny lesion stays finite. Zero where the batch holds no lesion: the
    weight of an absent class has no meaning, and a cross-entropy beside this loss punishes false positives. Takes two
    classes, gives a scalar in [0, 1].
    """
    (logits,) = full_precision(logits)
    probability = logits.softmax(dim=1)[:, 1]
    lesion, inside = full_precision(reference, valid)
    classes = ((lesion, probability), (1 - lesion, 1 - probability))
    by_class = ((r * inside, r * p * inside, (r + p) * inside) for r, p in classes)
    voxels, *sums = summed(inside.sum(), *(part.sum() for parts in by_class for part in parts))
    voxels = voxels.clamp(min=1)
    numerator = denominator = torch.full_like(voxels, 1e-6)
    for size, overlap, total in (sums[:3], sums[3:]):
        weight = 1 / (size / voxels).clamp(min=1e-3) ** 2
        numerator = numerator + 2 * weight * overlap / voxels
        denominator = denominator + weight * total / voxels
    return (1 - numerator / denominator) * (sums[0] > 0)


def weighted_cross_entropy(logits: Tensor, reference: Tensor, valid: Tensor, weight: float) -> Tensor:
    """Cross-entropy in which lesion and its surroundings weigh more, normalised by the sum of the weights.

    Args:
        logits: (N, 2, H, W).
        reference: (N, H, W), 0 or 1.
        valid: (N, H, W) bool.
        weight: of a pixel up to three rows and columns from the lesion; the others weigh 1.
    """
    (logits,) = full_precision(logits)
    near = functional.max_pool2d(reference[:, None].float(), 7, stride=1, padding=3)[:, 0]
    weights = (1 + (weight - 1) * near) * valid
    entropy = functional.cross_entropy(logits, reference.long(), reduction="none")
    total, weight_sum = summed((weights * entropy).sum(), weights.sum())
    return total / weight_sum.clamp(min=1)


def focal(logits: Tensor, reference: Tensor, valid: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al. 2017, eq. 5), normalised by the lesion voxels of the batch, at least 1e-3 of all.

    ``-alpha_t (1 - p_t)^gamma log p_t``, summed.

    Args:
        logits: (N, 1, ...).
        reference: (N, ...), 0 or 1.
        valid: (N, ...) bool.
        alpha: weight of lesion; background has 1 - alpha.
        gamma: how strongly easy voxels are down-weighted; 0 gives the alpha-balanced cross-entropy.
    """
    (logits,) = full_precision(logits)
    logits = logits[:, 0]
    lesion, inside = full_precision(reference, valid)
    entropy = functional.binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    balance = alpha * lesion + (1 - alpha) * (1 - lesion)
    # 1 - p_t without the cancellation of 1 - sigmoid: sigmoid(-x) for lesion, sigmoid(x) for background.
    wrong = torch.sigmoid(torch.where(lesion > 0, -logits, logits))
    modulation = wrong**gamma if gamma else torch.ones_like(wrong)
    total, found, voxels = summed(
        (balance * modulation * entropy * inside).sum(), (lesion * inside).sum(), inside.sum()
    )
    return total / torch.maximum(found, 1e-3 * voxels).clamp(min=1)
