"""One folder a method: its network, its LightningModule, and a README that says what its paper says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.methods.any_network import AnyNetwork as Any

__all__ = ["Any"]


def __getattr__(name: str) -> object:
    """`Any`, the method around any network, once it is asked for: what imports a loss alone needs no method."""
    if name == "Any":
        from benchmark.methods.any_network import AnyNetwork

        return AnyNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
