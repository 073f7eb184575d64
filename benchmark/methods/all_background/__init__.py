"""The row below which nothing may fall: no lesion anywhere."""

from benchmark.methods.all_background.module import AllBackground

__all__ = ["AllBackground"]
