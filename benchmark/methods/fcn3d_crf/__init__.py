"""Monteiro & Oliveira: a 3D fully convolutional network and a dense conditional random field."""

from benchmark.methods.fcn3d_crf.module import FCN3DCRFMethod

__all__ = ["FCN3DCRFMethod"]
