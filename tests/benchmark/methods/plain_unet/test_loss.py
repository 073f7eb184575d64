from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.methods.plain_unet import PlainUNetMethod
from benchmark.methods.plain_unet.loss import deep_supervision, lesion_dice, supervision_weights


def test_supervision_halves_with_each_resolution_and_the_coarsest_counts_almost_nothing() -> None:
    weights = supervision_weights(4)
    assert sum(weights) == pytest.approx(1)
    assert np.allclose(np.array(weights) / weights[0], [1, 1 / 2, 1 / 4, 1e-6])
    assert supervision_weights(1) == [1.0]


def test_the_loss_equals_a_calculation_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 2, size, size, generator=generator) for size in (8, 4, 2)]
    reference = (torch.rand(2, 8, 8, generator=generator) > 0.6).byte()
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[1, :, 5:] = False
    for batch_dice in (True, False):
        dice, entropy = 0.0, 0.0
        for level, (part, weight) in enumerate(zip(logits, np.array([1, 0.5, 1e-6]) / 1.500001, strict=True)):
            step = 2**level
            offset = step // 2  # nearest to the middle, the later of two: of each pair the second, of four the third
            g, inside = (x.numpy()[:, offset::step, offset::step].astype(float) for x in (reference, valid))
            scores = np.exp(part.double().numpy())
            p = scores[:, 1] / scores.sum(axis=1)
            groups = [slice(None)] if batch_dice else [slice(0, 1), slice(1, 2)]
            each = []
            for group in groups:
                tp = (p[group] * g[group] * inside[group]).sum()
                size = (p[group] * inside[group]).sum() + (g[group] * inside[group]).sum()
                each.append(1 - (2 * tp + 1e-5) / (size + 1e-5))
            dice += weight * np.mean(each)
            entropy += weight * -(np.log(np.where(g > 0, p, 1 - p)) * inside).sum() / inside.sum()
        found = deep_supervision(logits, reference, valid, batch_dice=batch_dice)
        assert found["dice"].item() == pytest.approx(dice, rel=1e-5)
        assert found["cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)
        assert found["loss"].item() == pytest.approx(dice + entropy, rel=1e-5)


def test_slices_that_a_batch_was_padded_with_count_at_no_resolution() -> None:
    torch.manual_seed(0)
    sizes = ((4, 16, 16), (4, 8, 8), (2, 4, 4))
    logits = [torch.randn(2, 2, *size) for size in sizes]
    reference = (torch.rand(2, 4, 16, 16) > 0.6).byte()
    valid = torch.ones(2, 4, 16, 16, dtype=torch.bool)
    valid[1, 2:] = False
    for batch_dice in (True, False):
        before = deep_supervision(logits, reference, valid, batch_dice=batch_dice)
        changed = [part.clone() for part in logits]
        for part in changed:
            part[1, :, part.shape[2] // 2 :] = 40 * torch.randn_like(part[1, :, part.shape[2] // 2 :])
        other = reference.clone()
        other[1, 2:] = 1
        after = deep_supervision(changed, other, valid, batch_dice=batch_dice)
        assert before == after


@pytest.mark.parametrize("dimensions", [2, 3])
def test_dice_runs_over_the_batch_in_2d_and_over_each_volume_in_3d(dimensions: int) -> None:
    torch.manual_seed(0)
    shape = (2, 2, 8, 8) if dimensions == 2 else (2, 2, 2, 8, 8)
    logits, reference = torch.randn(*shape), torch.zeros(2, *shape[2:], dtype=torch.uint8)
    reference[0] = 1
    batch = {"reference": reference, "valid": torch.ones_like(reference, dtype=torch.bool)}
    p = logits.double().softmax(dim=1)[:, 1].numpy()
    n = p[0].size
    whole = 1 - 2 * p[0].sum() / (p.sum() + n)
    each = (1 - 2 * p[0].sum() / (p[0].sum() + n) + 1) / 2  # nothing to find in the second: its Dice is 0
    found = PlainUNetMethod(dimensions).loss([logits], batch)["dice"].item()
    assert found == pytest.approx(whole if dimensions == 2 else each, abs=1e-6)
    assert abs(whole - each) > 0.01


def test_without_lesion_the_loss_is_finite_in_bf16() -> None:
    logits = torch.randn(2, 2, 8, 8).bfloat16().requires_grad_()
    empty, valid = torch.zeros(2, 8, 8, dtype=torch.uint8), torch.ones(2, 8, 8, dtype=torch.bool)
    found = deep_supervision([logits], empty, valid, batch_dice=True)["loss"]
    found.backward()
    assert math.isfinite(found.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (
        lesion_dice(torch.tensor([[[[50.0]], [[-50.0]]]]), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), batch_dice=True)
        == 0
    )
