"""Lucas & Heinrich: 2D Multi-Scale Res-Net."""

from benchmark.methods.multiscale_resnet.module import MultiScaleResNetMethod

__all__ = ["MultiScaleResNetMethod"]
