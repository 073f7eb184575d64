"""nnU-Net's residual-encoder network in the recipe of `plain_unet`: nothing else differs between the two."""

from __future__ import annotations

from torch import nn

from benchmark.methods.plain_unet.module import KERNELS, STRIDES, WIDTHS, PlainUNetMethod


class ResEncUNetMethod(PlainUNetMethod):
    """`PlainUNetMethod` around another network: its arguments, stages, loss, optimiser and prediction."""

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`; only here is the library imported that the config's `requires` names."""
        from benchmark.methods.resenc_unet.network import ResEncUNet

        used, d = slice(self.stages), self.dimensions
        return ResEncUNet(channels, WIDTHS[d][used], KERNELS[d][used], STRIDES[d][used])
