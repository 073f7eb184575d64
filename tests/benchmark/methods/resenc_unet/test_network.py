from __future__ import annotations

import math

import pytest
import torch
from torch import nn

pytest.importorskip("dynamic_network_architectures")

from benchmark.methods.layers import ShallowConv3d
from benchmark.methods.plain_unet.loss import deep_supervision
from benchmark.methods.resenc_unet import ResEncUNetMethod
from benchmark.methods.resenc_unet.network import MeanPool3d, ResEncUNet


def small(dimensions: int = 2) -> ResEncUNet:
    """Three stages of few channels."""
    if dimensions == 2:
        return ResEncUNet(2, (4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
    return ResEncUNet(2, (4, 8, 8), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)))


def weights_by_hand(kernels: list[int], strides: list[int], widths: list[int]) -> int:
    """Weights of ResEnc M for five input maps, layer by layer as nnU-Net's plan and ResNet-D's blocks have them.

    Args:
        kernels: taps of each stage's kernel.
        strides: voxels that the stage's stride makes one.
        widths: channels of each stage.
    """

    def unit(taps: int, before: int, after: int) -> int:
        return taps * before * after + after + 2 * after  # a bias; scale and shift of the normalisation

    total, before = unit(kernels[0], 5, 32), 32  # the stem
    for blocks, taps, width in zip([1, 3, 4, 6, 6, 6, 6], kernels, widths, strict=False):
        total += unit(taps, before, width) + (2 * blocks - 1) * unit(taps, width, width)
        total += before * width + 2 * width if before != width else 0  # the shortcut's projection has no bias
        before = width
    for level in range(len(widths) - 1):
        width, below = widths[level], widths[level + 1]
        total += strides[level + 1] * below * width + width  # transposed convolution
        total += unit(kernels[level], 2 * width, width) + 2 * width + 2  # one convolution, the classifier
    return total


@pytest.mark.parametrize(
    ("dimensions", "count", "kernels", "strides", "widths"),
    [
        (2, 105_917_964, [9] * 7, [1] + [4] * 6, [32, 64, 128, 256, 512, 512, 512]),
        (3, 98_340_362, [9, 9, 9, 27, 27, 27], [1, 4, 4, 4, 8, 4], [32, 64, 128, 256, 320, 320]),
    ],
)
def test_the_number_of_weights_is_the_readmes_and_that_of_the_plan_counted_by_hand(
    dimensions: int, count: int, kernels: list[int], strides: list[int], widths: list[int]
) -> None:
    with torch.device("meta"):
        network = ResEncUNetMethod(dimensions).configure_network(5)
    assert sum(p.numel() for p in network.parameters()) == count
    assert weights_by_hand(kernels, strides, widths) == count


def test_a_prediction_is_that_of_the_network_which_nnunets_plan_names() -> None:
    """The plan's `arch_kwargs` for three stages of 3D, as nnU-Net writes and reads them, with torch's own layers."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    plan = {
        "n_stages": 3, "features_per_stage": [4, 8, 8], "conv_op": nn.Conv3d,
        "kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 3, 4], "n_conv_per_stage_decoder": [1, 1], "conv_bias": True,
        "norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None,
        "dropout_op_kwargs": None, "nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    theirs = ResidualEncoderUNet(input_channels=2, num_classes=2, deep_supervision=True, **plan)  # type: ignore[arg-type]
    ours = small(3)
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.body.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 2, 2, 16, 16)
    found, expected = ours(image), theirs(image)
    assert [part.shape[2:] for part in found] == [(2, 16, 16), (2, 8, 8)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.eval()(image)[0], expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", [(1, 2, 2), (2, 2, 2)])
def test_pooling_and_its_gradient_are_torchs(block: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64, requires_grad=True)
    results = []
    for pool in (MeanPool3d(block), nn.AvgPool3d(block, block)):
        pooled = pool(x)
        results.append((pooled, *torch.autograd.grad((pooled**2).sum(), x)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_in_3d_no_layer_is_one_whose_gradient_torch_gets_wrong_or_does_not_repeat() -> None:
    layers = list(small(3).modules())
    assert all(isinstance(layer, ShallowConv3d) for layer in layers if isinstance(layer, nn.Conv3d))
    assert not any(isinstance(layer, nn.AvgPool3d) for layer in layers)
    assert sum(isinstance(layer, MeanPool3d) for layer in layers) == 2


@pytest.mark.parametrize(("dimensions", "size"), [(2, (128, 64)), (2, (256, 256)), (3, (2, 64, 64)), (3, (22, 64, 32))])
def test_every_decoder_resolution_has_logits_while_training_and_the_finest_alone_otherwise(
    dimensions: int, size: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = ResEncUNetMethod(dimensions).configure_network(5)
        image = torch.empty(1, 5, *size)
    plane = [tuple(part.shape[-2:]) for part in network(image)]
    assert plane == [(size[-2] >> level, size[-1] >> level) for level in range(6 if dimensions == 2 else 5)]
    assert [tuple(part.shape) for part in network.eval()(image)] == [(1, 2, *size)]


def test_sizes_that_the_strides_do_not_divide_and_stages_of_one_voxel_are_refused() -> None:
    with torch.device("meta"):
        network = ResEncUNetMethod(2).configure_network(5)
        with pytest.raises(ValueError, match="resenc_unet with these stages takes multiples of 64 x 64, not 96 x 128"):
            network(torch.empty(1, 5, 96, 128))
        with pytest.raises(ValueError, match="take fewer stages"):
            network(torch.empty(1, 5, 64, 64))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_weights_begin_as_nnunet_draws_them(dimensions: int) -> None:
    """He et al. 2015 for leaky ReLU, biases 0; each block's last normalisation 0, so that it begins as its shortcut."""
    torch.manual_seed(0)
    network = ResEncUNetMethod(dimensions, stages=3).configure_network(5)
    zeros = 0
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            expected = math.sqrt(2 / (1 + 0.01**2) / math.prod(module.weight.shape[1:]))
            spread = module.weight.std().item()
            assert spread == pytest.approx(expected, rel=4 / math.sqrt(2 * module.weight.numel())), name
            assert module.bias is None or not module.bias.any(), name
        elif isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
            last = ".conv2." in name
            zeros += last
            assert (module.weight == (0 if last else 1)).all(), name
            assert not module.bias.any(), name
    assert zeros == 1 + 3 + 4


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_weight_receives_gradient(dimensions: int) -> None:
    torch.manual_seed(0)
    network = small(dimensions)
    for module in network.modules():  # a block that begins as its shortcut passes none to its convolutions
        if isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
            nn.init.ones_(module.weight)
    shape = (16, 16) if dimensions == 2 else (2, 16, 16)
    reference = (torch.rand(2, *shape) > 0.7).byte()
    logits = network(torch.randn(2, 2, *shape))
    deep_supervision(logits, reference, torch.ones(2, *shape, dtype=torch.bool), batch_dice=True)["loss"].backward()
    largest = {name: p.grad.abs().max().item() for name, p in network.named_parameters() if p.grad is not None}
    assert len(largest) == len(list(network.parameters()))
    for name, value in largest.items():
        if not name.endswith("conv.bias"):  # the normalisation behind it subtracts it again (nnU-Net has these too)
            assert value > 1e-10, name
