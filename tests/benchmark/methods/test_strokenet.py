from __future__ import annotations

import pytest
import torch

from benchmark.methods.strokenet.module import Curriculum, focusing
from benchmark.methods.strokenet.network import StrokeNet


def test_it_has_the_specified_number_of_parameters() -> None:
    for norm in ("group", "batch"):
        assert sum(p.numel() for p in StrokeNet(5, norm=norm).parameters() if p.requires_grad) == 10_370_097


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


def test_the_curriculum_has_three_stages_and_ends_with_the_suites_own_samples() -> None:
    stages = [Curriculum(10, 0.625)(epoch) for epoch in range(10)]
    assert "".join(stage.name for stage in stages) == "AAABBBBCCC"
    easy, middle, full = stages[0], stages[5], stages[9]
    assert (easy.augmentation, easy.lesion_crops, easy.crop) == (0.0, 1.0, 0.625)
    assert (middle.augmentation, middle.lesion_crops, middle.crop) == (0.5, 2 / 3, 0.625)
    assert (full.augmentation, full.crop) == (1.0, 1.0)


def test_focusing_is_zero_in_stage_a_rises_linearly_in_b_and_is_gamma_in_c() -> None:
    assert [focusing(progress, 2.0) for progress in (0.0, 0.29, 0.7, 0.99)] == [0.0, 0.0, 2.0, 2.0]
    assert focusing(0.5, 2.0) == pytest.approx(1.0)
