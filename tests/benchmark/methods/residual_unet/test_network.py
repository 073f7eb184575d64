from __future__ import annotations

import pytest
import torch

from benchmark.methods.residual_unet.network import ResidualUNet


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(("base", "count"), [(32, 8_114_914), (64, 32_437_698)])
def test_it_has_the_number_of_parameters_that_its_readme_says(base: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(ResidualUNet(5, base)) == count


@pytest.mark.parametrize("size", [64, 80, 96, 160, 256])
def test_logits_have_the_input_size(size: int) -> None:
    assert ResidualUNet(5, base=4)(torch.rand(2, 5, size, size)).shape == (2, 2, size, size)


def test_a_size_that_does_not_fit_its_scales_is_refused_with_a_reason() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        ResidualUNet(5, base=4)(torch.rand(1, 5, 72, 64))


def test_every_parameter_receives_gradient() -> None:
    network = ResidualUNet(5, base=4)
    network(torch.randn(4, 5, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
