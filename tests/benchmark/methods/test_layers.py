from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.methods import layers as layers_module
from benchmark.methods.layers import ShallowConv3d, _UpsampleTwice, upsample_twice, whole_volumes


def layers(kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)) -> tuple[nn.Conv3d, nn.Conv3d]:
    torch.manual_seed(0)
    padding = tuple((k - 1) // 2 for k in kernel)
    ours, plain = (make(16, 32, kernel, stride, padding) for make in (ShallowConv3d, nn.Conv3d))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 5, 5), (5, 5, 5), (3, 1, 1), (1, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("volumes", [1, 2])
def test_in_float32_it_is_the_plain_convolution(volumes: int, kernel: tuple[int, int, int], depth: int) -> None:
    for stride in ((1, 1, 1), (1, 2, 2), (2, 2, 2)):
        ours, plain = layers(kernel, stride)
        x = torch.randn(volumes, 16, depth, 8, 8)
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        outputs = [layer(each) for layer, each in zip((ours, plain), inputs, strict=True)]
        torch.testing.assert_close(*outputs)
        for output in outputs:
            output.square().sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-3)
        for name in ("weight", "bias"):
            torch.testing.assert_close(getattr(ours, name).grad, getattr(plain, name).grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 5, 5), (5, 5, 5), (3, 1, 1)])
def test_its_gradient_in_bfloat16_is_that_of_float32(kernel: tuple[int, int, int], depth: int) -> None:
    ours, plain = layers(kernel)
    x = torch.randn(2, 16, depth, 8, 8)
    expected = plain(x)
    direction = torch.randn_like(expected)
    expected.backward(direction)
    for _ in range(3):  # the fault depends on what the memory held before
        ours.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            output = ours(x)
        output.float().backward(direction)
        error = (ours.weight.grad - plain.weight.grad).norm() / plain.weight.grad.norm()
        assert error < 0.02


@pytest.mark.parametrize(("kernel", "depth", "taps"), [(5, 1, 1), (5, 2, 3), (5, 3, 5), (3, 1, 1), (3, 2, 3)])
def test_taps_that_meet_nothing_but_padding_are_not_convolved_and_have_no_gradient(
    kernel: int, depth: int, taps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = layers((kernel, 3, 3))
    depths = []
    original = nn.functional.conv3d

    def spy(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        depths.append(weight.shape[2])
        return original(x, weight, *rest)

    monkeypatch.setattr(nn.functional, "conv3d", spy)
    ours(torch.randn(2, 16, depth, 6, 6)).square().sum().backward()
    assert depths == [taps]
    used = [bool(plane.any()) for plane in ours.weight.grad.unbind(dim=2)]
    beyond = (kernel - taps) // 2
    assert used == [False] * beyond + [True] * taps + [False] * beyond


@pytest.mark.parametrize(("depth", "convolutions"), [(1, 1), (2, 3), (3, 5), (8, 5)])
def test_one_small_volume_is_convolved_slice_by_slice_in_float32(
    depth: int, convolutions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = layers((5, 3, 3))
    calls = []
    for name in ("conv2d", "conv3d"):
        original = getattr(nn.functional, name)
        monkeypatch.setattr(
            nn.functional, name, lambda *given, name=name, original=original: calls.append(name) or original(*given)
        )
    ours(torch.randn(1, 16, depth, 6, 6))
    assert calls == ["conv2d"] * convolutions
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        ours(torch.randn(1, 16, depth, 6, 6))
    ours(torch.randn(1, 16, 8, 200, 2))  # more than torch leaves to its own kernel
    assert calls == ["conv3d"] * 2


@pytest.mark.parametrize(("width", "small"), [(160, True), (161, False)])
def test_small_is_what_torch_leaves_to_its_own_im2col(width: int, small: bool) -> None:
    x = torch.randn(1, 16, 8, width, 4)
    given = (None, (1, 1, 1), (1, 1, 1), (1, 1, 1), False, (0, 0, 0), 1, None)
    backend = torch._C._select_conv_backend(x, torch.randn(8, 16, 3, 3, 3), *given)
    assert (backend == torch._C._ConvBackend.Slow3d) is small
    assert layers_module._one_small_volume(x) is small


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_slices_keep_the_layout_and_need_neither_bias_nor_gradient(depth: int) -> None:
    torch.manual_seed(0)
    ours, plain = (make(16, 8, 3, padding=1, bias=False) for make in (ShallowConv3d, nn.Conv3d))
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(1, 16, depth, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        found, expected = ours(x), plain(x)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    again = ours(x)
    assert torch.equal(again, ours(x))
    assert torch.equal(again, found)


def test_whole_volumes_are_convolved_where_multiplications_are_counted() -> None:
    ours, plain = layers((3, 3, 3))
    x = torch.randn(1, 16, 4, 8, 8)
    counts = []
    for layer in (ours, plain):
        with FlopCounterMode(display=False) as counter, whole_volumes():
            layer(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]
    with FlopCounterMode(display=False) as counter:
        ours(x)
    assert counter.get_total_flops() < counts[0]


def test_slices_are_convolved_with_the_kernel_s_dilation_in_plane() -> None:
    torch.manual_seed(0)
    ours, plain = (make(4, 4, 3, padding=(1, 2, 2), dilation=(1, 2, 2)) for make in (ShallowConv3d, nn.Conv3d))
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(1, 4, 3, 8, 8)
    torch.testing.assert_close(ours(x), plain(x))


def test_a_dilated_kernel_keeps_all_its_taps() -> None:
    torch.manual_seed(0)
    ours, plain = (make(4, 4, 3, padding=2, dilation=2) for make in (ShallowConv3d, nn.Conv3d))
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(1, 4, 2, 8, 8)
    torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (1, 2, 1, 4), (2, 3, 2, 4, 5), (1, 1, 3, 1, 1)])
def test_upsampling_of_slices_is_torchs_own_and_its_gradient_is_right(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(_UpsampleTwice.apply(x), upsample_twice(x))
    assert torch.autograd.gradcheck(_UpsampleTwice.apply, x)
    ours, theirs = (torch.autograd.grad(way(x).sin().sum(), x) for way in (_UpsampleTwice.apply, upsample_twice))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("shape", "layout"), [((2, 8, 4, 6), torch.channels_last), ((2, 8, 2, 4, 6), torch.channels_last_3d)]
)
def test_upsampling_keeps_channels_last(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    x = torch.randn(shape).to(memory_format=layout)
    assert _UpsampleTwice.apply(x).is_contiguous(memory_format=layout)
    assert upsample_twice(x).is_contiguous(memory_format=layout)
