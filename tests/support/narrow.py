"""Narrow networks of the methods that have no setting for the width, for tests of what does not depend on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark.methods.fcn3d_crf.network import FCN3D
from benchmark.methods.ms_dcnn import network as ms_dcnn
from benchmark.methods.multiscale_resnet import network as multiscale_resnet

#: The methods that become narrow.
NARROWED = ("fcn3d_crf", "ms_dcnn", "multiscale_resnet")


def narrow(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on these methods build networks of less than a million weights, where they have up to 56 million."""
    for owner, name, value in (
        (FCN3D, "width", 4),
        (ms_dcnn, "UNITS", (2, 2, 2, 2)),
        (ms_dcnn, "GROWTH", 8),
        (ms_dcnn, "BOTTLENECK", 32),
        (ms_dcnn, "STEM", 16),
        (ms_dcnn, "UP", (64, 32, 16, 16)),
        (multiscale_resnet, "WIDTHS", (8, 16, 24, 32, 48)),
    ):
        assert hasattr(owner, name), f"{owner.__name__} has no {name} any more"
        put(owner, name, value)
