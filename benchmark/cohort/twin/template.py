"""The MNI152 tissue maps that nilearn carries, made ready for sampling.

The maps (ICBM 2009a nonlinear symmetric: Fonov et al., NeuroImage 2011) lie inside the nilearn package; nothing is
downloaded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Distances are computed on every second voxel.
COARSE = 2
#: Room around the template in which distances to the brain are known (skull and scalp lie there), voxels.
MARGIN = 30


@dataclass(frozen=True)
class Template:
    """Tissue of the average brain on a 1 mm grid, and distances on a 2 mm grid; axes x (left to right), y, z."""

    grey: np.ndarray  #: grey matter probability, float32
    white: np.ndarray  #: white matter probability, float32
    origin_mm: np.ndarray  #: MNI coordinate of voxel 0 of the tissue maps
    depth_mm: np.ndarray  #: depth below the surface of the brain, negative outside it, float32, every 2 mm
    ventricle_mm: np.ndarray  #: distance to the lateral and third ventricles, float32, every 2 mm
    coarse_origin_mm: np.ndarray  #: MNI coordinate of voxel 0 of the distance maps

    def tissue_at(self, mni_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Grey and white matter probability at MNI coordinates of shape (3, N); each float32, shape (N,)."""
        index = mni_mm - self.origin_mm[:, None]
        return _sample(self.grey, index, 0.0), _sample(self.white, index, 0.0)

    def depth_at(self, mni_mm: np.ndarray) -> np.ndarray:
        """Depth below the brain's surface in mm at MNI coordinates of shape (3, N); float32, shape (N,)."""
        return _sample(self.depth_mm, (mni_mm - self.coarse_origin_mm[:, None]) / COARSE, float(self.depth_mm.min()))

    def ventricle_distance_at(self, mni_mm: np.ndarray) -> np.ndarray:
        """Distance to the ventricles in mm at MNI coordinates of shape (3, N); float32, shape (N,)."""
        return _sample(self.ventricle_mm, (mni_mm - self.coarse_origin_mm[:, None]) / COARSE, 100.0)


def _sample(volume: np.ndarray, index: np.ndarray, outside: float) -> np.ndarray:
    return ndimage.map_coordinates(volume, index, output=np.float32, order=1, mode="constant", cval=outside)


@functools.cache
def load_template() -> Template:
    """Read the template (half a second; once per process)."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    grey, white, t1 = (
        np.asarray(image.dataobj, dtype=np.float32)
        for image in (
            load_mni152_gm_template(resolution=1),
            load_mni152_wm_template(resolution=1),
            load_mni152_template(resolution=1),
        )
    )
    origin = np.asarray(load_mni152_gm_template(resolution=1).affine[:3, 3], dtype=np.float64)
    brain = np.pad(t1 > 0, MARGIN)[::COARSE, ::COARSE, ::COARSE]
    inside = ndimage.distance_transform_edt(brain)
    outside = ndimage.distance_transform_edt(~brain)
    depth = (COARSE * (inside - outside - np.sign(inside - outside) * 0.5)).astype(np.float32)

    fluid = np.pad((t1 > 0) & (grey + white < 0.5), MARGIN)[::COARSE, ::COARSE, ::COARSE]
    coarse_origin = origin - MARGIN
    x, y, z = (coarse_origin[a] + COARSE * np.arange(fluid.shape[a]) for a in range(3))
    near_centre = (
        (np.abs(x) < 32)[:, None, None] & ((y > -60) & (y < 40))[None, :, None] & ((z > -8) & (z < 34))[None, None, :]
    )
    ventricles = ndimage.binary_opening(fluid & near_centre & (depth > 22))
    ventricle = (COARSE * ndimage.distance_transform_edt(~ventricles)).astype(np.float32)
    return Template(grey, white, origin, depth, ventricle, coarse_origin)
