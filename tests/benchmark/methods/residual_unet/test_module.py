from __future__ import annotations

import numpy as np
import pytest
import torch
from recipe import batch_of, running
from torch import nn

from benchmark.methods.residual_unet.module import ResidualUNetMethod, warmup_cosine


def test_warmup_rises_linearly_then_falls_as_a_cosine() -> None:
    assert warmup_cosine(0.0, 0.1, 1e-3) == pytest.approx(1e-3)
    assert warmup_cosine(0.05, 0.1, 1e-3) == pytest.approx(0.5005)
    assert warmup_cosine(0.1, 0.1, 1e-3) == pytest.approx(1.0)
    assert warmup_cosine(0.55, 0.1, 1e-3) == pytest.approx(0.5005)
    assert warmup_cosine(1.0, 0.1, 1e-3) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("imbalance", "weight"), [(65.7, 65.7**0.5), (400.0, 10.0), (0.2, 1.0)], ids=["typical", "rare", "common"]
)
def test_the_lesion_weight_is_the_root_of_the_imbalance_within_bounds(imbalance: float, weight: float) -> None:
    method = running(ResidualUNetMethod(), background_per_lesion=imbalance)
    assert method.lesion_weight == pytest.approx(weight)


def test_residual_unets_loss_is_weighted_cross_entropy_plus_generalised_dice_by_hand() -> None:
    torch.manual_seed(0)
    batch, logits = batch_of((2, 16, 20)), torch.randn(2, 2, 16, 20)
    terms = running(ResidualUNetMethod(), background_per_lesion=16.0).loss(logits, batch)
    p = logits.double().softmax(dim=1).numpy()
    g, inside = batch["reference"].numpy(), batch["valid"].numpy()
    near = np.zeros_like(g)
    near[:, :8, :10] = 1  # the lesion, rows 2 to 4 and columns 3 to 6, with a margin of 3 pixels
    weights = (1 + 3 * near) * inside  # the root of 16 is 4
    entropy = (weights * -np.log(np.where(g == 1, p[:, 1], p[:, 0]))).sum() / weights.sum()
    voxels = inside.sum()
    numerator = denominator = 1e-6
    for r, q in ((g, p[:, 1]), (1 - g, p[:, 0])):
        weight = 1 / max((r * inside).sum() / voxels, 1e-3) ** 2
        numerator += 2 * weight * (r * q * inside).sum() / voxels
        denominator += weight * ((r + q) * inside).sum() / voxels
    assert terms["weighted_cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)
    assert terms["generalised_dice"].item() == pytest.approx(1 - numerator / denominator, rel=1e-5)
    assert terms["loss"].item() == pytest.approx(entropy + 1 - numerator / denominator, rel=1e-5)


@pytest.mark.parametrize(("epochs", "warm"), [(120, 5 / 120), (4, 0.5)])
def test_residual_unet_warms_up_for_five_epochs_at_most_half_of_them(epochs: int, warm: float) -> None:
    method = running(ResidualUNetMethod(), epochs=epochs, steps=1200)
    method.network = nn.Linear(1, 1)
    recipe = method.configure_optimizers()
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    top = round(1200 * warm)
    assert recipe["lr_scheduler"]["interval"] == "step"
    assert (factor(0), factor(top // 2), factor(top)) == pytest.approx((1e-3, 0.5, 1.0), rel=2e-2)
    middle = (top + 1200) // 2
    assert (factor(middle), factor(1200)) == pytest.approx((0.5, 1e-3), rel=2e-2)
