"""A plain U-Net as nnU-Net would configure it: what a modern default gives under the suite's protocol."""

from benchmark.methods.plain_unet.module import PlainUNetMethod

__all__ = ["PlainUNetMethod"]
