"""nnU-Net's residual-encoder U-Net, built by nnU-Net's own library as its preset ResEnc M plans it.

`ResidualEncoderUNet` of dynamic-network-architectures, with the arguments that `nnUNetPlannerResEncM` puts into a plan
(MIC-DKFZ/nnUNet, commit 64aeec9): residual blocks with a mean-pooled shortcut (ResNet-D) on the way down, one
convolution a stage on the way up, a classifier on every resolution of the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import Tensor, nn

from benchmark.methods.layers import ShallowConv3d
from benchmark.methods.plain_unet.network import Size, check_size

#: Residual blocks by stage of the encoder (`UNet_blocks_per_stage_encoder`).
BLOCKS = (1, 3, 4, 6, 6, 6, 6)


class ResEncUNet(nn.Module):
    """The library's network in the dimensions of its kernels, with the interface of `PlainUNet`.

    Args:
        channels: input maps.
        widths: channels by stage, seven stages at most.
        kernels: kernel by stage, each of two or three sizes.
        strides: stride with which each stage begins; the first is 1 everywhere.
    """

    def __init__(self, channels: int, widths: Sequence[int], kernels: Sequence[Size], strides: Sequence[Size]) -> None:
        super().__init__()
        flat, stages = len(kernels[0]) == 2, len(widths)
        #: Depth (in three dimensions), height and width must be multiples of these.
        self.multiples = tuple(math.prod(sizes) for sizes in zip(*strides, strict=True))
        self.body = ResidualEncoderUNet(
            channels, stages, widths, nn.Conv2d if flat else ShallowConv3d, kernels, strides, BLOCKS[:stages],
            num_classes=2, n_conv_per_stage_decoder=[1] * (stages - 1), conv_bias=True,
            norm_op=nn.InstanceNorm2d if flat else nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
        )  # fmt: skip
        for module in [*self.body.modules()]:  # each once, although the library registers many under several names
            self.body.initialize(module)
            for name, child in module.named_children():
                if isinstance(child, nn.AvgPool3d):
                    setattr(module, name, MeanPool3d(cast(tuple[int, int, int], child.kernel_size)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, [D,] H, W) -> logits (N, 2, ...), the finest first.

        While training at every resolution of the decoder, else at the finest alone.

        Raises:
            ValueError: a size is not a multiple of the strides, or the coarsest stage would hold a single voxel.
        """
        check_size("resenc_unet", tuple(x.shape[2:]), self.multiples)
        self.body.decoder.deep_supervision = self.training
        logits = self.body(x)
        return logits if self.training else [logits]


class MeanPool3d(nn.Module):
    """`nn.AvgPool3d` over blocks that tile the volume; on a GPU torch's has no deterministic gradient.

    Args:
        block: slices, rows and columns of a block.
    """

    def __init__(self, block: Sequence[int]) -> None:
        super().__init__()
        self.block = tuple(block)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W), sizes that are multiples of the block's -> (N, C, D', H', W')."""
        for axis, size in zip((4, 3, 2), reversed(self.block), strict=True):
            x = x.unflatten(axis, (-1, size))
        return x.mean(dim=(3, 5, 7))
