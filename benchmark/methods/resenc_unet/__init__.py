"""nnU-Net's residual-encoder network (preset ResEnc M): the field's present default under the suite's protocol."""

from benchmark.methods.resenc_unet.module import ResEncUNetMethod

__all__ = ["ResEncUNetMethod"]
