from __future__ import annotations

import numpy as np
import pytest
import torch
from recipe import running
from torch.nn import functional

from benchmark.methods.multiscale_resnet import MultiScaleResNetMethod
from benchmark.methods.multiscale_resnet.loss import multiscale_dice


def by_hand(logits: list[torch.Tensor], reference: np.ndarray, prior: float) -> float:
    """The formula of the docstring with loops over levels, classes and blocks of pixels; nothing is padded."""
    total = 0.0
    for level, at_level in enumerate(logits):
        block = 2**level
        n, h, w = reference.shape
        share = reference.reshape(n, h // block, block, w // block, block).mean(axis=(2, 4))
        scores = np.exp(at_level.double().numpy())
        dice = 0.0
        for c, (pi, truth) in enumerate(((1 - prior, 1 - share), (prior, share))):
            p = scores[:, c] / scores.sum(axis=1)
            weight = (1 / pi) / (1 / prior + 1 / (1 - prior))
            dice += weight * (2 * (p * truth).sum() + 1) / ((p**2).sum() + (truth**2).sum() + 1)
        total += 1 - dice
    return total


def test_the_loss_equals_the_formula_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(3, 2, 16 >> level, 16 >> level, generator=generator) for level in range(4)]
    reference = np.zeros((3, 16, 16))
    reference[0, 2:9, 3:5] = reference[2, 10:, 10:] = 1
    valid = torch.ones(3, 16, 16, dtype=torch.bool)
    found = multiscale_dice(logits, torch.from_numpy(reference), valid, lesion_prior=0.015)
    assert found.item() == pytest.approx(by_hand(logits, reference, 0.015), rel=1e-5)


def test_padding_changes_nothing() -> None:
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    reference = (torch.rand(2, 16, 16) > 0.8).byte()
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    wide = [torch.cat([part, torch.randn_like(part)], dim=3) for part in logits]
    padded = [functional.pad(part, (0, 16)) for part in (reference, valid)]
    one = multiscale_dice(logits, reference, valid, lesion_prior=0.02)
    other = multiscale_dice(wide, padded[0], padded[1].bool(), lesion_prior=0.02)
    torch.testing.assert_close(one, other)


def test_without_lesion_the_loss_in_bf16_is_finite_and_falls_with_fewer_false_positives() -> None:
    empty, valid = torch.zeros(2, 16, 16, dtype=torch.uint8), torch.ones(2, 16, 16, dtype=torch.bool)

    def loss(lesion_logit: float) -> float:
        part = torch.tensor([0.0, lesion_logit], dtype=torch.bfloat16)[None, :, None, None]
        logits = [part.expand(2, 2, 16 >> level, 16 >> level) for level in range(4)]
        return multiscale_dice(logits, empty, valid, lesion_prior=0.015).item()

    assert np.isfinite(loss(0.0))
    assert loss(0.0) > loss(-3.0) > loss(-6.0)


def test_bf16_logits_lose_nothing_but_their_own_digits() -> None:
    # The same logits everywhere: what a softmax in bf16 rounds does not average out.
    pair = torch.tensor([0.3, -1.1], dtype=torch.bfloat16)[None, :, None, None]
    logits = [pair.expand(2, 2, 64 >> level, 64 >> level) for level in range(4)]
    reference = np.zeros((2, 64, 64))
    reference[0, 20:30, 20:27] = 1
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    found = multiscale_dice(logits, torch.from_numpy(reference), valid, lesion_prior=0.015)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand([part.float() for part in logits], reference, 0.015), rel=1e-5)


def test_the_loss_takes_the_prior_from_the_training_fold() -> None:
    method = running(MultiScaleResNetMethod(), background_per_lesion=49.0)
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    reference = np.zeros((2, 16, 16))
    reference[1, 3:9, 2:6] = 1
    batch = {"reference": torch.from_numpy(reference), "valid": torch.ones(2, 16, 16, dtype=torch.bool)}
    terms = method.loss(logits, batch)
    assert terms["loss"].item() == pytest.approx(by_hand(logits, reference, 1 / 50), rel=1e-5)
