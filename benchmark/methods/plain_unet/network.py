"""The plain convolutional U-Net of nnU-Net v2, in two and three dimensions.

Topology after `PlainConvUNet` as nnU-Net configures it (MIC-DKFZ/nnUNet, commit 0e49508): two convolutions a stage,
instance normalisation, leaky ReLU, strided convolutions on the way down, transposed ones on the way up, a classifier on
every resolution of the decoder, weights after He et al. 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.methods.layers import ShallowConv3d

Size = tuple[int, ...]

#: Slope of the leaky ReLU for negative values.
SLOPE = 0.01


class PlainUNet(nn.Module):
    """U-Net in the dimensions of its kernels.

    Args:
        channels: input maps.
        widths: channels by stage.
        kernels: kernel by stage, each of two or three sizes.
        strides: stride with which each stage begins; the first is 1 everywhere.
    """

    def __init__(self, channels: int, widths: Sequence[int], kernels: Sequence[Size], strides: Sequence[Size]) -> None:
        super().__init__()
        flat = len(kernels[0]) == 2
        up: Any = nn.ConvTranspose2d if flat else nn.ConvTranspose3d
        head: Any = nn.Conv2d if flat else nn.Conv3d
        #: Depth (in three dimensions), height and width must be multiples of these.
        self.multiples = tuple(math.prod(sizes) for sizes in zip(*strides, strict=True))
        self.encoders = nn.ModuleList()
        for width, kernel, stride in zip(widths, kernels, strides, strict=True):
            self.encoders.append(stage(channels, width, kernel, stride))
            channels = width
        self.ups, self.decoders, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for place in range(len(widths) - 2, -1, -1):
            width, stride = widths[place], strides[place + 1]
            self.ups.append(up(channels, width, kernel_size=stride, stride=stride))
            self.decoders.append(stage(2 * width, width, kernels[place], (1,) * len(stride)))
            self.heads.append(head(width, 2, kernel_size=1))
            channels = width
        self.apply(initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, [D,] H, W) -> logits (N, 2, ...), the finest first.

        While training at every resolution of the decoder, else at the finest alone.

        Raises:
            ValueError: a size is not a multiple of the strides, or the coarsest stage would hold a single voxel.
        """
        check_size("plain_unet", tuple(x.shape[2:]), self.multiples)
        skips = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        skips.pop()
        logits = []
        for up, decoder, head in zip(self.ups, self.decoders, self.heads, strict=True):
            x = decoder(torch.cat([up(x), skips.pop()], dim=1))
            if self.training or not skips:
                logits.append(head(x))
        return logits[::-1]


def check_size(method: str, size: Size, multiples: Size) -> None:
    """Refuse images of a size (in as many dimensions as the strides) that the stages cannot take.

    Args:
        method: its name, for the message.
        size: of the images.
        multiples: the product of the strides along each axis.

    Raises:
        ValueError: a size is not a multiple of the strides, or the coarsest stage would hold a single voxel.
    """
    wanted, given = (" x ".join(map(str, sizes)) for sizes in (multiples, size))
    if any(length % multiple for length, multiple in zip(size, multiples, strict=True)):
        raise ValueError(f"{method} with these stages takes multiples of {wanted}, not {given}")
    if size == multiples:
        raise ValueError(
            f"{method}: of {given} voxels its coarsest stage would keep one, which cannot be normalised: "
            "take fewer stages"
        )


def initialise(module: nn.Module) -> None:
    """He et al. 2015 for leaky ReLU, biases 0: every convolution, transposed ones and heads included, as nnU-Net."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def stage(channels_in: int, channels_out: int, kernel: Size, stride: Size) -> nn.Sequential:
    """Two convolutions with instance normalisation and leaky ReLU; the first has the stride."""
    flat = len(kernel) == 2
    convolution: Any = nn.Conv2d if flat else ShallowConv3d
    norm = nn.InstanceNorm2d if flat else nn.InstanceNorm3d
    padding = tuple(size // 2 for size in kernel)
    layers: list[nn.Module] = []
    for before, step in ((channels_in, stride), (channels_out, (1,) * len(stride))):
        layers += [
            convolution(before, channels_out, kernel, stride=step, padding=padding),
            norm(channels_out, eps=1e-5, affine=True),
            nn.LeakyReLU(SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)
