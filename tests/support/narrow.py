"""Narrow networks of the methods that have no setting for the width, for tests of what does not depend on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark.methods.fcn3d_crf.network import FCN3D
from benchmark.methods.ms_dcnn import network as ms_dcnn
from benchmark.methods.multiscale_resnet import network as multiscale_resnet


def narrow(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on these methods build networks of less than a million weights, where they have up to 56 million."""
    put(FCN3D, "width", 4)
    dense = {"UNITS": (2, 2, 2, 2), "GROWTH": 8, "BOTTLENECK": 32, "STEM": 16, "UP": (64, 32, 16, 16)}
    for name, value in dense.items():
        put(ms_dcnn, name, value)
    put(multiscale_resnet, "WIDTHS", (8, 16, 24, 32, 48))
