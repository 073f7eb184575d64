from __future__ import annotations

import math

import pytest
import torch

from benchmark.methods.ms_dcnn.loss import cross_entropy, dice


def test_the_losses_equal_a_calculation_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 2.0], [-1.0, 5.0]]]])
    reference, valid = torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[True, True], [True, False]]])
    p = [1 / (1 + math.exp(-x)) for x in (0.0, 2.0, -1.0)]
    assert dice(logits, reference, valid).item() == pytest.approx(1 - (2 * (p[1] + p[2]) + 1) / (sum(p) + 2 + 1))
    by_hand = -(math.log(1 - p[0]) + math.log(p[1]) + math.log(p[2])) / 3
    assert cross_entropy(logits, reference, valid).item() == pytest.approx(by_hand)


def test_the_losses_are_finite_in_bf16_on_a_batch_without_lesion() -> None:
    logits = torch.full((4, 1, 64, 64), -9.0, dtype=torch.bfloat16, requires_grad=True)
    empty, valid = torch.zeros(4, 64, 64), torch.ones(4, 64, 64, dtype=torch.bool)
    loss = dice(logits, empty, valid) + cross_entropy(logits, empty, valid)
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert (logits.grad > 0).all()  # less lesion is better
