from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from benchmark.methods.multiscale_resnet.loss import multiscale_dice
from benchmark.methods.multiscale_resnet.network import MultiScaleResNet


@pytest.mark.parametrize(("channels", "count"), [(30, 5_221_640), (42, 5_279_624), (24, 5_192_648)])
def test_the_number_of_weights_is_the_readmes(channels: int, count: int) -> None:
    with torch.device("meta"):
        network = MultiScaleResNet(channels)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("size", [(64, 64), (64, 80), (240, 240), (256, 256)])
def test_every_level_of_the_upscaling_path_has_logits(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        logits = MultiScaleResNet(30)(torch.empty(2, 30, *size))
    assert [tuple(at_level.shape) for at_level in logits] == [
        (2, 2, size[0] >> level, size[1] >> level) for level in range(4)
    ]


def test_sizes_that_are_no_multiples_of_16_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16, not 64 x 100"):
        MultiScaleResNet(2)(torch.zeros(1, 2, 64, 100))


def test_the_pooled_input_of_every_level_reaches_the_lowest() -> None:
    """The first channels of what goes down are the network's input, averaged over ever larger blocks."""
    network = MultiScaleResNet(3).eval()
    seen = []
    network.lowest.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 64, 64)
    network(x)
    assert seen[0].shape[1] == 3 + 32 + 64 + 128 + 256
    torch.testing.assert_close(seen[0][:, :3], functional.avg_pool2d(x, 16))


def test_the_activation_goes_down_by_its_maximum() -> None:
    network = MultiScaleResNet(3).eval()
    activations, inputs = [], []
    network.encoders[0].register_forward_hook(lambda _, __, output: activations.append(output.clone()))
    network.encoders[1].register_forward_pre_hook(lambda _, taken: inputs.append(taken[0]))
    network(torch.randn(1, 3, 32, 32))
    blocks = activations[0].reshape(1, 32, 16, 2, 16, 2)
    assert torch.equal(inputs[0][:, 3:], blocks.amax(dim=(3, 5)))
    # Leaky with a slope of 0.01: what is negative stays so, a hundredth as large.
    positive, negative = activations[0].clamp(min=0).mean(), (-activations[0]).clamp(min=0).mean()
    assert 0.001 < negative / positive < 0.1


def test_batch_normalisation_follows_every_convolution_but_the_classifiers() -> None:
    network = MultiScaleResNet(3)
    levels = [*network.encoders, network.lowest, *network.decoders]
    kinds = [[type(layer).__name__ for layer in level] for level in levels]
    assert kinds == [["Conv2d", "BatchNorm2d", "LeakyReLU"] * 2] * 9
    kernels = [level[0].kernel_size for level in levels]
    assert kernels == [(3, 3)] * 4 + [(1, 1)] + [(3, 3)] * 4


def test_every_weight_receives_gradient() -> None:
    network = MultiScaleResNet(3)
    logits = network(torch.randn(2, 3, 32, 32))
    reference = (torch.rand(2, 32, 32) > 0.7).byte()
    multiscale_dice(logits, reference, torch.ones(2, 32, 32, dtype=torch.bool), lesion_prior=0.02).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
