"""P. Liu: 2D residual U-Net with weighted cross-entropy and generalised Dice."""

from benchmark.methods.residual_unet.module import ResidualUNetMethod

__all__ = ["ResidualUNetMethod"]
