"""Hu et al.: StrokeNet, 3D with local refinement, focal loss and a curriculum."""

from benchmark.methods.strokenet.module import StrokeNetMethod

__all__ = ["StrokeNetMethod"]
