"""Any network of any library, named in a config: ``class_path: benchmark.methods.Any``."""

from benchmark.methods.any_network.module import AnyNetwork

__all__ = ["AnyNetwork"]
