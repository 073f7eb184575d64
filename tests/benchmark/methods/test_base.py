from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from benchmark.methods.base import Method


def method_with_gradient(precision: str) -> Method:
    method = Method()
    method.network = nn.Linear(3, 1, bias=False)
    method.network.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    method.trainer = SimpleNamespace(  # type: ignore[assignment]
        precision=precision, precision_plugin=MixedPrecision("bf16-mixed", "cpu"), gradient_clip_val=1.0,
        gradient_clip_algorithm="norm",
    )  # fmt: skip
    return method


@pytest.mark.parametrize(
    ("algorithm", "expected"), [(None, [0.6, 0.0, 0.8]), ("norm", [0.6, 0.0, 0.8]), ("value", [1.0, 0.0, 1.0])]
)
def test_gradients_are_clipped_with_a_fused_optimiser_by_norm_or_value(
    algorithm: str | None, expected: list[float]
) -> None:
    method = method_with_gradient("bf16-mixed")
    optimiser = torch.optim.Adam(method.parameters(), fused=True)
    method.configure_gradient_clipping(optimiser, 1.0, algorithm)
    assert method.network.weight.grad is not None
    assert method.network.weight.grad[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_without_a_limit_gradients_stay_as_they_are() -> None:
    method = method_with_gradient("32-true")
    method.configure_gradient_clipping(torch.optim.Adam(method.parameters(), fused=True), None)
    assert method.network.weight.grad is not None
    assert method.network.weight.grad[0].tolist() == [3.0, 0.0, 4.0]


def test_in_float16_lightning_refuses_to_clip_what_a_fused_optimiser_unscales() -> None:
    method = method_with_gradient("16-mixed")
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        method.configure_gradient_clipping(torch.optim.Adam(method.parameters(), fused=True), 1.0, "norm")
