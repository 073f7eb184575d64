"""L. Liu et al.: multi-scale deep convolutional network (MS-DCNN), two DenseNet U-shapes side by side."""

from benchmark.methods.ms_dcnn.module import MSDCNNMethod

__all__ = ["MSDCNNMethod"]
