"""The fully connected conditional random field over prediction and images (Krähenbühl & Koltun, NIPS 2011).

Every voxel is tied to every other one by two Gaussian kernels, one over positions (smoothness) and one over positions
and intensities (appearance); mean-field inference is fast because the kernels are applied on a permutohedral lattice.
The result is that of the authors' C++ code (in the package pydensecrf2), see `lattice`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.special import expit

from benchmark.methods.fcn3d_crf.lattice import PermutohedralLattice
from leaderboard.errors import InputError

Units = Literal["voxels", "mm"]

#: Probabilities are at least this before their logarithm is taken (pydensecrf's own default, which the authors used).
LEAST_PROBABILITY = 1e-5
#: Standard deviations are at least this, so that no training ends in a field that cannot be computed. Images are
#: z-scored and positions count voxels or mm: with less, no two voxels would count as similar.
LEAST_SIGMA = 0.01
#: How far the box reaches beyond the brain, in standard deviations of the wider kernel. Cutting changes the norm of the
#: voxels at the box's edge, and the change travels inwards, one kernel's width in each iteration, fading. With 9, the
#: brain differs by less than 2e-5 in the hardest case, where every voxel, background too, is nearly undecided, and by
#: less than 1e-6 where the background is clear.
MARGIN_SIGMAS = 9.0


@dataclass(frozen=True)
class CRFSettings:
    """Parameters of the field; the defaults are those of the authors' challenge code."""

    iterations: int = 5  #: of mean-field inference
    gaussian_sigma: float = 2.0  #: standard deviation of the smoothness kernel along each axis, in `units`
    gaussian_weight: float = 2.0  #: its weight (Potts compatibility); 0 leaves the kernel out
    bilateral_sigma: float = 2.0  #: spatial standard deviation of the appearance kernel, in `units`
    intensity_sigma: float = 0.75  #: its standard deviation along each z-scored image
    bilateral_weight: float = 2.0  #: its weight; 0 leaves the kernel out, as the authors' test submission did
    #: of the spatial standard deviations. In voxels, as in the authors' code, a slice 12 mm away is as near as a pixel
    #: 0.9 mm away.
    units: Units = "voxels"

    def __post_init__(self) -> None:
        if self.units not in ("voxels", "mm"):
            raise InputError(f"model.init_args.crf_units must be voxels or mm, not {self.units!r}: correct the config")
        least = {"gaussian_sigma": LEAST_SIGMA, "bilateral_sigma": LEAST_SIGMA, "intensity_sigma": LEAST_SIGMA}
        least |= {"gaussian_weight": 0, "bilateral_weight": 0, "iterations": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None or not value >= bound:
                raise InputError(f"model.init_args.crf_{name} must be at least {bound}, not {value}: correct it")


def dense_crf(
    probability: np.ndarray,
    images: np.ndarray,
    spacing_mm: tuple[float, float, float],
    settings: CRFSettings,
    *,
    box: tuple[slice, ...] = (slice(None), slice(None), slice(None)),
) -> np.ndarray:
    """Lesion probability after mean-field inference, in a box of the volume.

    ``Q = softmax(log p)``, then `iterations` times ``Q_l <- softmax_l(log p_l + w1 (K1 Q_l) + w2 (K2 Q_l))`` for the
    labels l = background and lesion. ``K = N^-1/2 G N^-1/2`` (pydensecrf's symmetric normalisation, N the row sums of
    G), ``G_ij = exp(-|f_i - f_j|^2 / 2)``, the voxel itself included; f are positions over their sigma and, for K2,
    also intensities over theirs. The lattice approximates G.

    Args:
        probability: (D, H, W), 0 to 1.
        images: (C, D, H, W), z-scored.
        spacing_mm: distance of the slices, rows and columns; matters in mm alone.
        settings: of the field.
        box: the part that is computed, as if no voxels lay outside.

    Returns:
        (D, H, W) of the box, float32.

    Raises:
        InputError: a standard deviation is too small for what the images span.
    """
    inside = probability[box]
    lesion = inside.astype(np.float64).ravel()
    background, lesion = np.stack([1 - lesion, lesion]).clip(LEAST_PROBABILITY, 1)
    unary = np.log(lesion / background).astype(np.float32)
    # Positions count from the volume's corner, not from the box's: so a voxel lies in the same cell of the lattice
    # whatever the box, and the box changes nothing but what it cuts off.
    places = np.indices(probability.shape, dtype=np.float32)[(slice(None), *box)].reshape(3, -1)
    if settings.units == "mm":
        places = places * np.array(spacing_mm, dtype=np.float32)[:, None]
    intensities = images[(slice(None), *box)].reshape(len(images), -1)
    kernels = []
    if settings.gaussian_weight:
        kernels.append(_kernel(places / settings.gaussian_sigma, settings.gaussian_weight))
    if settings.bilateral_weight:
        features = [places / settings.bilateral_sigma, intensities / settings.intensity_sigma]
        kernels.append(_kernel(np.concatenate(features), settings.bilateral_weight))
    # Of two labels the softmax knows the difference alone: with the log odds x, Q of lesion minus Q of background is
    # tanh(x / 2), and K, being linear, is applied to this once in place of twice.
    odds = unary
    for _ in range(settings.iterations):
        difference = np.tanh(odds / 2)
        odds = unary + sum(kernel(difference) for kernel in kernels)
    return expit(odds).reshape(inside.shape)


def _kernel(features: np.ndarray, weight: float) -> Callable[[np.ndarray], np.ndarray]:
    """``x -> weight K x`` for features (F, N) in standard deviations, normalised from both sides."""
    try:
        lattice = PermutohedralLattice(features)
    except OverflowError as error:
        raise InputError(
            f"the dense CRF would need {error}: model.init_args.crf_intensity_sigma is too small for these images: "
            "raise it"
        ) from error
    norm = 1 / np.sqrt(lattice(np.ones(features.shape[1], dtype=np.float32)))
    return lambda values: np.float32(weight) * norm * lattice(norm * values)


def dense_crf_in_brain(
    probability: np.ndarray,
    images: np.ndarray,
    brain: np.ndarray,
    spacing_mm: tuple[float, float, float],
    settings: CRFSettings,
) -> np.ndarray:
    """`dense_crf` on the brain's bounding box and a margin; outside the box the probability stays as it was.

    Args:
        probability: (D, H, W), 0 to 1.
        images: (C, D, H, W), z-scored.
        brain: (D, H, W) mask.
        spacing_mm: distance of the slices, rows and columns.
        settings: of the field.

    Returns:
        (D, H, W) float32. In the brain it agrees with the result for the whole array within 1e-4.
    """
    result = probability.astype(np.float32)
    if not brain.any():
        return result
    box = brain_box(brain, margin_voxels(spacing_mm, settings))
    result[box] = dense_crf(probability, images, spacing_mm, settings, box=box)
    return result


def margin_voxels(spacing_mm: tuple[float, float, float], settings: CRFSettings) -> tuple[int, int, int]:
    """How many voxels the box reaches beyond the brain along each axis."""
    reach = MARGIN_SIGMAS * max(
        settings.gaussian_sigma if settings.gaussian_weight else 0.0,
        settings.bilateral_sigma if settings.bilateral_weight else 0.0,
    )
    depth, height, width = (int(np.ceil(reach / (size if settings.units == "mm" else 1.0))) for size in spacing_mm)
    return depth, height, width


def brain_box(brain: np.ndarray, margin: tuple[int, ...]) -> tuple[slice, ...]:
    """Bounding box of a mask that is not empty, widened by a margin in voxels and cut at the array's ends."""
    (box,) = ndimage.find_objects(brain.astype(np.uint8))
    return tuple(
        slice(max(part.start - reach, 0), min(part.stop + reach, length))
        for part, reach, length in zip(box, margin, brain.shape, strict=True)
    )
