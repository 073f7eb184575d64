"""StrokeNet (Hu, Huang, Guo, Scott; ISLES 2018): a 3D residual network with multi-level 3D local refinement.

The abstract names a 3D deep residual architecture, a "multi-level 3D refinement module that automatically aggregates
both local details and spatial-temporal context information within 3D convolutional layers", and dense output in a
single shot. Everything that carries a number is our choice, see the README beside this file. The depth is never
strided: more than half of the ISLES 2018 slabs have two slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark.methods.layers import ShallowConv3d, check_multiples, upsample_twice

Triple = tuple[int, int, int]
#: Channels -> a normalisation layer for them.
Norm = Callable[[int], nn.Module]
GROUPS = 8


def group_norm(channels: int) -> nn.Module:
    """Group normalisation (Wu & He 2018): each volume by its own statistics, whatever else is in the batch.

    Slices that pad a batch of different depths do count.
    """
    return nn.GroupNorm(GROUPS, channels)


#: What `StrokeNet` may normalise with, by name.
NORMS: dict[str, Norm] = {"group": group_norm, "batch": nn.BatchNorm3d}


def conv_norm(
    channels_in: int, channels_out: int, kernel: Triple, norm: Norm, stride: Triple = (1, 1, 1), dilation: int = 1
) -> nn.Sequential:
    """Convolution that keeps the size (before its stride), and normalisation; `dilation` acts in-plane."""
    depth, height, width = kernel
    dilations = (1, dilation, dilation)
    padding = ((depth - 1) // 2, dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    return nn.Sequential(
        ShallowConv3d(channels_in, channels_out, kernel, stride, padding, dilations, bias=False), norm(channels_out)
    )


def conv_norm_relu(
    channels_in: int, channels_out: int, kernel: Triple, norm: Norm, stride: Triple = (1, 1, 1), dilation: int = 1
) -> nn.Sequential:
    """`conv_norm` and ReLU."""
    return conv_norm(channels_in, channels_out, kernel, norm, stride, dilation).append(nn.ReLU(inplace=True))


class ResidualUnit(nn.Module):
    """Two 3x3x3 convolutions with a shortcut; 1x1x1 with normalisation where channels or stride change."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(channels_in, channels_out, (3, 3, 3), norm, stride),
            *conv_norm(channels_out, channels_out, (3, 3, 3), norm),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out or stride != (1, 1, 1):
            self.shortcut = conv_norm(channels_in, channels_out, (1, 1, 1), norm, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, D, H, W) -> (N, channels_out, D, H/stride, W/stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Refinement(nn.Module):
    """One level of the refinement: local detail and context, merged with what came from the coarser level.

    Reduce -> add the upsampled coarser refinement -> local detail (residual unit) -> context (in-plane at three
    dilations, and through the slices) -> merge, add -> residual unit.
    """

    def __init__(self, channels_in: int, norm: Norm) -> None:
        super().__init__()
        channels, branch = 64, 16
        self.reduce = conv_norm_relu(channels_in, channels, (1, 1, 1), norm)
        self.local = ResidualUnit(channels, channels, norm)
        self.context = nn.ModuleList(
            [conv_norm_relu(channels, branch, (1, 3, 3), norm, dilation=dilation) for dilation in (1, 2, 4)]
            + [conv_norm_relu(channels, branch, (3, 1, 1), norm)]
        )
        self.merge = conv_norm(4 * branch, channels, (1, 1, 1), norm)
        self.output = ResidualUnit(channels, channels, norm)

    def forward(self, feature: Tensor, coarser: Tensor | None) -> Tensor:
        """(N, channels_in, D, H, W) and the coarser refinement (N, 64, D, H/2, W/2) -> (N, 64, D, H, W)."""
        x = self.reduce(feature)
        if coarser is not None:
            x = x + upsample_twice(coarser)
        x = self.local(x)
        context = torch.cat([branch(x) for branch in self.context], dim=1)
        return self.output(torch.relu(x + self.merge(context)))


class StrokeNet(nn.Module):
    """The whole network.

    Args:
        channels: input maps.
        prior: lesion probability that the untrained network gives everywhere (Lin et al. 2017, 4.1, as is the spread
            of the head's weights).
        norm: one of `NORMS`.

    Raises:
        ValueError: an unknown normalisation.
    """

    #: Height and width must be multiples of this: the stem and three of the four levels halve them.
    multiple = 16

    def __init__(self, channels: int, prior: float = 0.01, norm: str = "group") -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"strokenet: no normalisation is called {norm!r}: choose among {', '.join(NORMS)}")
        layer = NORMS[norm]
        self.pre = conv_norm_relu(channels, 16, (3, 3, 3), layer)
        self.stem = conv_norm_relu(16, 32, (3, 5, 5), layer, stride=(1, 2, 2))
        widths = (32, 64, 128, 256)
        self.levels = nn.ModuleList(
            nn.Sequential(
                ResidualUnit(before, after, layer, (1, 1, 1) if level == 0 else (1, 2, 2)),
                ResidualUnit(after, after, layer),
            )
            for level, (before, after) in enumerate(zip((32, *widths[:-1]), widths, strict=True))
        )
        self.refinements = nn.ModuleList(Refinement(width, layer) for width in widths)
        self.head_unit = ResidualUnit(64 + 16, 32, layer)
        self.head = nn.Conv3d(32, 1, kernel_size=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, D, H, W), of any depth -> logits of the lesion (N, 1, D, H, W).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        check_multiples("strokenet", x, self.multiple)
        full = self.pre(x)
        features = []
        feature = self.stem(full)
        for level in self.levels:
            feature = level(feature)
            features.append(feature)
        refined: Tensor | None = None
        for feature, refinement in zip(reversed(features), reversed(self.refinements), strict=True):
            refined = refinement(feature, refined)
        assert refined is not None
        return self.head(self.head_unit(torch.cat([upsample_twice(refined), full], dim=1)))
