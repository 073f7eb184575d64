"""The 2D Multi-Scale Res-Net of Lucas & Heinrich (ISLES 2017).

A U-Net over five scales (paper: 240 to 15 pixels) in which each level's input, pooled, goes down beside the pooled
activation; the lowest level has 1x1 convolutions; every level of the upscaling path has a classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.methods.layers import check_multiples, upsample_twice

#: Channels by level. Our choice: half of U-Net's, for 94 cases; the paper gives none.
WIDTHS = (32, 64, 128, 256, 512)


def level(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """Two convolutions, each with batch normalisation ("after every convolution") and leaky ReLU.

    The slope of 0.01 is that of the first author's public code.
    """
    layers: list[nn.Module] = []
    for before in (channels_in, channels_out):
        layers += [
            nn.Conv2d(before, channels_out, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class MultiScaleResNet(nn.Module):
    """Contracting path with carried inputs, upscaling path with a classifier at every level.

    Args:
        channels: of the input: maps x hemispheric flips x slices (paper: 7 x 2 x 3 = 42).
    """

    #: Height and width must be multiples of this: four 2x2 poolings.
    multiple = 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList()
        for width in WIDTHS[:-1]:
            self.encoders.append(level(channels, width, kernel=3))
            channels += width  # what goes down: the level's input beside its activation
        self.lowest = level(channels, WIDTHS[-1], kernel=1)
        self.decoders = nn.ModuleList(
            level(below + width, width, kernel=3)
            for below, width in zip(reversed(WIDTHS[1:]), reversed(WIDTHS[:-1]), strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, 2, kernel_size=1) for width in reversed(WIDTHS[:-1]))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, H, W) -> logits of every level of the upscaling path, the finest first.

        They are (N, 2, h, w) with (h, w) = (H, W), then a half, a quarter and an eighth of it.

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        check_multiples("multiscale_resnet", x, self.multiple)
        skips = []
        for encoder in self.encoders:
            activation = encoder(x)
            skips.append(activation)
            # Our choice: the input is pooled by its mean, which does not alias; the activation by its maximum.
            x = torch.cat([functional.avg_pool2d(x, 2), functional.max_pool2d(activation, 2)], dim=1)
        x = self.lowest(x)
        logits = []
        for decoder, head in zip(self.decoders, self.heads, strict=True):
            x = decoder(torch.cat([upsample_twice(x), skips.pop()], dim=1))
            logits.append(head(x))
        return logits[::-1]
