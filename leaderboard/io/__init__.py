"""Images, masks and archives in and out."""

from typing import Literal

#: What the names of the images that are read end in.
ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd")
#: How the grids of a mask and its case are compared: by where their headers say that voxels lie (``affine``), by shape
#: alone (``index``), or by place where both headers tell one and else by shape and voxel size (``auto``).
GridRule = Literal["auto", "affine", "index"]
GRID_RULES: tuple[GridRule, ...] = ("auto", "affine", "index")
