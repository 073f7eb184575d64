from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.methods.fcn3d_crf.loss import cross_entropy_and_soft_dice


def everything(reference: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(reference, dtype=torch.bool)


def test_the_loss_equals_a_loop_over_volumes_and_voxels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 1, 2, 3, 4))
    g = (rng.random((2, 2, 3, 4)) < 0.3).astype(np.uint8)
    valid = rng.random((2, 2, 3, 4)) < 0.8
    entropies, dices = [], []
    for x, lesion, inside in zip(logits[:, 0], g, valid, strict=True):
        overlap = total = entropy = 0.0
        for value, own, counts in zip(x.ravel(), lesion.ravel(), inside.ravel(), strict=True):
            if counts:
                p = 1 / (1 + math.exp(-value))
                entropy -= math.log(p if own else 1 - p)
                overlap, total = overlap + p * own, total + p + own
        entropies.append(entropy / inside.sum())
        dices.append(1 - (2 * overlap + 1) / (total + 1))
    found = cross_entropy_and_soft_dice(torch.from_numpy(logits), torch.from_numpy(g), torch.from_numpy(valid))
    assert [term.item() for term in found] == pytest.approx([np.mean(entropies), np.mean(dices)], rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_gpus_that_hold_a_volume_each() -> None:
    torch.manual_seed(0)
    logits, reference = torch.randn(2, 1, 2, 8, 8), (torch.rand(2, 2, 8, 8) < 0.2).byte()
    reference[1, :, 2:] = 0
    together = sum(cross_entropy_and_soft_dice(logits, reference, everything(reference)))
    apart = [
        sum(cross_entropy_and_soft_dice(logits[[i]], reference[[i]], everything(reference[[i]]))) for i in range(2)
    ]
    torch.testing.assert_close(together, sum(apart) / 2)


def test_padded_voxels_change_nothing() -> None:
    torch.manual_seed(0)
    logits, reference = torch.randn(1, 1, 2, 8, 8), (torch.rand(1, 2, 8, 8) < 0.2).byte()
    plain = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    pad = (0, 3, 0, 0, 0, 2)
    padded = cross_entropy_and_soft_dice(
        nn.functional.pad(logits, pad, value=7.0),
        nn.functional.pad(reference, pad, value=1),
        nn.functional.pad(everything(reference), pad, value=False),
    )
    torch.testing.assert_close(padded, plain)


def test_without_lesion_the_dice_term_is_that_of_the_false_positives_alone() -> None:
    logits = torch.zeros(1, 1, 2, 4, 4, requires_grad=True)
    reference = torch.zeros(1, 2, 4, 4)
    entropy, dice = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    assert entropy.item() == pytest.approx(math.log(2))
    assert dice.item() == pytest.approx(1 - 1 / (16 + 1))
    dice.backward()
    assert (logits.grad > 0).all()


@pytest.mark.parametrize("extreme", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("lesion", [0, 1])
def test_the_loss_is_finite_and_in_float32_for_extreme_bfloat16_logits(extreme: float, lesion: int) -> None:
    logits = torch.full((1, 1, 2, 4, 4), extreme, dtype=torch.bfloat16, requires_grad=True)
    reference = torch.full((1, 2, 4, 4), lesion, dtype=torch.uint8)
    terms = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    sum(terms).backward()
    assert {term.dtype for term in terms} == {torch.float32}
    assert all(torch.isfinite(term) for term in (*terms, logits.grad.sum()))
