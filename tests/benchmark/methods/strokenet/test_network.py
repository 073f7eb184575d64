from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.methods.strokenet.network import Refinement, StrokeNet, group_norm


def test_it_has_the_number_of_parameters_that_its_readme_says() -> None:
    for norm in ("group", "batch"):
        with torch.device("meta"):
            network = StrokeNet(5, norm=norm)
        assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 10_370_097


@pytest.mark.parametrize("size", [64, 160, 256])
@pytest.mark.parametrize("depth", [2, 4, 8, 16, 22])
def test_it_takes_every_depth_of_the_cohort_at_every_size(depth: int, size: int) -> None:
    with torch.device("meta"):
        logits = StrokeNet(5)(torch.rand(1, 5, depth, size, size))
    assert logits.shape == (1, 1, depth, size, size)


@pytest.mark.parametrize("size", [(64, 96), (80, 64)])
def test_it_takes_every_multiple_of_16(size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert StrokeNet(5).eval()(torch.rand(1, 5, 2, *size)).shape == (1, 1, 2, *size)


def test_a_size_that_does_not_fit_its_scales_is_refused_with_a_reason() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        StrokeNet(5)(torch.rand(1, 5, 2, 40, 32))


def test_untrained_it_gives_the_prior_probability_of_lesion() -> None:
    # The head's weights are small and its bias is -log(99): Lin et al. 2017, section 4.1.
    torch.manual_seed(0)
    with torch.no_grad():
        probability = torch.sigmoid(StrokeNet(5).eval()(torch.randn(1, 5, 2, 32, 32)))
    assert probability.mean().item() == pytest.approx(0.01, rel=0.5)


def test_every_parameter_receives_gradient() -> None:
    network = StrokeNet(5)
    network(torch.randn(2, 5, 2, 32, 32)).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_the_depth_is_never_strided() -> None:
    strides = {module.stride[0] for module in StrokeNet(5).modules() if isinstance(module, torch.nn.Conv3d)}
    assert strides == {1}


def test_strokenets_context_looks_three_ways_in_plane_and_one_through_the_slices() -> None:
    branches = [branch[0] for branch in Refinement(32, group_norm).context]
    assert [(conv.kernel_size, conv.dilation) for conv in branches] == [
        ((1, 3, 3), (1, 1, 1)), ((1, 3, 3), (1, 2, 2)), ((1, 3, 3), (1, 4, 4)), ((3, 1, 1), (1, 1, 1)),
    ]  # fmt: skip
    assert {conv.out_channels for conv in branches} == {16}


def test_a_refinement_is_put_together_as_its_readme_says() -> None:
    torch.manual_seed(0)
    refinement = Refinement(32, group_norm).eval()
    feature, coarser = torch.randn(1, 32, 2, 8, 8), torch.randn(1, 64, 2, 4, 4)
    with torch.no_grad():
        x = refinement.reduce(feature) + nn.functional.interpolate(
            coarser, size=(2, 8, 8), mode="trilinear", align_corners=False
        )
        x = refinement.local(x)
        context = refinement.merge(torch.cat([branch(x) for branch in refinement.context], dim=1))
        expected = refinement.output(torch.relu(x + context))
        assert torch.allclose(refinement(feature, coarser), expected)
        assert not torch.allclose(refinement(feature, None), expected)
        # Each part of it counts.
        for part in (refinement.local, refinement.merge, refinement.output, *refinement.context):
            weight = next(part.parameters())
            kept = weight.clone()
            weight.zero_()
            assert not torch.allclose(refinement(feature, coarser), expected)
            weight.copy_(kept)
