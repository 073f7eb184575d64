"""Layers that methods share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def check_multiples(method: str, x: Tensor, multiple: int) -> None:
    """Refuse images (..., H, W) whose height or width the network's scales do not divide.

    Raises:
        ValueError: names the method, the multiple and the size.
    """
    height, width = x.shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(f"{method} takes heights and widths that are multiples of {multiple}, not {height} x {width}")


class ShallowConv3d(nn.Conv3d):
    """`nn.Conv3d` whose gradient is right, and whose cost is small, for volumes about as deep as its kernel.

    On CPUs, torch 2.13 (oneDNN 3.12) computes the gradient of the weights in bfloat16 from uninitialised memory where
    the padding in front and behind overlap: two slices under a 3-slice kernel, the depth of half of the ISLES 2018
    slabs. Padding the depth by hand gives the same output and takes another kernel; `tests/benchmark/methods/
    test_layers.py` shows both.

    In a volume of D slices, the kernel's taps further than D - 1 from its middle meet nothing but padding: they are
    left out (one of five at a depth of one, three of five at two). What they would have added is zero, and so is their
    gradient. Only zero padding is handled.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) -> (N, C', D', H', W'), as `nn.Conv3d`."""
        depth, height, width = (int(size) for size in self.padding)
        weight, slices = self.weight, x.shape[2]
        if slices <= depth and self.kernel_size[0] == 2 * depth + 1 and self.dilation[0] == 1:
            weight = weight[:, :, depth - slices + 1 : depth + slices]
            depth = slices - 1
        if depth > 0 and slices <= weight.shape[2] and x.device.type == "cpu":
            x = functional.pad(x, (0, 0, 0, 0, depth, depth))
            depth = 0
        return functional.conv3d(x, weight, self.bias, self.stride, (depth, height, width), self.dilation, self.groups)
