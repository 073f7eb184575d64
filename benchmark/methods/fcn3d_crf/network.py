"""The V-Net of Monteiro & Oliveira, "Fully Convolutional Neural Network for 3D Stroke Lesion Segmentation".

The abstract says "U-shaped [1] or V-shaped [2] fully convolutional neural network", [2] being V-Net (Milletari et al.
2016). What carries a number follows the authors' challenge code (MiguelMonteiro/ISLES2017, submitted version 58382a0):
5x5x5 convolutions, PReLU, no normalisation, no dropout, the residual added after the activation, one logit.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.methods.layers import ShallowConv3d


def conv_prelu(channels_in: int, channels_out: int) -> nn.Sequential:
    """5x5x5 convolution that keeps the size, and PReLU with a slope for each channel."""
    return nn.Sequential(ShallowConv3d(channels_in, channels_out, 5, padding=2), nn.PReLU(channels_out, init=0.1))


class Residual(nn.Module):
    """Convolutions with their activations; the level's input is added after the last activation.

    V-Net adds before the last activation, and so did the authors later; their submitted version adds after it. The
    first of the convolutions takes `channels_in` channels, all others `channels`.
    """

    def __init__(self, channels_in: int, channels: int, convolutions: int) -> None:
        super().__init__()
        widths = [channels_in] + [channels] * convolutions
        self.body = nn.Sequential(*(conv_prelu(*pair) for pair in pairwise(widths)))

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """(N, channels_in, D, H, W) and (N, channels, D, H, W) -> (N, channels, D, H, W)."""
        return self.body(x) + shortcut


class Down(nn.Module):
    """2x2x2 convolution of stride 2, which doubles the channels, and PReLU; odd axes are padded by one at the end.

    This is TensorFlow's 'SAME' padding: the size becomes ceil(size / 2), a depth of two 1 and a depth of one stays 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(channels, 2 * channels, kernel_size=2, stride=2)
        self.activation = nn.PReLU(2 * channels, init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) -> (N, 2C, ceil(D/2), ceil(H/2), ceil(W/2))."""
        depth, height, width = (size % 2 for size in x.shape[2:])
        if depth or height or width:
            x = functional.pad(x, (0, width, 0, height, 0, depth))
        return self.activation(self.convolution(x))


class Up(nn.Module):
    """Transposed 2x2x2 convolution of stride 2, which halves the channels, and PReLU; cropped to the skip's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose3d(channels, channels // 2, kernel_size=2, stride=2)
        self.activation = nn.PReLU(channels // 2, init=0.1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, d, h, w) and a tensor (N, ., D, H, W) of the size wanted -> (N, C/2, D, H, W)."""
        depth, height, width = skip.shape[2:]
        return self.activation(self.convolution(x)[:, :, :depth, :height, :width])


class FCN3D(nn.Module):
    """The whole network: five levels, 16 to 256 channels.

    Weights start Xavier-uniform, as the authors'. Biases start at 0, as in their later code (VNet-Tensorflow, e102e2c):
    with the submission's biases of 1 the mean of the untrained logits changes with each seed.

    Args:
        channels: input images.
    """

    #: Convolutions of the levels on the way down, the lowest last; the same on the way up.
    convolutions = (1, 2, 3, 3, 3)
    width = 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [self.width * 2**level for level in range(len(self.convolutions))]
        self.input = conv_prelu(channels, self.width)
        self.encoders = nn.ModuleList(
            Residual(width, width, count) for width, count in zip(widths, self.convolutions, strict=True)
        )
        self.downs = nn.ModuleList(Down(width) for width in widths[:-1])
        self.ups = nn.ModuleList(Up(width) for width in widths[:0:-1])
        self.decoders = nn.ModuleList(
            Residual(2 * width, width, count)
            for width, count in zip(widths[-2::-1], self.convolutions[-2::-1], strict=True)
        )
        self.head = nn.Conv3d(self.width, 1, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, D, H, W), of any size -> logits of the lesion (N, 1, D, H, W)."""
        x = self.input(x)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            x = encoder(x, x)
            if level < len(self.downs):
                skips.append(x)
                x = self.downs[level](x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            upsampled = up(x, skip)
            x = decoder(torch.cat([upsampled, skip], dim=1), upsampled)
        return self.head(x)
