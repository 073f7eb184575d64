"""Layers that methods share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ShallowConv3d(nn.Conv3d):
    """`nn.Conv3d` whose gradient is right for volumes about as deep as its kernel.

    On CPUs, torch 2.13 (oneDNN 3.12) computes the gradient of the weights in bfloat16 from uninitialised memory where
    the padding in front and behind overlap: two slices under a 3-slice kernel, the depth of half of the ISLES 2018
    slabs. Padding the depth by hand gives the same output and takes another kernel; `tests/benchmark/methods/
    test_layers.py` shows both. Only zero padding is handled.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) -> (N, C', D', H', W'), as `nn.Conv3d`."""
        depth, height, width = (int(size) for size in self.padding)
        if depth == 0 or x.shape[2] > self.kernel_size[0] or x.device.type != "cpu":
            return super().forward(x)
        padded = functional.pad(x, (0, 0, 0, 0, depth, depth))
        return functional.conv3d(
            padded, self.weight, self.bias, self.stride, (0, height, width), self.dilation, self.groups
        )
