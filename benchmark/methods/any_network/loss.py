"""Losses by name for a network of one or two output channels: the house's, or any library's.

One channel x is the logit of lesion; two channels (a, b) are background and lesion. Softmax over the two is the sigmoid
of b - a, so each of the house's losses is exact for both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.methods.losses import focal, generalised_dice
from benchmark.methods.ms_dcnn.loss import cross_entropy, dice
from benchmark.methods.plain_unet.loss import deep_supervision

#: (logits, reference, valid) -> terms, of which ``loss`` is minimised.
Loss = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]

#: What stands for certain background: its cross-entropy is 2e-9.
_CERTAIN = 20.0


def _dice_and_cross_entropy(
    logits: Tensor, reference: Tensor, valid: Tensor, *, batch_dice: bool = True
) -> dict[str, Tensor]:
    return deep_supervision([two(logits)], reference, valid, batch_dice=batch_dice)


def _cross_entropy(logits: Tensor, reference: Tensor, valid: Tensor) -> dict[str, Tensor]:
    return {"loss": cross_entropy(one(logits), reference, valid)}


def _dice(logits: Tensor, reference: Tensor, valid: Tensor, *, smooth: float = 1.0) -> dict[str, Tensor]:
    return {"loss": dice(one(logits), reference, valid, smooth=smooth)}


def _focal(
    logits: Tensor, reference: Tensor, valid: Tensor, *, alpha: float = 0.75, gamma: float = 2.0
) -> dict[str, Tensor]:
    return {"loss": focal(one(logits), reference, valid, alpha=alpha, gamma=gamma)}


def _generalised_dice_and_cross_entropy(logits: Tensor, reference: Tensor, valid: Tensor) -> dict[str, Tensor]:
    overlap, entropy = generalised_dice(two(logits), reference, valid), cross_entropy(one(logits), reference, valid)
    return {"loss": overlap + entropy, "generalised_dice": overlap, "cross_entropy": entropy}


#: The house's losses by name; what follows `valid` may be set in the config.
LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {
    "dice_and_cross_entropy": _dice_and_cross_entropy,
    "generalised_dice_and_cross_entropy": _generalised_dice_and_cross_entropy,
    "cross_entropy": _cross_entropy,
    "dice": _dice,
    "focal": _focal,
}


def one(logits: Tensor) -> Tensor:
    """(N, 1 or 2, ...) -> the logit of lesion (N, 1, ...) in float32."""
    logits = logits.float()
    return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


def two(logits: Tensor) -> Tensor:
    """(N, 1 or 2, ...) -> the logits of background and lesion (N, 2, ...) in float32."""
    logits = logits.float()
    return logits if logits.shape[1] == 2 else torch.cat([torch.zeros_like(logits), logits], dim=1)


def of_a_library(criterion: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """A loss that takes (input, target) of one shape, as torch's and MONAI's do.

    Args:
        criterion: takes logits (N, K, ...) float32 and the target (N, K, ...) float32 of 0 and 1: the lesion where K is
            1, background and lesion where it is 2. Padding, of which such a loss knows nothing, is handed over as
            background that the network is certain of. Its value is this process's own.
    """
    return partial(_foreign, criterion)


def _foreign(
    criterion: Callable[[Tensor, Tensor], Tensor], logits: Tensor, reference: Tensor, valid: Tensor
) -> dict[str, Tensor]:
    lesion = reference[:, None].float()
    target = lesion if logits.shape[1] == 1 else torch.cat([1 - lesion, lesion], dim=1)
    certain = torch.full_like(logits, -_CERTAIN, dtype=torch.float32)
    if logits.shape[1] == 2:
        certain[:, 0] = 0.0
    return {"loss": criterion(torch.where(valid[:, None], logits.float(), certain), target)}


def house_loss(name: str, settings: dict[str, Any]) -> Loss:
    """One of `LOSSES` with its settings."""
    return partial(LOSSES[name], **settings)
