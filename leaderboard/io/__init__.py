"""Images, masks and archives in and out."""

from typing import Literal

#: What the names of the images that are read end in.
ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd")
#: How the grids of a mask and its case are compared: by where their headers say that voxels lie (``affine``), by shape
#: alone (``index``), or by place where both headers tell one and else by shape and voxel size (``auto``); ``blank`` is
#: ``auto`` that takes masks with a blank header by shape: voxels of 1 mm and no place, which is what libraries write
#: around a bare array.
GridRule = Literal["auto", "affine", "index", "blank"]
GRID_RULES: tuple[GridRule, ...] = ("auto", "affine", "index", "blank")
