"""The 2D U-Net with residual connections of P. Liu (ISLES 2018).

The abstract names the backbone ("a 2D U-Net with residual connections") and nothing else; sizes are our choice, see
the README beside this file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.methods.layers import check_multiples


class ResidualBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN, plus the input (through a 1x1 convolution where channels change), then ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, channels_out, H, W)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResidualUNet(nn.Module):
    """Encoder, decoder and 1x1 head; five scales.

    Args:
        channels: input maps.
        base: channels at full resolution; each scale doubles them.
    """

    #: Height and width must be multiples of this: four 2x2 poolings.
    multiple = 16

    def __init__(self, channels: int, base: int = 32) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.encoders = nn.ModuleList(
            ResidualBlock(before, after) for before, after in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in reversed(widths[:-1])
        )
        self.decoders = nn.ModuleList(ResidualBlock(2 * width, width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(base, 2, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> logits (N, 2, H, W).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        check_multiples("residual_unet", x, self.multiple)
        skips = []
        for encoder in self.encoders[:-1]:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.encoders[-1](x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(x)
