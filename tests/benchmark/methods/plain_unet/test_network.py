from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from benchmark.methods.plain_unet import PlainUNetMethod
from benchmark.methods.plain_unet.loss import deep_supervision
from benchmark.methods.plain_unet.module import KERNELS, STRIDES
from benchmark.methods.plain_unet.network import PlainUNet


def small(dimensions: int = 2) -> PlainUNet:
    """Three stages of few channels."""
    if dimensions == 2:
        return PlainUNet(2, (4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
    return PlainUNet(2, (4, 8, 8), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)))


@pytest.mark.parametrize(("dimensions", "count"), [(2, 33_472_972), (3, 28_881_930)])
def test_the_number_of_weights_is_the_readmes(dimensions: int, count: int) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(dimensions).configure_network(5)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("size", [(128, 128), (64, 128), (256, 256)])
def test_in_2d_every_decoder_resolution_has_logits_while_training_and_the_finest_alone_otherwise(
    size: tuple[int, int],
) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(2).configure_network(5)
        image = torch.empty(1, 5, *size)
    shapes = [tuple(part.shape) for part in network(image)]
    assert shapes == [(1, 2, size[0] >> level, size[1] >> level) for level in range(6)]
    assert [tuple(part.shape) for part in network.eval()(image)] == [(1, 2, *size)]


@pytest.mark.parametrize("depth", [2, 4, 8, 16, 22])
@pytest.mark.parametrize("size", [64, 256])
def test_in_3d_depths_of_the_cohort_pass(depth: int, size: int) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(3).configure_network(5)
        shapes = [tuple(part.shape[2:]) for part in network(torch.empty(1, 5, depth, size, size))]
    assert shapes == [(depth, size, size), *((depth, size >> level, size >> level) for level in (1, 2, 3)),
                      (depth // 2, size >> 4, size >> 4)]  # fmt: skip


def test_sizes_that_the_strides_do_not_divide_and_stages_of_one_voxel_are_refused() -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(2).configure_network(5)
        with pytest.raises(ValueError, match="multiples of 64 x 64, not 96 x 128"):
            network(torch.empty(1, 5, 96, 128))
        with pytest.raises(ValueError, match="take fewer stages"):
            network(torch.empty(1, 5, 64, 64))
        assert PlainUNetMethod(2, stages=5).configure_network(5)(torch.empty(1, 5, 64, 64))
        with pytest.raises(ValueError, match="multiples of 2 x 32 x 32, not 3 x 64 x 64"):
            PlainUNetMethod(3).configure_network(5)(torch.empty(1, 5, 3, 64, 64))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_weights_begin_as_he_et_al_draw_them(dimensions: int) -> None:
    torch.manual_seed(0)
    network = PlainUNetMethod(dimensions, stages=4).configure_network(5)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            fan_in = math.prod(module.weight.shape[1:])
            expected = math.sqrt(2 / (1 + 0.01**2) / fan_in)
            spread = module.weight.std().item()
            assert spread == pytest.approx(expected, rel=4 / math.sqrt(2 * module.weight.numel())), name
            assert not module.bias.any(), name
        elif isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_weight_receives_gradient(dimensions: int) -> None:
    torch.manual_seed(0)
    network = small(dimensions)
    shape = (16, 16) if dimensions == 2 else (2, 16, 16)
    reference = (torch.rand(2, *shape) > 0.7).byte()
    logits = network(torch.randn(2, 2, *shape))
    deep_supervision(logits, reference, torch.ones(2, *shape, dtype=torch.bool), batch_dice=True)["loss"].backward()
    largest = {name: p.grad.abs().max().item() for name, p in network.named_parameters() if p.grad is not None}
    assert len(largest) == len(list(network.parameters()))
    for name, value in largest.items():
        if not is_normalised_away(name):
            assert value > 1e-10, name


def is_normalised_away(name: str) -> bool:
    """A bias that the normalisation behind it subtracts again: its gradient is rounding (nnU-Net has these too)."""
    part, *_, layer, kind = name.split(".")
    return kind == "bias" and part in ("encoders", "decoders") and layer in ("0", "3")


@pytest.mark.parametrize("depth", range(1, 9))
def test_in_bf16_the_gradients_of_the_3d_networks_layers_are_those_of_float32(depth: int) -> None:
    torch.manual_seed(0)
    network = PlainUNet(8, (8,) * 6, KERNELS[3], STRIDES[3])
    layers = {
        (type(m), m.kernel_size, m.stride, m.in_channels): m
        for m in network.modules()
        if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)
    }
    # Convolutions: two kernels, of 8 and 16 channels, strides (1,2,2) with both and (2,2,2) with 3x3x3; head; two up.
    assert len(layers) == 10
    for kind, layer in layers.items():
        x = torch.randn(2, layer.in_channels, depth, 8, 8)
        direction = torch.randn_like(layer(x))
        layer(x).backward(direction)
        expected = layer.weight.grad
        for layout in (torch.contiguous_format, torch.channels_last_3d, torch.channels_last_3d):
            layer.weight.grad = None
            with torch.autocast("cpu", torch.bfloat16):
                output = layer(x.contiguous(memory_format=layout))
            output.float().backward(direction)
            assert (layer.weight.grad - expected).norm() / expected.norm() < 0.02, kind
