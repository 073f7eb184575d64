"""Layers that methods share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]

#: See `_one_small_volume`.
SMALL_VOLUME = 20480


def check_multiples(method: str, x: Tensor, multiple: int) -> None:
    """Refuse images (..., H, W) whose height or width the network's scales do not divide.

    Raises:
        ValueError: names the method, the multiple and the size.
    """
    height, width = x.shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(f"{method} takes heights and widths that are multiples of {multiple}, not {height} x {width}")


def upsample_twice(x: Tensor) -> Tensor:
    """(N, C, ..., H, W) -> (N, C, ..., 2 H, 2 W) by bilinear interpolation, channels last where `x` is.

    In plane what `functional.interpolate(scale_factor=2, mode="bilinear", align_corners=False)` gives. On a GPU its
    gradient is summed in an order that is never the same twice, and torch's deterministic version is slow; ours sums
    slices, always in one order. CPUs take torch's, which repeats.
    """
    if x.device.type != "cpu":
        return _UpsampleTwice.apply(x)
    if x.ndim == 4:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return functional.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)


class _UpsampleTwice(torch.autograd.Function):
    """`upsample_twice` on any device: axis by axis, a quarter of either neighbour."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """See `upsample_twice`."""
        last = x.movedim(1, -1)  # channels last, as networks have them: so that slices stay in one piece
        return _doubled(_doubled(last, last.ndim - 3), last.ndim - 2).movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The transpose of `forward`, axis by axis."""
        last = gradient.movedim(1, -1)
        return _gathered(_gathered(last, last.ndim - 2), last.ndim - 3).movedim(-1, 1)


def _doubled(x: Tensor, axis: int) -> Tensor:
    """Twice the length along an axis: three quarters of the nearest, one of the next; the border repeats."""
    length = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, length - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, length - 1), x.narrow(axis, length - 1, 1)], axis)
    return torch.stack([x.lerp(before, 0.25), x.lerp(after, 0.25)], axis + 1).flatten(axis, axis + 1)


def _gathered(gradient: Tensor, axis: int) -> Tensor:
    """The transpose of `_doubled`."""
    even, odd = gradient.unflatten(axis, (-1, 2)).unbind(axis + 1)
    length = even.shape[axis]
    total = 0.75 * (even + odd)
    for given, source, target, count in (
        (even, 1, 0, length - 1), (even, 0, 0, 1), (odd, 0, 1, length - 1), (odd, length - 1, length - 1, 1)
    ):  # fmt: skip
        total.narrow(axis, target, count).add_(given.narrow(axis, source, count), alpha=0.25)
    return total


class ShallowConv3d(nn.Conv3d):
    """`nn.Conv3d` whose gradient is right, and whose cost is small, for volumes about as deep as its kernel.

    On CPUs, torch 2.13 (oneDNN 3.12) computes the gradient of the weights in bfloat16 from uninitialised memory where
    the padding in front and behind overlap: two slices under a 3-slice kernel, the depth of half of the ISLES 2018
    slabs. Padding the depth by hand gives the same output and takes another kernel; `tests/benchmark/methods/
    test_layers.py` shows both.

    In a volume of D slices, the kernel's taps further than D - 1 from its middle meet nothing but padding: they are
    left out (one of five at a depth of one, three of five at two). What they would have added is zero, and so is their
    gradient. Only zero padding is handled.

    One small volume in float32 is convolved slice by slice on CPUs (`convolve_slices`), but for `whole_volumes`.
    """

    by_slices = True

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) -> (N, C', D', H', W'), as `nn.Conv3d`."""
        depth, height, width = (int(size) for size in self.padding)
        keeps_depth = self.kernel_size[0] == 2 * depth + 1 and self.dilation[0] == 1
        if self.by_slices and keeps_depth and self.stride[0] == 1 and self.groups == 1 and _one_small_volume(x):
            stride, dilation = (self.stride[1], self.stride[2]), (self.dilation[1], self.dilation[2])
            return convolve_slices(x, self.weight, self.bias, stride, (height, width), dilation)
        weight, slices = self.weight, x.shape[2]
        if slices <= depth and keeps_depth:
            weight = weight[:, :, depth - slices + 1 : depth + slices]
            depth = slices - 1
        if depth > 0 and slices <= weight.shape[2] and x.device.type == "cpu":
            x = functional.pad(x, (0, 0, 0, 0, depth, depth))
            depth = 0
        return functional.conv3d(x, weight, self.bias, self.stride, (depth, height, width), self.dilation, self.groups)


@contextmanager
def whole_volumes() -> Iterator[None]:
    """No volume is convolved slice by slice, so that a count of operations depends on neither machine nor precision."""
    ShallowConv3d.by_slices = False
    try:
        yield
    finally:
        ShallowConv3d.by_slices = True


def _one_small_volume(x: Tensor) -> bool:
    """Whether slices are at least as fast: on CPUs, in float32.

    For kernels of up to 3 x 3 in plane, torch 2.13 leaves such volumes to its own im2col, three to five times slower
    than oneDNN, which it takes for batches and for more values in a plane across the width (`use_mkldnn` in its
    Convolution.cpp). Larger kernels gain because nothing is multiplied with padding.
    """
    small = x.shape[0] == 1 and x.shape[:4].numel() <= SMALL_VOLUME
    return small and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def convolve_slices(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """One volume's 3D convolution that keeps its depth, as a sum of 2D convolutions, one for each tap of the depth.

    No tap is multiplied with the padding in front and behind: of two slices, four are convolved instead of six.

    Args:
        x: (1, C, D, H, W).
        weight: (C', C, 2 * K + 1, kH, kW).
        bias: (C',) or None.
        stride: in plane; in depth it is 1.
        padding: in plane, of zeros; in depth it is K.
        dilation: in plane; in depth it is 1.

    Returns:
        (1, C', D, H', W'), channels last where `x` is.
    """
    slices = x[0].transpose(0, 1)
    taps, middle = weight.unbind(2), weight.shape[2] // 2
    result = functional.conv2d(slices, taps[middle], bias, stride, padding, dilation)
    for shift in range(1, min(middle + 1, len(slices))):
        above, below = taps[middle - shift], taps[middle + shift]
        result[shift:] += functional.conv2d(slices[:-shift], above, None, stride, padding, dilation)
        result[:-shift] += functional.conv2d(slices[shift:], below, None, stride, padding, dilation)
    return result.transpose(0, 1)[None]
